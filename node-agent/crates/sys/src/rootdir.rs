//! Directory handles for paths that an image chose: nothing opened through one lies outside it.
//!
//! Owns: opening by canonical path, a walk that follows symlinks inside the root only, and
//! extended attributes of things that cannot be opened. Does not decide what may be created.
//! Start reading at [`RootDir`].

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, XattrFlags};
use rustix::io::Errno;

/// Symlinks followed in one walk before it is called a loop, as in the kernel.
const MAX_LINKS: usize = 40;

/// What [`RootDir::open_plain`] refuses: symlinks, `..`, other mounts, magic links.
const PLAIN: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_XDEV)
    .union(ResolveFlags::NO_MAGICLINKS);

/// A directory that paths of untrusted origin are resolved under.
#[derive(Debug)]
pub struct RootDir {
    fd: OwnedFd,
}

/// A directory found by a walk: its handle and where it really is.
#[derive(Debug)]
pub struct Walked {
    /// Handle opened with `O_PATH`.
    pub dir: OwnedFd,
    /// Path from the root without symlinks, `.` or `..`; empty for the root itself.
    pub path: Vec<u8>,
}

/// What a walk does about a component that is missing or no directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMissing {
    /// The callback made it a directory; look again.
    Made,
    /// End the walk: there is no such directory.
    Stop,
}

impl RootDir {
    /// Opens `path`, itself trusted, as a root.
    ///
    /// # Errors
    /// What open(2) says; a symlink or a file at `path` is refused.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(Self { fd })
    }

    /// Takes an open directory as a root.
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Opens what lies at `path` (canonical: no symlink, no `..`) with `flags`; empty is the root.
    ///
    /// # Errors
    /// `ELOOP` or `EXDEV` if `path` is not canonical, else what openat2(2) says.
    pub fn open_plain(&self, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        loop {
            let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), PLAIN) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    /// Walks to the directory that `path` names inside this root, following symlinks as a process
    /// chrooted here would: absolute targets start at the root, and `..` never leaves it.
    ///
    /// `missing` is called with the directory, the component's name and the canonical path of
    /// whatever is absent or neither directory nor symlink. `None` means that it said [`OnMissing::Stop`].
    ///
    /// # Errors
    /// `ELOOP` after 40 symlinks, else what the kernel or the callback says.
    pub fn walk<E: From<io::Error>>(
        &self,
        path: &[u8],
        mut missing: impl FnMut(BorrowedFd<'_>, &[u8], &[u8]) -> Result<OnMissing, E>,
    ) -> Result<Option<Walked>, E> {
        let mut at = Walked {
            dir: self.open_plain(b"", OFlags::PATH | OFlags::DIRECTORY)?,
            path: Vec::new(),
        };
        let mut links = 0;
        let mut todo = Vec::new();
        push_reversed(&mut todo, path);
        while let Some(name) = todo.pop() {
            if name == b".." {
                self.climb(&mut at)?;
                continue;
            }
            match step(at.dir.as_fd(), &name)? {
                Step::Directory(dir) => {
                    at.dir = dir;
                    append(&mut at.path, &name);
                }
                Step::Symlink(target) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(io::Error::from(Errno::LOOP).into());
                    }
                    if target.starts_with(b"/") {
                        at.path.clear();
                        at.dir = self.open_plain(b"", OFlags::PATH | OFlags::DIRECTORY)?;
                    }
                    push_reversed(&mut todo, &target);
                }
                Step::Missing => {
                    let mut there = at.path.clone();
                    append(&mut there, &name);
                    match missing(at.dir.as_fd(), &name, &there)? {
                        OnMissing::Made => todo.push(name),
                        OnMissing::Stop => return Ok(None),
                    }
                }
            }
        }
        Ok(Some(at))
    }

    /// Goes to the parent of `at` by the path walked so far; the root is its own parent.
    fn climb(&self, at: &mut Walked) -> io::Result<()> {
        let parent = at.path.iter().rposition(|b| *b == b'/').unwrap_or(0);
        at.path.truncate(parent);
        at.dir = self.open_plain(&at.path, OFlags::PATH | OFlags::DIRECTORY)?;
        Ok(())
    }
}

impl AsFd for RootDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

enum Step {
    Directory(OwnedFd),
    Symlink(Vec<u8>),
    Missing,
}

/// Looks at one component without following it.
fn step(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Step> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = match rustix::fs::openat(dir, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Step::Missing),
        other => other?,
    };
    match FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode) {
        FileType::Directory => Ok(Step::Directory(fd)),
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(&fd, "", Vec::new())?;
            Ok(Step::Symlink(target.into_bytes()))
        }
        _ => Ok(Step::Missing),
    }
}

/// Puts the components of `path` on the stack so that the first is popped first.
fn push_reversed(todo: &mut Vec<Vec<u8>>, path: &[u8]) {
    let meaningful = |c: &&[u8]| !c.is_empty() && *c != b".";
    let components = path.split(|b| *b == b'/').filter(meaningful);
    let before = todo.len();
    todo.extend(components.map(<[u8]>::to_vec));
    todo[before..].reverse();
}

fn append(path: &mut Vec<u8>, name: &[u8]) {
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
}

