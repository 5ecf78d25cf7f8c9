//! Device programs of cgroup v2: loading one and putting it on a cgroup.
//!
//! The instructions are the caller's; this module only hands them to the kernel, which verifies
//! them. Neither rustix nor nix wraps `bpf(2)`.
#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper in rustix or nix")]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

/// Commands, program and attach types of `linux/bpf.h`.
const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// Cgroups below may have programs of their own; all of them must allow.
const ALLOW_MULTI: u32 = 2;

/// The part of `union bpf_attr` that loading uses.
#[repr(C)]
#[derive(Default)]
struct LoadAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buffer: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

/// The part of `union bpf_attr` that attaching uses.
#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

/// Loads a program that decides about devices, each instruction as its eight bytes in memory.
pub fn load_device_program(instructions: &[u64]) -> Result<OwnedFd, Errno> {
    let attributes = LoadAttributes {
        program_type: PROG_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(instructions.len()).map_err(|_| Errno::TOOBIG)?,
        instructions: instructions.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        name: *b"device_rules\0\0\0\0",
        ..LoadAttributes::default()
    };
    // SAFETY: the attributes outlive the call and are of the size given; the kernel only reads them,
    // the instructions (as many as it is told) and the NUL-terminated licence.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            PROG_LOAD,
            &raw const attributes,
            size_of::<LoadAttributes>(),
        )
    };
    let fd = i32::try_from(result).map_err(|_| Errno::BADF)?;
    if fd < 0 {
        return Err(last_error());
    }
    // SAFETY: the kernel just returned this descriptor, close-on-exec, and nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts a loaded program on a cgroup; it stays until the cgroup is removed.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let attributes = AttachAttributes {
        target: cgroup.as_raw_fd().cast_unsigned(),
        program: program.as_raw_fd().cast_unsigned(),
        attach_type: ATTACH_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    // SAFETY: the attributes outlive the call, are of the size given and are only read; both
    // descriptors are borrowed, so open.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            PROG_ATTACH,
            &raw const attributes,
            size_of::<AttachAttributes>(),
        )
    };
    if result < 0 {
        Err(last_error())
    } else {
        Ok(())
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}
