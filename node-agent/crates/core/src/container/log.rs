//! Where a container's log file lies, found without leaving the sandbox's log directory.

use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use rustix::io::Errno;

use super::error::{SpecError, StepError};

/// Flags of a directory that is only walked through.
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Checks that `path` is made of plain names only, so that it cannot leave its directory.
pub(crate) fn check(path: &str) -> Result<(), SpecError> {
    let plain = Path::new(path)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if plain && !path.ends_with('/') && !path.contains('\0') {
        Ok(())
    } else {
        Err(SpecError::LogPath {
            path: path.to_owned(),
        })
    }
}

/// A log's directory, open, and the name of its file.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) directory: OwnedFd,
    pub(crate) file_name: String,
}

/// Opens the directory of the log at `relative` below `base`, making what is missing; blocking.
///
/// `base` is resolved as the host does; nothing below it may be a symlink.
pub(crate) fn open(base: &Path, relative: &str) -> Result<Place, StepError> {
    let failed = |path: &Path, source: std::io::Error| StepError::Path {
        path: path.to_owned(),
        source,
    };
    std::fs::create_dir_all(base).map_err(|error| failed(base, error))?;
    let mut directory =
        openat(CWD, base, DIRECTORY, Mode::empty()).map_err(|error| failed(base, error.into()))?;
    let path = Path::new(relative);
    let mut walked = base.to_owned();
    for part in path.parent().into_iter().flat_map(Path::components) {
        walked.push(part);
        match mkdirat(&directory, part.as_os_str(), Mode::from(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(failed(&walked, error.into())),
        }
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        directory = openat2(
            &directory,
            part.as_os_str(),
            DIRECTORY,
            Mode::empty(),
            resolve,
        )
        .map_err(|error| failed(&walked, error.into()))?;
    }
    Ok(Place {
        directory,
        file_name: path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default(),
    })
}

/// Makes an empty log, or leaves one that is there alone; blocking.
pub(crate) fn create(base: &Path, relative: &str) -> Result<(), StepError> {
    let place = open(base, relative)?;
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(&place.directory, &place.file_name, flags, Mode::from(0o640))
        .map(drop)
        .map_err(|error| StepError::Path {
            path: base.join(relative),
            source: error.into(),
        })
}

/// Returns the absolute path of a log.
pub(crate) fn absolute(base: &Path, relative: &str) -> Option<PathBuf> {
    (!relative.is_empty()).then(|| base.join(relative))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_path_stays_below_its_directory() {
        for good in ["0.log", "main/0.log", ""] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [
            "../0.log",
            "/etc/passwd",
            "a/../../b",
            "./x",
            "dir/",
            "a\0b",
        ] {
            assert!(check(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn missing_directories_are_made() {
        let base = tempfile::tempdir().unwrap();
        let place = open(base.path(), "main/0.log").unwrap();
        assert_eq!(place.file_name, "0.log");
        assert!(base.path().join("main").is_dir());
    }

    #[test]
    fn a_symlink_below_the_directory_is_refused() {
        let base = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", base.path().join("main")).unwrap();
        assert!(matches!(
            open(base.path(), "main/0.log"),
            Err(StepError::Path { .. })
        ));
    }
}