/// Sets an extended attribute of `name` in `dir` without following it, for symlinks and device
/// nodes, which cannot be opened to set one.
///
/// # Errors
/// What lsetxattr(2) says.
pub fn set_xattr_at(dir: BorrowedFd<'_>, name: &[u8], key: &[u8], value: &[u8]) -> io::Result<()> {
    let path = through_proc(dir, name);
    Ok(rustix::fs::lsetxattr(
        path,
        key,
        value,
        XattrFlags::empty(),
    )?)
}

/// Returns the extended attributes of `name` in `dir` without following it.
///
/// # Errors
/// What llistxattr(2) and lgetxattr(2) say.
pub fn xattrs_at(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let path = through_proc(dir, name);
    let list = read_growing(|buffer| rustix::fs::llistxattr(path.as_slice(), buffer))?;
    named_values(&list, |key| {
        read_growing(|buffer| rustix::fs::lgetxattr(path.as_slice(), key, buffer))
    })
}

/// Returns the extended attributes of an open file or directory.
///
/// # Errors
/// What flistxattr(2) and fgetxattr(2) say.
pub fn xattrs(fd: BorrowedFd<'_>) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let list = read_growing(|buffer| rustix::fs::flistxattr(fd, buffer))?;
    named_values(&list, |key| {
        read_growing(|buffer| rustix::fs::fgetxattr(fd, key, buffer))
    })
}

/// A path to `name` in `dir` for calls that take no directory handle. /proc here is the host's.
fn through_proc(dir: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    path
}

fn named_values(
    list: &[u8],
    value_of: impl Fn(&OsStr) -> io::Result<Vec<u8>>,
) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    list.split(|b| *b == 0)
        .filter(|key| !key.is_empty())
        .map(|key| Ok((key.to_vec(), value_of(OsStr::from_bytes(key))?)))
        .collect()
}

/// Reads into a small buffer first, as most files have no attributes, then into the largest.
fn read_growing(read: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> io::Result<Vec<u8>> {
    for size in [256, 65_536] {
        let mut buffer = vec![0; size];
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) => {}
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(Errno::RANGE.into())
}

/// Says whether `name` in `dir` is an overlay whiteout: a character device 0/0.
///
/// # Errors
/// What fstatat(2) says; a missing name is no error and no whiteout.
pub fn is_whiteout_at(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<bool> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(is_whiteout(&stat)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Says whether `stat` describes an overlay whiteout.
#[must_use]
pub fn is_whiteout(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    /// A directory of this test's own, removed at its end.
    struct Temp(PathBuf);

    impl Temp {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("rootdir-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join("in/a/b")).unwrap();
            fs::create_dir_all(path.join("out")).unwrap();
            Self(path)
        }

        fn root(&self) -> RootDir {
            RootDir::open(&self.0.join("in")).unwrap()
        }

        fn link(&self, target: &str, name: &str) {
            symlink(target, self.0.join("in").join(name)).unwrap();
        }
    }

    impl Drop for Temp {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn walk(root: &RootDir, path: &str) -> io::Result<Option<String>> {
        let stop = |_: BorrowedFd<'_>, _: &[u8], _: &[u8]| Ok::<_, io::Error>(OnMissing::Stop);
        let walked = root.walk(path.as_bytes(), stop)?;
        Ok(walked.map(|found| String::from_utf8(found.path).unwrap()))
    }

    #[test]
    fn a_walk_stays_inside() {
        let temp = Temp::new("inside");
        temp.link("a/b", "rel");
        temp.link("/a", "abs");
        temp.link("../../../../out", "up");
        temp.link("../..", "a/b/top");
        temp.link("loop", "loop");
        let root = temp.root();
        for (path, end) in [
            ("", Some("")),
            ("a//./b/", Some("a/b")),
            ("rel", Some("a/b")),
            ("abs/b/..", Some("a")),
            ("../../a", Some("a")),
            ("rel/top/a", Some("a")),
            ("up", None),
            ("missing/a", None),
        ] {
            assert_eq!(walk(&root, path).unwrap().as_deref(), end, "{path}");
        }
        let error = walk(&root, "loop/x").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::LOOP.raw_os_error()));
    }

    #[test]
    fn a_walk_can_make_what_is_missing() {
        let temp = Temp::new("make");
        temp.link("/c/d", "dangling");
        let mut made = Vec::new();
        let make = |dir: BorrowedFd<'_>, name: &[u8], there: &[u8]| -> io::Result<OnMissing> {
            rustix::fs::mkdirat(dir, name, Mode::RWXU)?;
            made.push(String::from_utf8_lossy(there).into_owned());
            Ok(OnMissing::Made)
        };
        let found = temp.root().walk(b"dangling/e", make).unwrap().unwrap();
        assert_eq!(found.path, b"c/d/e");
        assert_eq!(made, ["c", "c/d", "c/d/e"]);
        assert!(temp.0.join("in/c/d/e").is_dir());
    }

    #[test]
    fn a_plain_open_follows_nothing() {
        let temp = Temp::new("plain");
        temp.link("a", "l");
        let root = temp.root();
        assert!(root.open_plain(b"a/b", OFlags::PATH).is_ok());
        assert!(root.open_plain(b"", OFlags::PATH).is_ok());
        for bad in [&b"l/b"[..], b"l", b"a/../..", b"..", b"/a"] {
            assert!(root.open_plain(bad, OFlags::RDONLY).is_err(), "{bad:?}");
        }
    }
}
