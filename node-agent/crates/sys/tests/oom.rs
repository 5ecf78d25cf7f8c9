//! The OOM killer's calls in a cgroup of v1, as root.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use agent_sys::oom::OomCalls;
use rustix::fs::{Mode, OFlags};

const MEMORY: &str = "/sys/fs/cgroup/memory";

/// A cgroup with little memory; removed with whatever is left in it.
struct Small(PathBuf);

impl Small {
    fn new(name: &str) -> Self {
        let path = Path::new(MEMORY).join(format!("oom-test-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        let small = Self(path);
        small.write("memory.limit_in_bytes", "4194304");
        small
    }

    fn write(&self, file: &str, value: &str) {
        fs::write(self.0.join(file), value).unwrap();
    }

    fn listen(&self) -> std::io::Result<OomCalls> {
        let directory = rustix::fs::open(&self.0, OFlags::DIRECTORY, Mode::empty())?;
        OomCalls::of(directory.as_fd())
    }

    /// Runs a shell line inside; returns the signal that ended it.
    fn run(&self, line: &str) -> Option<i32> {
        let enter = format!("echo 0 >{}/cgroup.procs; {line}", self.0.display());
        let status = Command::new("/bin/sh").args(["-c", &enter]).status();
        status.unwrap().signal()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // A test removes it itself.
        let _ = fs::remove_dir(&self.0);
    }
}

/// Says whether this machine has v1; where it has not, there is nothing to listen to, and that is said.
fn is_v1() -> bool {
    if Path::new(MEMORY).join("memory.oom_control").exists() {
        return true;
    }
    let root = rustix::fs::open("/sys/fs/cgroup", OFlags::DIRECTORY, Mode::empty()).unwrap();
    OomCalls::of(root.as_fd()).unwrap_err();
    false
}

#[test]
fn a_kill_is_heard_of_after_the_cgroup_has_gone() {
    if !is_v1() {
        return;
    }
    let greedy = Small::new("greedy");
    let calls = greedy.listen().unwrap();
    assert_eq!(calls.take(), 0);
    assert_eq!(greedy.run("exec tail /dev/zero"), Some(9));
    fs::remove_dir(&greedy.0).unwrap();
    assert!(calls.take() > 0);
}

#[test]
fn another_death_is_none_of_its() {
    if !is_v1() {
        return;
    }
    let modest = Small::new("modest");
    let calls = modest.listen().unwrap();
    assert_eq!(modest.run("kill -9 $$"), Some(9));
    assert_eq!(calls.take(), 0);
}
