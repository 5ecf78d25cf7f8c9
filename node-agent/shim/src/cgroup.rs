//! A container's cgroup, as the directory descriptors that the agent sent.
//!
//! Owns: how a process gets in, who is inside, ending all of them, and the OOM killer's count.
//! Does not: make or remove cgroups, or set limits.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use agent_runtime::CgroupAttach;
use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags};

use crate::error::RequestError;
use crate::oom::Witness;

/// Deepest nesting of cgroups below a container's that is followed.
const DEPTH: u32 = 8;

/// How often the state of a freezer is looked at before its processes are killed in motion.
const FREEZE_CHECKS: u32 = 20;

/// Version of the cgroup interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// Several hierarchies, memory first.
    V1 { freezer: Option<usize> },
    /// One.
    V2,
}

/// The cgroup of one container.
#[derive(Debug)]
pub(crate) struct Cgroup {
    version: Version,
    directories: Vec<OwnedFd>,
    /// OOM kills counted before the container was.
    oom_kills_before: u64,
    /// Asked where the cgroup is gone.
    witness: Option<Witness>,
}

impl Cgroup {
    /// Takes the descriptors of a message; with none the container shares the shim's cgroup.
    pub(crate) fn new(version: u32, directories: Vec<OwnedFd>) -> Result<Self, RequestError> {
        let version = match version {
            _ if directories.is_empty() => Version::V1 { freezer: None },
            1 => Version::V1 {
                freezer: directories.iter().position(|directory| {
                    rustix::fs::accessat(
                        directory,
                        "freezer.state",
                        rustix::fs::Access::EXISTS,
                        rustix::fs::AtFlags::empty(),
                    )
                    .is_ok()
                }),
            },
            2 => Version::V2,
            _ => {
                return Err(RequestError::Malformed {
                    what: "cgroup version is neither 1 nor 2",
                });
            }
        };
        let mut cgroup = Self {
            version,
            directories,
            oom_kills_before: 0,
            witness: None,
        };
        cgroup.oom_kills_before = cgroup.oom_kill_count().unwrap_or(0);
        cgroup.witness = cgroup
            .directories
            .first()
            .and_then(|own| Witness::of_scope(version, own));
        Ok(cgroup)
    }

    /// Calls `work` with the way for a new process to get in.
    pub(crate) fn with_attach<R>(&self, work: impl FnOnce(CgroupAttach<'_>) -> R) -> R {
        match (self.version, self.directories.as_slice()) {
            (_, []) => work(CgroupAttach::Stay),
            (Version::V2, [directory, ..]) => work(CgroupAttach::V2(directory.as_fd())),
            (Version::V1 { .. }, directories) => {
                let borrowed: Vec<BorrowedFd<'_>> = directories.iter().map(AsFd::as_fd).collect();
                work(CgroupAttach::V1(&borrowed))
            }
        }
    }

    /// Returns whether the OOM killer struck since the container was created.
    pub(crate) fn oom_killed(&self) -> bool {
        match self.oom_kill_count() {
            Some(count) => count > self.oom_kills_before,
            None => self.witness.as_ref().is_some_and(Witness::struck),
        }
    }

    /// Notes that another container was killed, with all that a witness has seen of it.
    pub(crate) fn forget_kills_of_others(&mut self) {
        if let Some(witness) = &mut self.witness {
            witness.forget();
        }
    }

    /// Notes that its processes are killed by us: from here on its own count alone proves anything.
    /// What a witness has seen may be another container's end, or none.
    pub(crate) fn killed_by_us(&mut self) {
        self.witness = None;
    }

    /// Returns the kills counted; `None` where the cgroup is gone.
    fn oom_kill_count(&self) -> Option<u64> {
        kills(self.version, self.directories.first()?.as_fd())
    }

    /// The directory that processes are listed in and ended through.
    fn main(&self) -> Option<BorrowedFd<'_>> {
        let index = match self.version {
            Version::V1 { freezer } => freezer.unwrap_or(0),
            Version::V2 => 0,
        };
        self.directories.get(index).map(AsFd::as_fd)
    }

