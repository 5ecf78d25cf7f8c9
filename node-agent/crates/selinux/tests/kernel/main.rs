//! Labels on files, as root on a real file system; it need not be a kernel with SELinux.

use std::os::unix::fs::symlink;
use std::path::Path;

use agent_selinux::{RelabelError, relabel};
use rustix::fs::{Mode, OFlags};

const ATTRIBUTE: &str = "security.selinux";

fn label_of(path: &Path) -> Option<String> {
    let mut text = [0_u8; 200];
    let length = rustix::fs::lgetxattr(path, ATTRIBUTE, &mut text).ok()?;
    let text = std::str::from_utf8(text.get(..length)?).ok()?;
    Some(text.trim_end_matches('\0').to_owned())
}

#[test]
fn a_tree_is_labelled_and_no_link_is_followed() {
    let place = tempfile::tempdir().unwrap();
    let (tree, outside) = (place.path().join("tree"), place.path().join("outside"));
    std::fs::create_dir_all(tree.join("a/b")).unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(tree.join("a/b/file"), "").unwrap();
    std::fs::write(outside.join("file"), "").unwrap();
    symlink(&outside, tree.join("a/link")).unwrap();
    let before = label_of(&outside);
    let label = "system_u:object_r:container_file_t:s0:c1,c2";
    relabel(&tree, label).unwrap();
    for path in ["", "a", "a/b", "a/b/file", "a/link"] {
        assert_eq!(label_of(&tree.join(path)).as_deref(), Some(label), "{path}");
    }
    assert_eq!(label_of(&outside), before);
    assert_eq!(label_of(&outside.join("file")), before);
}

#[test]
fn a_tree_of_many_levels_is_refused_and_none_is_left_open() {
    let place = tempfile::tempdir().unwrap();
    let top = rustix::fs::open(place.path(), OFlags::PATH, Mode::empty()).unwrap();
    let mut last = top.try_clone().unwrap();
    for _ in 0..2050 {
        rustix::fs::mkdirat(&last, "d", Mode::RWXU).unwrap();
        last = rustix::fs::openat(&last, "d", OFlags::PATH, Mode::empty()).unwrap();
    }
    let refused = relabel(place.path(), "a:b:c");
    assert!(
        matches!(refused, Err(RelabelError::Deep { .. })),
        "{refused:?}"
    );
}
