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
