//! Taking rights away from the calling process: signals, capabilities, users, system calls.

#![expect(
    unsafe_code,
    reason = "signal, prctl, keyctl and seccomp have no safe wrapper"
)]

use std::io;

use rustix::process::{Gid, Uid};
use rustix::thread::CapabilitySet;

/// Capability numbers the kernel headers know of; newer ones are found by asking the kernel.
const HIGHEST_CAPABILITY: u32 = 63;

/// Sets every signal to its default action and unblocks all of them.
///
/// # Errors
/// Fails when the kernel refuses, which it does not.
pub fn reset_signals() -> io::Result<()> {
    // All zero is SIG_DFL, no flags, an empty mask: `struct sigaction` as the kernel has it, in the larger of its sizes.
    let default = [0_u64; 4];
    let previous: *const u64 = std::ptr::null();
    let mask_size = size_of::<u64>();
    for signal in 1..=libc::SIGRTMAX() {
        if signal == libc::SIGKILL || signal == libc::SIGSTOP {
            continue;
        }
        // The C library's own function refuses the two signals that it keeps for itself, which may be ignored all the same.
        // SAFETY: the action is valid and runs no code; nothing is written back.
        let result = unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                previous,
                mask_size,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    nix::sys::signal::SigSet::empty()
        .thread_set_mask()
        .map_err(io::Error::from)
}

/// Ignores the ends of children, whom the kernel then reaps by itself.
///
/// # Errors
/// Fails when the kernel refuses, which it does not.
pub fn let_kernel_reap() -> io::Result<()> {
    // SAFETY: SIG_IGN is a valid action and runs no code of ours.
    let before = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    if before == libc::SIG_ERR {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// Returns the set whose bit `n` is set for each capability number `n`.
#[must_use]
pub fn capability_set(numbers: impl IntoIterator<Item = u32>) -> CapabilitySet {
    let mut bits = 0_u64;
    for number in numbers {
        bits |= 1_u64.checked_shl(number).unwrap_or(0);
    }
    CapabilitySet::from_bits_retain(bits)
}

/// Drops from the bounding set every capability that is not in `keep`.
///
/// # Errors
/// Fails without `CAP_SETPCAP`.
pub fn drop_bounding_except(keep: CapabilitySet) -> io::Result<()> {
    for number in 0..=HIGHEST_CAPABILITY {
        if keep.bits() & (1 << number) != 0 {
            continue;
        }
        match prctl(libc::PR_CAPBSET_DROP, u64::from(number), 0) {
            Ok(()) => {}
            // The first number the kernel does not know ends the list.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Makes the ambient set equal to `wanted`, which must be permitted and inheritable.
///
/// # Errors
/// Fails when a capability of it is not both.
pub fn set_ambient(wanted: CapabilitySet) -> io::Result<()> {
    prctl(
        libc::PR_CAP_AMBIENT,
        libc::PR_CAP_AMBIENT_CLEAR_ALL.cast_unsigned().into(),
        0,
    )?;
    for number in 0..=HIGHEST_CAPABILITY {
        if wanted.bits() & (1 << number) != 0 {
            prctl(
                libc::PR_CAP_AMBIENT,
                libc::PR_CAP_AMBIENT_RAISE.cast_unsigned().into(),
                u64::from(number),
            )?;
        }
    }
    Ok(())
}

/// Sets groups, then group, then user, real, effective and saved alike.
///
/// # Errors
/// Fails without `CAP_SETGID` and `CAP_SETUID`.
pub fn set_credentials(uid: Uid, gid: Gid, groups: &[Gid]) -> io::Result<()> {
    rustix::thread::set_thread_groups(groups)?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

/// Loads a filter of 8-byte BPF instructions for the calling thread.
///
/// # Errors
/// Fails when the bytes are no whole number of instructions, when the kernel finds the program invalid, or
/// without both `CAP_SYS_ADMIN` and no_new_privs.
pub fn load_seccomp(filter: &[u8]) -> io::Result<()> {
    let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
    let (chunks, rest) = filter.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(invalid());
    }
    let mut program: Vec<libc::sock_filter> = chunks
        .iter()
        .map(|[c0, c1, jt, jf, k0, k1, k2, k3]| libc::sock_filter {
            code: u16::from_ne_bytes([*c0, *c1]),
            jt: *jt,
            jf: *jf,
            k: u32::from_ne_bytes([*k0, *k1, *k2, *k3]),
        })
        .collect();
    let header = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| invalid())?,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: `header` points to as many instructions as it says; the kernel copies and checks them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const header,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Gives the calling process a session keyring of its own in place of the inherited one.
///
/// # Errors
/// Fails when the kernel has no keyrings or the key quota is used up.
pub fn join_new_session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    let anonymous: *const libc::c_char = std::ptr::null();
    // SAFETY: a null name asks for an anonymous keyring; no memory is passed.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, anonymous) };
    if result >= 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sets the host and the NIS domain name of the calling process's UTS namespace.
///
/// # Errors
/// Fails without `CAP_SYS_ADMIN`, or when a name has more than 64 bytes.
pub fn set_hostname_and_domain(hostname: &str, domainname: &str) -> io::Result<()> {
    if !hostname.is_empty() {
        rustix::system::sethostname(hostname.as_bytes())?;
    }
    if !domainname.is_empty() {
        rustix::system::setdomainname(domainname.as_bytes())?;
    }
    Ok(())
}

fn prctl(option: libc::c_int, second: u64, third: u64) -> io::Result<()> {
    // SAFETY: the options used here take numbers only.
    let result = unsafe { libc::prctl(option, second, third, 0_u64, 0_u64) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capability_set_has_the_bits_of_its_numbers() {
        assert_eq!(capability_set([0, 21]).bits(), 1 | 1 << 21);
        assert_eq!(capability_set([64, 200]).bits(), 0);
    }

    #[test]
    fn a_cut_filter_is_refused() {
        let error = load_seccomp(&[0; 12]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    }
}
