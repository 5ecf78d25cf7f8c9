//! Sealed copies of files in memory.
//!
//! A helper that runs from a sealed copy cannot be reached by whatever it starts: writing to
//! `/proc/<pid>/exe` is refused by the seals, and the file on disk is not involved.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, Mode, SealFlags};
use rustix::io::Errno;

/// How often a seal is tried; the kernel waits for the pages each time, for up to 0.15 s.
const SEAL_ATTEMPTS: u32 = 40;

/// Why a file could not be copied.
#[derive(Debug, thiserror::Error)]
pub enum SealedCopyError {
    /// The file could not be opened or read.
    #[error("{path} could not be read", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The memory could not be had, written or sealed.
    #[error("sealed copy of {path} could not be made ({step})", path = path.display())]
    Make {
        /// The file.
        path: PathBuf,
        /// The call that failed.
        step: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Returns a copy of the file at `path` that nobody can ever change, executable, close-on-exec.
pub fn sealed_copy(path: &Path) -> Result<OwnedFd, SealedCopyError> {
    let make = |step: &'static str| {
        move |source: io::Error| SealedCopyError::Make {
            path: path.to_owned(),
            step,
            source,
        }
    };
    let mut source = File::open(path).map_err(|source| SealedCopyError::Read {
        path: path.to_owned(),
        source,
    })?;
    let memory = create(path).map_err(|errno| make("memfd_create")(errno.into()))?;
    let mut memory = File::from(memory);
    io::copy(&mut source, &mut memory).map_err(make("copy"))?;
    let memory = OwnedFd::from(memory);
    rustix::fs::fchmod(&memory, Mode::from_raw_mode(0o500))
        .map_err(|errno| make("fchmod")(errno.into()))?;
    seal(&memory).map_err(|errno| make("seal")(errno.into()))?;
    Ok(memory)
}

/// Forbids every change. The kernel refuses that as long as somebody holds one of the pages, as
/// memory compaction does for a while on a busy machine.
fn seal(memory: &OwnedFd) -> rustix::io::Result<()> {
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    for _ in 0..SEAL_ATTEMPTS {
        match rustix::fs::fcntl_add_seals(memory.as_fd(), seals) {
            Err(Errno::BUSY) => {}
            sealed => return sealed,
        }
    }
    rustix::fs::fcntl_add_seals(memory.as_fd(), seals)
}

/// Makes the memory file; kernels before 6.3 do not know the flag that asks for an executable one.
fn create(path: &Path) -> rustix::io::Result<OwnedFd> {
    let name = path.file_name().unwrap_or_default();
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        made => made,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn a_sealed_copy_runs_and_cannot_be_written() {
        let memory = sealed_copy(Path::new("/bin/true")).unwrap();
        let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
        let reopened = File::options().write(true).open(&path);
        if let Ok(mut file) = reopened {
            assert!(file.write_all(b"x").is_err());
            assert!(file.set_len(0).is_err());
        }
        let seals = rustix::fs::fcntl_get_seals(&memory).unwrap();
        assert!(seals.contains(SealFlags::WRITE | SealFlags::SEAL));
        let status = std::process::Command::new(path).status().unwrap();
        assert!(status.success());
    }

    #[test]
    fn a_page_in_use_only_delays_the_seal() {
        let memory = create(Path::new("/busy")).unwrap();
        rustix::io::write(&memory, &[7; 4096]).unwrap();
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        // The pipe holds the page itself, as whoever moves pages about does.
        let flags = rustix::pipe::SpliceFlags::empty();
        let moved = rustix::pipe::splice(&memory, Some(&mut 0), &writer, None, 4096, flags);
        assert_eq!(moved.unwrap(), 4096);
        let refused = rustix::fs::fcntl_add_seals(&memory, SealFlags::WRITE);
        assert_eq!(refused, Err(Errno::BUSY));
        std::thread::scope(|scope| {
            let sealed = scope.spawn(|| seal(&memory));
            rustix::io::read(&reader, &mut [0; 4096]).unwrap();
            assert_eq!(sealed.join().unwrap(), Ok(()));
        });
        assert!(rustix::io::write(&memory, b"x").is_err());
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = sealed_copy(Path::new("/nonexistent/shim")).unwrap_err();
        assert_eq!(error.to_string(), "/nonexistent/shim could not be read");
    }
}
