//! Slim mount namespaces, as root; each test's thread has one of its own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use agent_sys::slim;
use rustix::mount::{MountFlags, MountPropagationFlags};

/// Runs `test` in a thread with mounts of its own, which go when it ends.
fn with_own_mounts(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(|| {
        // Of a process with threads too: only this one goes.
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        rustix::mount::mount_change("/", private).unwrap();
        test();
    });
    thread.join().unwrap();
}

/// Returns the mount points of the calling thread.
fn mount_points() -> Vec<String> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    let point = |line: &str| line.split(' ').nth(4).unwrap().to_owned();
    table.lines().map(point).collect()
}

fn assert_slim(kept: &Path) {
    assert_eq!(fs::read_to_string(kept.join("file")).unwrap(), "content");
    let points = mount_points();
    assert_eq!(points.iter().filter(|point| *point == "/").count(), 1);
    let expected = |point: &String| point == "/proc" || kept.starts_with(point);
    assert!(points.iter().all(expected), "{points:?}");
    // What is on top of the root is the root.
    let [root, above, here] = ["/", "/..", "."].map(|path| fs::metadata(path).unwrap());
    assert_eq!((root.dev(), root.ino()), (above.dev(), above.ino()));
    assert_eq!((root.dev(), root.ino()), (here.dev(), here.ino()));
}

fn kept() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("file"), "content").unwrap();
    directory
}

#[test]
fn only_what_is_kept_stays() {
    let directory = kept();
    let path = directory.path().to_owned();
    with_own_mounts(move || {
        slim::enter(&[&path]).unwrap();
        assert_slim(&path);
    });
}

/// Mounts over the host's root once stayed on top of the slim one.
#[test]
fn mounts_over_the_hosts_root_go_too() {
    let directory = kept();
    let path = directory.path().to_owned();
    with_own_mounts(move || {
        for _ in 0..3 {
            rustix::mount::mount("tmpfs", "/", "tmpfs", MountFlags::empty(), None).unwrap();
        }
        slim::enter(&[&path]).unwrap();
        assert_slim(&path);
    });
}

#[test]
fn more_mounts_than_a_host_would_have_are_refused() {
    let directory = kept();
    let path = directory.path().to_owned();
    with_own_mounts(move || {
        for _ in 0..80 {
            rustix::mount::mount("tmpfs", "/", "tmpfs", MountFlags::empty(), None).unwrap();
        }
        let error = slim::enter(&[&path]).unwrap_err();
        let stacked = agent_sys::pivot::PivotError::Stacked;
        assert!(
            matches!(&error, slim::SlimError::Pivot(cause) if cause.to_string() == stacked.to_string()),
            "{error}"
        );
    });
}
