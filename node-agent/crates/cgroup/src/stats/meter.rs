//! The files of one cgroup, kept open.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::SystemTime;

use rustix::io::Errno;

use super::parse::{self, Texts};
use super::{PidsStats, Stats};
use crate::error::CgroupError;
use crate::file;
use crate::tree::Inner;
use crate::{CgroupPath, Version};

/// Controller and name of each file that is read on v1.
const V1: &[(&str, &str)] = &[
    ("cpuacct", "cpuacct.usage"),
    ("cpuacct", "cpuacct.usage_user"),
    ("cpu", "cpu.stat"),
    ("memory", "memory.usage_in_bytes"),
    ("memory", "memory.max_usage_in_bytes"),
    ("memory", "memory.kmem.usage_in_bytes"),
    ("memory", "memory.failcnt"),
    ("memory", "memory.stat"),
    ("memory", "memory.oom_control"),
    ("pids", "pids.current"),
    ("pids", "pids.max"),
    ("pids", "cgroup.procs"),
    ("blkio", "blkio.throttle.io_service_bytes_recursive"),
    ("blkio", "blkio.throttle.io_serviced_recursive"),
];

/// As [`V1`], on v2.
const V2: &[(&str, &str)] = &[
    ("cpu", "cpu.stat"),
    ("cpu", "cpu.pressure"),
    ("memory", "memory.current"),
    ("memory", "memory.peak"),
    ("memory", "memory.max"),
    ("memory", "memory.swap.current"),
    ("memory", "memory.swap.max"),
    ("memory", "memory.stat"),
    ("memory", "memory.events"),
    ("memory", "memory.pressure"),
    ("pids", "pids.current"),
    ("pids", "pids.max"),
    ("pids", "cgroup.procs"),
    ("io", "io.stat"),
    ("io", "io.pressure"),
];

/// The processes of a cgroup.
const PROCESSES: &str = "cgroup.procs";

/// Where the text of a file comes from.
#[derive(Debug)]
enum Source {
    /// The file, kept open.
    File(OwnedFd),
    /// The directory it is in. v1's list of processes is opened for each reading: the kernel
    /// answers a second reading of an open one with what it said to the first, for a second from
    /// the last.
    Directory(OwnedFd),
}

/// Reads what a cgroup uses, again and again, through files that are opened once. The cgroup can be
/// removed meanwhile; then readings say so.
#[derive(Debug)]
pub struct Meter {
    path: CgroupPath,
    version: Version,
    /// Those that this kernel has.
    files: Vec<(&'static str, Source)>,
}

impl Meter {
    /// Opens the files; those of controllers that the machine lacks are left out.
    pub(crate) fn open(tree: &Inner, path: &CgroupPath) -> Result<Self, CgroupError> {
        let gone = || CgroupError::NotFound { path: path.clone() };
        if !tree.hierarchies()[0].contains(path) {
            return Err(gone());
        }
        let version = tree.version();
        let names = match version {
            Version::V1 => V1,
            Version::V2 => V2,
        };
        let mut files = Vec::with_capacity(names.len());
        for (controller, name) in names {
            let Some(hierarchy) = tree.find(controller) else {
                continue;
            };
            let opened = if version == Version::V1 && *name == PROCESSES {
                hierarchy.directory(path).map(Source::Directory)
            } else {
                let file = format!("{}/{name}", path.relative());
                file::open(hierarchy.root(), &file).map(Source::File)
            };
            match opened {
                Ok(source) => files.push((*name, source)),
                Err(Errno::NOENT | Errno::OPNOTSUPP) => {}
                Err(Errno::NODEV) => return Err(gone()),
                Err(source) => {
                    return Err(CgroupError::Read {
                        path: path.clone(),
                        file: name,
                        source,
                    });
                }
            }
        }
        Ok(Self {
            path: path.clone(),
            version,
            files,
        })
    }

    /// Returns how many descriptors it holds.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.files.len()
    }

    /// Returns what the cgroup used so far.
    ///
    /// # Errors
    /// [`CgroupError::NotFound`] once it is removed.
    pub fn read(&self) -> Result<Stats, CgroupError> {
        let at = SystemTime::now();
        let texts = self.texts()?;
        let (cpu, memory, io) = match self.version {
            Version::V1 => parse::v1(&texts),
            Version::V2 => parse::v2(&texts),
        };
        Ok(Stats {
            at,
            cpu,
            memory,
            pids: PidsStats {
                processes: texts.lines(PROCESSES),
                current: texts.number("pids.current").unwrap_or(0),
                limit: texts.number("pids.max"),
            },
            io,
        })
    }

    fn texts(&self) -> Result<Texts, CgroupError> {
        let mut texts = Texts::default();
        for (name, source) in &self.files {
            let start = texts.begin(name);
            let read = match source {
                Source::File(fd) => append(&mut texts, fd.as_fd()),
                Source::Directory(directory) => file::open(directory.as_fd(), name)
                    .and_then(|fd| append(&mut texts, fd.as_fd())),
            };
            match read {
                // Pressure that the kernel was told not to account for, and the like.
                Ok(()) | Err(Errno::OPNOTSUPP) => {}
                Err(Errno::NODEV | Errno::NOENT) => {
                    return Err(CgroupError::NotFound {
                        path: self.path.clone(),
                    });
                }
                Err(source) => {
                    return Err(CgroupError::Read {
                        path: self.path.clone(),
                        file: name,
                        source,
                    });
                }
            }
            texts.end(start);
        }
        Ok(texts)
    }
}

/// Reads a file from its beginning.
fn append(texts: &mut Texts, fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut buffer = [0_u8; 8192];
    let mut offset = 0;
    loop {
        match rustix::io::pread(fd, &mut buffer, offset) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                texts.append(buffer.get(..count).unwrap_or_default());
                offset += u64::try_from(count).unwrap_or(u64::MAX);
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
