//! Writable layers.

use std::os::unix::fs::MetadataExt;

use agent_snapshot::{ChainId, LookupError, PrepareError, RemoveError, Snapshots};
use agent_types::{Digest, SnapshotKey};
use tar::EntryType;

use crate::build::Tar;
use crate::node::{Node, xattrs};

fn key(text: &str) -> SnapshotKey {
    text.parse().unwrap()
}

fn image(node: &Node) -> ChainId {
    let bottom = Tar::new()
        .pax(&[("SCHILY.xattr.user.root", b"r")])
        .owned(EntryType::Directory, "./", 0o1771, 11, 12)
        .file("a", b"a")
        .end();
    node.stack(&[bottom, Tar::new().file("b", b"b").end()])
}

#[test]
fn prepare_is_idempotent_and_survives_a_restart() {
    let node = Node::new();
    let top = image(&node);
    let first = node.snapshots.prepare(&key("c1"), Some(&top)).unwrap();
    assert_eq!(first.lower[1..], node.snapshots.layers(&top).unwrap());
    assert_eq!(
        node.snapshots.prepare(&key("c1"), Some(&top)).unwrap(),
        first
    );
    let upper = node.snapshots.base().join(&first.upper);
    let meta = std::fs::metadata(&upper).unwrap();
    assert_eq!(
        (meta.mode() & 0o7777, meta.uid(), meta.gid()),
        (0o1771, 11, 12)
    );
    assert_eq!(xattrs(&upper), [("user.root".to_owned(), b"r".to_vec())]);
    assert!(node.snapshots.base().join(&first.work).is_dir());
    // What the container changed meanwhile stays so.
    std::fs::write(upper.join("written"), b"w").unwrap();
    std::os::unix::fs::chown(&upper, Some(99), None).unwrap();
    assert_eq!(
        node.snapshots.prepare(&key("c1"), Some(&top)).unwrap(),
        first
    );
    assert_eq!(std::fs::metadata(&upper).unwrap().uid(), 99);

    let (again, recovery) = Snapshots::open(node.dir.path(), "boot-1").unwrap();
    assert_eq!(recovery.containers, [key("c1")]);
    assert_eq!(again.get(&key("c1")).unwrap(), first);
    assert_eq!(again.containers(), [(key("c1"), Some(top))]);
}

/// The daemon may be killed between any two of the directories.
#[test]
fn a_half_made_snapshot_is_finished() {
    let node = Node::new();
    let top = image(&node);
    let whole = node.snapshots.prepare(&key("c1"), Some(&top)).unwrap();
    let base = node.snapshots.base();
    std::fs::remove_dir(base.join(&whole.work)).unwrap();
    std::os::unix::fs::chown(base.join(&whole.upper), Some(0), Some(0)).unwrap();
    node.snapshots.prepare(&key("c1"), Some(&top)).unwrap();
    assert_eq!(
        std::fs::metadata(base.join(&whole.upper)).unwrap().uid(),
        11
    );
    std::fs::remove_dir(base.join(&whole.work)).unwrap();
    std::fs::remove_dir(base.join(&whole.upper)).unwrap();
    node.snapshots.prepare(&key("c1"), Some(&top)).unwrap();
    assert!(base.join(&whole.work).is_dir());
    assert_eq!(
        std::fs::metadata(base.join(&whole.upper)).unwrap().gid(),
        12
    );
}

#[test]
fn a_key_stands_on_one_image_only() {
    let node = Node::new();
    let top = image(&node);
    node.snapshots.prepare(&key("c1"), Some(&top)).unwrap();
    let error = node.snapshots.prepare(&key("c1"), None).unwrap_err();
    assert!(matches!(error, PrepareError::Conflict { .. }));
    let absent = ChainId::from(Digest::sha256(&[9; 32]));
    let error = node
        .snapshots
        .prepare(&key("c2"), Some(&absent))
        .unwrap_err();
    assert!(matches!(error, PrepareError::Layer { .. }));
    assert_eq!(node.snapshots.containers().len(), 1);
}

#[test]
fn a_snapshot_of_nothing_has_an_empty_layer_below() {
    let node = Node::new();
    let writable = node.snapshots.prepare(&key("c1"), None).unwrap();
    assert_eq!(writable.lower, ["l/0"]);
    let lower = node.snapshots.base().join("l/0");
    assert!(std::fs::read_dir(lower).unwrap().next().is_none());
    let meta = std::fs::metadata(node.snapshots.base().join(writable.upper)).unwrap();
    assert_eq!(meta.mode() & 0o7777, 0o755);
}

#[test]
fn remove_is_idempotent_and_sweep_frees() {
    let node = Node::new();
    let top = image(&node);
    let writable = node.snapshots.prepare(&key("c1"), Some(&top)).unwrap();
    let upper = node.snapshots.base().join(&writable.upper);
    std::fs::create_dir(upper.join("d")).unwrap();
    std::fs::write(upper.join("d/f"), vec![1; 100_000]).unwrap();
    std::fs::hard_link(upper.join("d/f"), upper.join("g")).unwrap();
    let usage = node.snapshots.usage(&key("c1")).unwrap();
    assert_eq!(
        (usage.inodes, usage.complete),
        (3, true),
        "two names are one file"
    );
    assert!((100_000..200_000).contains(&usage.bytes));
    node.snapshots.remove(&key("c1")).unwrap();
    node.snapshots.remove(&key("c1")).unwrap();
    assert!(!upper.exists());
    assert_eq!(
        node.snapshots.get(&key("c1")).unwrap_err(),
        LookupError::Snapshot { key: key("c1") }
    );
    assert_eq!(
        node.snapshots.sweep().unwrap(),
        6,
        "its directory, fs, work and three in fs"
    );
    node.assert_nothing_left();
    node.snapshots.prepare(&key("c1"), Some(&top)).unwrap();
}

#[test]
fn a_layer_in_use_stays() {
    let node = Node::new();
    let top = image(&node);
    let parent = node.snapshots.layer(&top).unwrap().parent.unwrap();
    let path = node.path(&top);
    let error = node.snapshots.remove_layer(&parent).unwrap_err();
    assert!(matches!(error, RemoveError::HasChild { .. }));
    node.snapshots.prepare(&key("c1"), Some(&top)).unwrap();
    let error = node.snapshots.remove_layer(&top).unwrap_err();
    assert!(matches!(error, RemoveError::HasSnapshot { .. }));
    assert!(path.exists());
    node.snapshots.remove(&key("c1")).unwrap();
    for chain in [&top, &parent, &top] {
        node.snapshots.remove_layer(chain).unwrap();
    }
    assert!(!path.exists() && node.snapshots.layer_records().is_empty());
    node.snapshots.sweep().unwrap();
    node.assert_nothing_left();
}
