//! A program asks for the kernel's cryptography by every door of x86-64: `socket`, the 32-bit `socket`,
//! and the 32-bit `socketcall`, whose arguments a filter cannot see.

use anyhow::{Context as _, Result};
use harness::image::{LayerBuilder, program};
use harness::node::Node;
use proto::cri::{SecurityProfile, security_profile::ProfileType};

use crate::{context, outcome, plain, pulled};

const AF_UNIX: u8 = 1;
const AF_ALG: u8 = 38;

/// Opens a socket of one family and ends with what the kernel said: the error, or 256 less the descriptor.
#[rustfmt::skip]
fn by_socket(family: u8) -> Vec<u8> {
    vec![
        0xb8, 41, 0, 0, 0,                      // mov eax, 41
        0xbf, family, 0, 0, 0,                  // mov edi, family
        0xbe, 5, 0, 0, 0,                       // mov esi, SOCK_SEQPACKET
        0x31, 0xd2,                             // xor edx, edx
        0x0f, 0x05,                             // syscall
        0x89, 0xc7, 0xf7, 0xdf,                 // mov edi, eax; neg edi
        0xb8, 231, 0, 0, 0, 0x0f, 0x05,         // exit_group
    ]
}

#[rustfmt::skip]
fn by_the_32_bit_socket(family: u8) -> Vec<u8> {
    vec![
        0xb8, 0x67, 1, 0, 0,                    // mov eax, 359
        0xbb, family, 0, 0, 0,                  // mov ebx, family
        0xb9, 5, 0, 0, 0,                       // mov ecx, SOCK_SEQPACKET
        0x31, 0xd2,                             // xor edx, edx
        0xcd, 0x80,                             // int 0x80
        0x89, 0xc7, 0xf7, 0xdf,                 // mov edi, eax; neg edi
        0xb8, 231, 0, 0, 0, 0x0f, 0x05,         // exit_group
    ]
}

#[rustfmt::skip]
fn by_socketcall(family: u8) -> Vec<u8> {
    vec![
        0xb8, 102, 0, 0, 0,                     // mov eax, 102
        0xbb, 1, 0, 0, 0,                       // mov ebx, SYS_SOCKET
        0x48, 0x8d, 0x0d, 13, 0, 0, 0,          // lea rcx, [rip + arguments]
        0xcd, 0x80,                             // int 0x80
        0x89, 0xc7, 0xf7, 0xdf,                 // mov edi, eax; neg edi
        0xb8, 231, 0, 0, 0, 0x0f, 0x05,         // exit_group
        family, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0,
    ]
}

const EPERM: i32 = 1;
const ENOSYS: i32 = 38;
/// 256 less descriptor 3.
const OPENED: i32 = 253;
/// A kernel without 32-bit calls ends the program by SIGSEGV.
const NO_SUCH_DOOR: i32 = 139;

#[tokio::test]
async fn the_kernels_cryptography_has_no_door() -> Result<()> {
    let node = Node::start().await?;
    let mut layer = LayerBuilder::new();
    for (name, code) in [
        ("bin/socket", by_socket(AF_ALG)),
        ("bin/socket-unix", by_socket(AF_UNIX)),
        ("bin/socket32", by_the_32_bit_socket(AF_ALG)),
        ("bin/socket32-unix", by_the_32_bit_socket(AF_UNIX)),
        ("bin/socketcall", by_socketcall(AF_ALG)),
        ("bin/socketcall-unix", by_socketcall(AF_UNIX)),
    ] {
        layer.file(name, &program(&code)?, 0o755)?;
    }
    let image = pulled(&node, "af-alg", layer, &plain()).await?;
    let ctl = node.ctl()?;
    for (name, allowed) in [
        ("socket", vec![EPERM]),
        ("socket32", vec![EPERM, NO_SUCH_DOOR]),
        // None of its arguments can be looked at, so all of it is closed; libraries fall back to `socket`.
        ("socketcall", vec![ENOSYS, NO_SUCH_DOOR]),
        ("socketcall-unix", vec![ENOSYS, NO_SUCH_DOOR]),
        ("socket-unix", vec![OPENED]),
        ("socket32-unix", vec![OPENED, NO_SUCH_DOOR]),
    ] {
        // A person's container has the default profile unless he says otherwise, a kubelet's where asked.
        let ended = ctl.run(&["run", "--rm", &image, name])?;
        assert!(allowed.contains(&ended.code), "ctl: {name}: {ended:?}");
        let mut config = node.container_config("main", &[&format!("/bin/{name}")]);
        context(&mut config).seccomp = Some(SecurityProfile {
            profile_type: ProfileType::RuntimeDefault.into(),
            ..SecurityProfile::default()
        });
        let (code, _) = outcome(&node, &image, &config)
            .await?
            .with_context(|| format!("{name} runs"))?;
        assert!(allowed.contains(&code), "CRI: {name}: {code}");
    }
    // The programs do what they say: without a profile the calls get through to the kernel.
    for name in ["socket", "socketcall-unix"] {
        let ended = ctl.run(&[
            "run",
            "--rm",
            "--security-opt",
            "seccomp=unconfined",
            &image,
            name,
        ])?;
        assert!(!matches!(ended.code, EPERM | ENOSYS), "{name}: {ended:?}");
    }
    node.finish().await
}
