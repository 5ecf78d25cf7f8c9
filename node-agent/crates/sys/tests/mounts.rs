//! Detached mounts and the private procfs, as root.

use std::os::fd::AsFd;

use agent_sys::mount::{
    Change, Depth, FilesystemError, FilesystemOption, change, copy_of_path, new_filesystem,
};
use agent_sys::procfs::Procfs;
use rustix::fs::{Mode, OFlags, mkdirat};
use rustix::mount::MountAttrFlags;

#[test]
fn a_detached_file_system_is_in_nobodys_way() {
    let before = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let options = [FilesystemOption::Value("size", "64k")];
    let made = new_filesystem("tmpfs", options, MountAttrFlags::empty()).unwrap();
    mkdirat(&made, "inside", Mode::from_raw_mode(0o700)).unwrap();
    let read_only = Change::set(MountAttrFlags::MOUNT_ATTR_RDONLY);
    change(made.as_fd(), &read_only, Depth::One).unwrap();
    let refused = mkdirat(&made, "more", Mode::from_raw_mode(0o700)).unwrap_err();
    assert_eq!(refused, rustix::io::Errno::ROFS);
    assert_eq!(
        std::fs::read_to_string("/proc/self/mountinfo").unwrap(),
        before
    );
}

#[test]
fn a_refused_option_is_named_with_the_kernels_words() {
    let options = [FilesystemOption::Value("bogus", "1")];
    let error = new_filesystem("tmpfs", options, MountAttrFlags::empty()).unwrap_err();
    assert!(matches!(error, FilesystemError::Option { .. }), "{error}");
    assert!(error.to_string().contains("bogus=1"), "{error}");
    let error = new_filesystem("nothing", [], MountAttrFlags::empty()).unwrap_err();
    assert!(matches!(error, FilesystemError::Open { .. }), "{error}");
}

#[test]
fn a_copy_can_be_read_only_while_its_source_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let copy = copy_of_path(directory.path(), Depth::Tree).unwrap();
    let read_only = Change::set(MountAttrFlags::MOUNT_ATTR_RDONLY);
    change(copy.as_fd(), &read_only, Depth::Tree).unwrap();
    assert!(mkdirat(&copy, "x", Mode::from_raw_mode(0o700)).is_err());
    std::fs::create_dir(directory.path().join("y")).unwrap();
}

#[test]
fn the_private_procfs_reads_and_writes_and_follows_no_link() {
    let procfs = Procfs::detached().unwrap();
    let status = procfs.read("self/status").unwrap();
    let pid = format!("\nPid:\t{}\n", std::process::id());
    assert!(String::from_utf8(status).unwrap().contains(&pid));
    let before = procfs.read("self/oom_score_adj").unwrap();
    procfs.write("self/oom_score_adj", &before).unwrap();
    for link in [
        "mounts",
        "self/cwd/etc/passwd",
        "self/root/etc/passwd",
        "self/exe",
        "../etc/passwd",
    ] {
        assert!(procfs.open(link, OFlags::RDONLY).is_err(), "{link}");
    }
}