    /// Returns whether no process is left, in a cgroup that is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.main().is_none_or(|_| self.processes().is_empty())
    }

    /// Returns the processes inside, of cgroups below it too.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let mut found = Vec::new();
        if let Some(directory) = self.main() {
            collect(directory, DEPTH, &mut found);
        }
        found
    }

    /// Sends `signal` to every process inside.
    pub(crate) fn signal(&self, signal: i32) {
        for pid in self.processes() {
            // Through a descriptor, and only if it is in the cgroup still: ids are used again.
            let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
                continue;
            };
            if self.processes().contains(&pid) {
                let _ = agent_sys::signal::send(pidfd.as_fd(), signal);
            }
        }
    }

    /// Kills every process inside; does not wait for their end.
    pub(crate) fn kill(&self) {
        let Some(directory) = self.main() else { return };
        match self.version {
            Version::V2 => {
                // Before 5.14 there is no such file; then one by one.
                if write(directory, "cgroup.kill", b"1").is_err() {
                    self.kill_each();
                }
            }
            Version::V1 { freezer: None } => self.kill_each(),
            Version::V1 { freezer: Some(_) } => {
                // Frozen processes cannot fork, so that one round reaches all of them.
                let frozen = write(directory, "freezer.state", b"FROZEN").is_ok();
                if frozen {
                    wait_until_frozen(directory);
                }
                self.kill_each();
                if frozen {
                    let _ = write(directory, "freezer.state", b"THAWED");
                }
            }
        }
    }

    /// Returns whether its processes are stopped, by itself or with a cgroup above it.
    pub(crate) fn is_frozen(&self) -> bool {
        let Some(directory) = self.main() else {
            return false;
        };
        match self.version {
            Version::V1 { freezer: None } => false,
            Version::V1 { freezer: Some(_) } => {
                read(directory, "freezer.state").is_ok_and(|state| !state.starts_with(b"THAWED"))
            }
            Version::V2 => read(directory, "cgroup.events")
                .is_ok_and(|events| field(&events, "frozen") == Some(1)),
        }
    }

    /// Lets frozen processes go on: on v1 a frozen one does not even die.
    pub(crate) fn thaw(&self) {
        if let (Version::V1 { freezer: Some(_) }, Some(directory)) = (self.version, self.main()) {
            let _ = write(directory, "freezer.state", b"THAWED");
        }
    }

    fn kill_each(&self) {
        for pid in self.processes() {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }

    /// Lets go of the directories: the container is over.
    pub(crate) fn release(&mut self) {
        self.directories = Vec::new();
        self.witness = None;
    }
}

/// Returns the kills that a cgroup counts; `None` where it is gone.
pub(crate) fn kills(version: Version, directory: BorrowedFd<'_>) -> Option<u64> {
    let file = match version {
        Version::V1 { .. } => "memory.oom_control",
        // Those below included.
        Version::V2 => "memory.events",
    };
    let text = read(directory, file).ok()?;
    Some(field(&text, "oom_kill").unwrap_or(0))
}

fn wait_until_frozen(directory: BorrowedFd<'_>) {
    for _ in 0..FREEZE_CHECKS {
        match read(directory, "freezer.state") {
            Ok(state) if state.starts_with(b"FREEZING") => rustix::thread::sched_yield(),
            _ => return,
        }
    }
}

