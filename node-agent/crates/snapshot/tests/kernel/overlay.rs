//! Layers as the kernel's overlay shows them. The mounts are never attached anywhere, so nothing
//! of them can be left.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;

use agent_snapshot::WritableLayer;
use rustix::fs::{Mode, OFlags};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount,
    fsopen,
};

use crate::build::Tar;
use crate::node::Node;

pub(crate) fn mount(writable: &WritableLayer) -> OwnedFd {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    let path = |name: &String| writable.base.join(name);
    for lower in &writable.lower {
        fsconfig_set_string(&context, "lowerdir+", path(lower)).unwrap();
    }
    fsconfig_set_string(&context, "upperdir", path(&writable.upper)).unwrap();
    fsconfig_set_string(&context, "workdir", path(&writable.work)).unwrap();
    fsconfig_create(&context).unwrap();
    let attributes = MountAttrFlags::empty();
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).unwrap()
}

pub(crate) fn open(root: &OwnedFd, path: &str) -> rustix::io::Result<File> {
    rustix::fs::openat(root, path, OFlags::RDONLY, Mode::empty()).map(File::from)
}

fn read(root: &OwnedFd, path: &str) -> Option<String> {
    let mut text = String::new();
    open(root, path).ok()?.read_to_string(&mut text).unwrap();
    Some(text)
}

#[test]
fn whiteouts_and_opaque_directories_hide_what_lies_below() {
    let node = Node::new();
    let below = Tar::new()
        .file("gone", b"1")
        .file("tree/x", b"1")
        .file("opaque/old", b"1")
        .file("anew/old", b"1")
        .file("kept/old", b"1")
        .file("replaced", b"1")
        .end();
    let above = Tar::new()
        .file(".wh.gone", b"")
        .file(".wh.tree", b"")
        .file("opaque/new", b"2")
        .file("opaque/.wh..wh..opq", b"")
        .file(".wh.anew", b"")
        .file("anew/new", b"2")
        .file("kept/new", b"2")
        .file(".wh.replaced", b"")
        .file("replaced", b"2")
        .end();
    let top = node.stack(&[below, above]);
    let writable = node
        .snapshots
        .prepare(&"c".parse().unwrap(), Some(&top))
        .unwrap();
    let root = mount(&writable);
    for hidden in ["gone", "tree", "tree/x", "opaque/old", "anew/old"] {
        assert_eq!(read(&root, hidden), None, "{hidden}");
    }
    for (shown, text) in [
        ("opaque/new", "2"),
        ("anew/new", "2"),
        ("kept/old", "1"),
        ("kept/new", "2"),
        ("replaced", "2"),
    ] {
        assert_eq!(read(&root, shown).as_deref(), Some(text), "{shown}");
    }
}

#[test]
fn a_stack_of_120_layers_mounts() {
    let node = Node::new();
    let layer = |n: usize| {
        Tar::new()
            .file(&format!("f{n}"), n.to_string().as_bytes())
            .file("last", n.to_string().as_bytes())
            .file(&format!(".wh.f{}", n.saturating_sub(2)), b"")
            .end()
    };
    let top = node.stack(&(1..=120).map(layer).collect::<Vec<_>>());
    let writable = node
        .snapshots
        .prepare(&"c".parse().unwrap(), Some(&top))
        .unwrap();
    assert_eq!(writable.lower.len(), 121, "mount points on top");
    let options: usize = writable.lower.iter().map(|name| name.len() + 1).sum();
    let options = options + writable.upper.len() + writable.work.len() + 40;
    assert!(
        options < 4096,
        "mount(2) takes one page, this is {options} bytes"
    );
    let root = mount(&writable);
    assert_eq!(read(&root, "last").as_deref(), Some("120"));
    assert_eq!(read(&root, "f119").as_deref(), Some("119"));
    assert_eq!(read(&root, "f118"), None);
    assert_eq!(read(&root, "f1"), None);
}

#[test]
fn the_root_of_the_overlay_looks_like_the_images() {
    use tar::EntryType;
    let node = Node::new();
    let tar = Tar::new()
        .owned(EntryType::Directory, "./", 0o1750, 21, 22)
        .end();
    let top = node.layer(&tar, None);
    let writable = node
        .snapshots
        .prepare(&"c".parse().unwrap(), Some(&top))
        .unwrap();
    let stat = rustix::fs::fstat(mount(&writable)).unwrap();
    assert_eq!(
        (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid),
        (0o1750, 21, 22)
    );
}

#[test]
fn a_written_layer_is_counted_and_removed() {
    let node = Node::new();
    let top = node.layer(&Tar::new().file("d/f", b"1").end(), None);
    let key = "c".parse().unwrap();
    let writable = node.snapshots.prepare(&key, Some(&top)).unwrap();
    let before = node.snapshots.usage(&key).unwrap();
    let root = mount(&writable);
    rustix::fs::unlinkat(&root, "d/f", rustix::fs::AtFlags::empty()).unwrap();
    let flags = OFlags::CREATE | OFlags::WRONLY;
    let file = rustix::fs::openat(&root, "new", flags, Mode::RUSR).unwrap();
    rustix::io::write(file, &[1; 5000]).unwrap();
    drop(root);
    let after = node.snapshots.usage(&key).unwrap();
    assert_eq!(after.inodes - before.inodes, 3, "d, its whiteout, new");
    assert!(after.bytes >= before.bytes + 5000);
    node.snapshots.remove(&key).unwrap();
    node.snapshots.sweep().unwrap();
    node.assert_nothing_left();
}
