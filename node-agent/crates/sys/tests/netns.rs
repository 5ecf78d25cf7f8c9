//! Network namespaces against the real kernel; needs root.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use agent_sys::netns;

fn inode(fd: &OwnedFd) -> Option<u64> {
    Some(File::from(fd.try_clone().ok()?).metadata().ok()?.ino())
}

#[test]
fn a_new_namespace_is_not_the_callers() {
    let before = inode(&netns::current().unwrap());
    let made = netns::create().unwrap();
    assert_ne!(inode(&made), before);
    assert_eq!(inode(&netns::current().unwrap()), before);
}

#[test]
fn work_runs_inside_and_leaves_the_caller_alone() {
    let made = netns::create().unwrap();
    let before = inode(&netns::current().unwrap());
    let seen = netns::run_in(made.as_fd(), netns::current).unwrap();
    assert_eq!(inode(&seen), inode(&made));
    assert_eq!(inode(&netns::current().unwrap()), before);
}

#[test]
fn a_panic_inside_is_an_error_outside() {
    let made = netns::create().unwrap();
    let answer = netns::run_in(made.as_fd(), || -> io::Result<()> { panic!("on purpose") });
    assert!(answer.is_err());
}

#[test]
fn a_filter_is_accepted() {
    let made = netns::create().unwrap();
    let socket = netns::route_socket_in(made.as_fd()).unwrap();
    netns::keep_only(socket.as_fd(), 17, 0).unwrap();
    netns::drain(&socket).unwrap();
}

#[test]
fn a_pinned_namespace_outlives_its_descriptors() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pin");
    let made = netns::create().unwrap();
    let inode_before = inode(&made);
    netns::pin(made.as_fd(), &path).unwrap();
    drop(made);
    assert!(netns::is_pinned(&path));
    assert_eq!(inode(&netns::open(&path).unwrap()), inode_before);
    netns::unpin(&path).unwrap();
    assert!(!path.exists());
}

#[test]
fn pinning_and_unpinning_may_be_repeated() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pin");
    for _ in 0..2 {
        let made = netns::create().unwrap();
        netns::pin(made.as_fd(), &path).unwrap();
        assert_eq!(inode(&netns::open(&path).unwrap()), inode(&made));
    }
    netns::unpin(&path).unwrap();
    netns::unpin(&path).unwrap();
}

#[test]
fn a_file_left_from_before_a_boot_is_no_namespace() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pin");
    File::create(&path).unwrap();
    assert!(!netns::is_pinned(&path));
    netns::unpin(&path).unwrap();
    assert!(!path.exists());
}