/// Appends the processes of a cgroup and of those below it.
fn collect(directory: BorrowedFd<'_>, depth: u32, found: &mut Vec<Pid>) {
    let text = read(directory, "cgroup.procs").unwrap_or_default();
    found.extend(
        text.split(|byte| *byte == b'\n')
            .filter_map(|line| std::str::from_utf8(line).ok()?.parse().ok())
            .filter_map(Pid::from_raw),
    );
    if depth == 0 {
        return;
    }
    let Ok(entries) = Dir::read_from(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if entry.file_type() != FileType::Directory || name == c"." || name == c".." {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if let Ok(below) = rustix::fs::openat(directory, name, flags, Mode::empty()) {
            collect(below.as_fd(), depth - 1, found);
        }
    }
}

fn open(directory: BorrowedFd<'_>, name: &str, access: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

fn read(directory: BorrowedFd<'_>, name: &str) -> io::Result<Vec<u8>> {
    let file = open(directory, name, OFlags::RDONLY)?;
    let mut text = Vec::with_capacity(1024);
    loop {
        match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text)) {
            Ok(0) => return Ok(text),
            Ok(_) => text.reserve(1024),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn write(directory: BorrowedFd<'_>, name: &str, value: &[u8]) -> io::Result<()> {
    let file = open(directory, name, OFlags::WRONLY)?;
    rustix::io::write(&file, value)?;
    Ok(())
}

/// Moves the calling process into the cgroup that `directory` is; of either version.
pub(crate) fn enter(directory: BorrowedFd<'_>) -> io::Result<()> {
    // On v1 `tasks` moves one thread and never waits, unlike `cgroup.procs`; v2 has only the latter.
    match write(directory, "tasks", b"0") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write(directory, "cgroup.procs", b"0")
        }
        done => done,
    }
}

/// Returns the number after `name` in a file of `name number` lines.
fn field(text: &[u8], name: &str) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kill_count_is_not_taken_for_another_field() {
        let v1 = b"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(field(v1, "oom_kill"), Some(3));
        let v2 = b"low 0\nhigh 0\nmax 9\noom 1\noom_kill 2\noom_group_kill 7\n";
        assert_eq!(field(v2, "oom_kill"), Some(2));
        assert_eq!(field(b"", "oom_kill"), None);
    }

    #[test]
    fn a_version_that_does_not_exist_is_refused() {
        let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open("/", flags, Mode::empty()).unwrap();
        assert!(Cgroup::new(3, vec![directory]).is_err());
        assert!(Cgroup::new(0, Vec::new()).unwrap().is_empty());
    }

    /// Where v2 counts kills.
    const EVENTS: &str = "memory.events";

    /// A pod's cgroup of v2 with a scope in it, as directories.
    struct Pod(tempfile::TempDir);

    impl Pod {
        fn new() -> Self {
            let pod = Self(tempfile::tempdir().unwrap());
            std::fs::create_dir(pod.0.path().join("a.scope")).unwrap();
            pod.count("", 3);
            pod.count("a.scope", 1);
            pod
        }

        fn count(&self, cgroup: &str, kills: u32) {
            let file = self.0.path().join(cgroup).join(EVENTS);
            std::fs::write(file, format!("oom 9\noom_kill {kills}\n")).unwrap();
        }

        fn container(&self) -> Cgroup {
            let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
            let scope = self.0.path().join("a.scope");
            let directory = rustix::fs::open(scope, flags, Mode::empty()).unwrap();
            Cgroup::new(2, vec![directory]).unwrap()
        }
    }

    #[test]
    fn a_container_that_was_stopped_did_not_end_by_the_kill_of_another() {
        let pod = Pod::new();
        let mut cgroup = pod.container();
        assert!(!cgroup.oom_killed());
        pod.count("", 4);
        assert!(!cgroup.oom_killed(), "its own count holds");
        std::fs::remove_file(pod.0.path().join("a.scope").join(EVENTS)).unwrap();
        assert!(cgroup.oom_killed());
        cgroup.killed_by_us();
        assert!(!cgroup.oom_killed());
    }

    #[test]
    fn a_kill_that_the_container_counts_itself_is_told_whoever_else_kills() {
        let pod = Pod::new();
        let mut cgroup = pod.container();
        cgroup.killed_by_us();
        pod.count("a.scope", 2);
        assert!(cgroup.oom_killed());
    }
}
