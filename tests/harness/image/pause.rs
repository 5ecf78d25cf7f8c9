//! A program of some hundred bytes that waits for SIGTERM and ends with 0.
//!
//! Any program as PID 1 ignores SIGTERM unless it asks for it, and every larger one costs time
//! of its own at its start; this one lets a benchmark time the container, not its program.

use anyhow::{Result, ensure};

/// Where the file is mapped.
const BASE: u64 = 0x40_0000;
/// ELF header and one program header.
const HEADERS: u64 = 64 + 56;

/// Blocks SIGTERM and SIGINT, waits for one of them, ends.
#[rustfmt::skip]
const CODE: &[u8] = &[
    // rt_sigprocmask(SIG_BLOCK, mask, NULL, 8); a blocked signal is kept even for PID 1.
    0xb8, 14, 0, 0, 0,                      // mov eax, 14
    0x31, 0xff,                             // xor edi, edi
    0x48, 0x8d, 0x35, 48, 0, 0, 0,          // lea rsi, [rip + mask]
    0x31, 0xd2,                             // xor edx, edx
    0x41, 0xba, 8, 0, 0, 0,                 // mov r10d, 8
    0x0f, 0x05,                             // syscall
    // again: rt_sigtimedwait(mask, NULL, NULL, 8)
    0xb8, 128, 0, 0, 0,                     // mov eax, 128
    0x48, 0x8d, 0x3d, 26, 0, 0, 0,          // lea rdi, [rip + mask]
    0x31, 0xf6,                             // xor esi, esi
    0x31, 0xd2,                             // xor edx, edx
    0x41, 0xba, 8, 0, 0, 0,                 // mov r10d, 8
    0x0f, 0x05,                             // syscall
    0x85, 0xc0,                             // test eax, eax
    0x78, 0xe4,                             // js again
    // exit_group(0)
    0xb8, 231, 0, 0, 0,                     // mov eax, 231
    0x31, 0xff,                             // xor edi, edi
    0x0f, 0x05,                             // syscall
    0x90,
    // mask: SIGTERM and SIGINT
    0x02, 0x40, 0, 0, 0, 0, 0, 0,
];

/// Returns the program as an ELF file.
pub fn pause_program() -> Result<Vec<u8>> {
    program(CODE)
}

/// Returns an ELF file of these instructions, which must not depend on where they are.
pub fn program(code: &[u8]) -> Result<Vec<u8>> {
    ensure!(
        cfg!(target_arch = "x86_64"),
        "programs are written for x86-64 only"
    );
    let size = HEADERS + code.len() as u64;
    let mut file = Vec::with_capacity(256);
    file.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend_from_slice(&2_u16.to_le_bytes()); // an executable at fixed addresses
    file.extend_from_slice(&62_u16.to_le_bytes()); // x86-64
    file.extend_from_slice(&1_u32.to_le_bytes());
    for word in [BASE + HEADERS, 64, 0] {
        file.extend_from_slice(&word.to_le_bytes()); // entry, program headers, no sections
    }
    file.extend_from_slice(&0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 0, 0, 0] {
        file.extend_from_slice(&half.to_le_bytes());
    }
    file.extend_from_slice(&1_u32.to_le_bytes()); // PT_LOAD
    file.extend_from_slice(&5_u32.to_le_bytes()); // read and execute
    for word in [0, BASE, BASE, size, size, 0x1000] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(code);
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn ends_with_zero_on_sigterm() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pause");
        std::fs::write(&path, pause_program().unwrap()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut child = std::process::Command::new(&path).spawn().unwrap();
        // Before it waits the signal would kill it.
        let waits = crate::wait::until("the program waits in rt_sigtimedwait", || {
            let call = std::fs::read_to_string(format!("/proc/{}/syscall", child.id()))?;
            Ok(call.starts_with("128 ").then_some(()))
        });
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(child.id().cast_signed()),
            nix::sys::signal::Signal::SIGTERM,
        )
        .unwrap();
        let status = child.wait().unwrap();
        waits.unwrap();
        assert_eq!((status.code(), status.signal()), (Some(0), None));
    }
}
