//! What a layer takes from those below it when it is committed.

use std::os::unix::fs::MetadataExt;

use agent_snapshot::{ChainId, CommitError};
use agent_types::Digest;
use tar::EntryType;

use crate::build::{Tar, header};
use crate::node::{Node, xattrs};

fn below() -> Vec<u8> {
    Tar::new()
        .owned(EntryType::Directory, "./", 0o700, 1, 2)
        .pax(&[("SCHILY.xattr.user.kept", b"v"), ("mtime", b"77.5")])
        .owned(EntryType::Directory, "home", 0o1777, 3, 4)
        .owned(EntryType::Directory, "home/me", 0o2750, 5, 6)
        .file("home/me/mine", b"m")
        .pax(&[("SCHILY.xattr.user.file", b"f")])
        .owned(EntryType::Regular, "target", 0o4711, 7, 8)
        .symlink("link", "anywhere")
        .file("data", b"the data")
        .end()
}

#[test]
fn implied_directories_look_as_they_did_below() {
    let node = Node::new();
    let middle = Tar::new().file("other", b"o").end();
    let top = Tar::new()
        .file("home/me/new", b"n")
        .file("fresh/x", b"x")
        .end();
    let chain = node.stack(&[below(), middle, top]);
    let root = node.path(&chain);
    let meta = |name: &str| std::fs::metadata(root.join(name)).unwrap();
    let owner = |name: &str| {
        (
            meta(name).mode() & 0o7777,
            meta(name).uid(),
            meta(name).gid(),
        )
    };
    assert_eq!(owner(""), (0o700, 1, 2), "the root is implied, too");
    assert_eq!(owner("home"), (0o1777, 3, 4));
    assert_eq!(
        (meta("home").mtime(), meta("home").mtime_nsec()),
        (77, 500_000_000)
    );
    assert_eq!(
        xattrs(&root.join("home")),
        [("user.kept".to_owned(), b"v".to_vec())]
    );
    assert_eq!(owner("home/me"), (0o2750, 5, 6));
    assert_eq!(owner("fresh"), (0o755, 0, 0));
}

/// Deeper than a way is kept open, in an order that leaves directories and comes back to them.
#[test]
fn implied_directories_are_found_however_they_lie() {
    let node = Node::new();
    let deep = (0..400).map(|_| "d").collect::<Vec<_>>().join("/");
    let names = ["a", "a-b", "a-b/c", "a/b", "a/b/c", "a/c", "b", &deep];
    let mut bottom = Tar::new();
    for (name, uid) in names.iter().zip(10_u64..) {
        let path = [("path", name.as_bytes())];
        let directory = EntryType::Directory;
        bottom = bottom.pax(&path).owned(directory, "long", 0o710, uid, uid);
    }
    let hides = Tar::new().file("a/.wh.b", b"").file("b", b"").end();
    let files = |tar: Tar| {
        let path = |name: &str| format!("{name}/file").into_bytes();
        let add = |tar: Tar, name: &&str| tar.pax(&[("path", &path(name))]).file("long", b"");
        names.iter().fold(tar, add).end()
    };
    let middle = files(Tar::new());
    let chain = node.stack(&[bottom.end(), hides, middle, files(Tar::new())]);
    let root = node.path(&chain);
    let uid = |name: &&str| std::fs::metadata(root.join(name)).unwrap().uid();
    let seen: Vec<_> = names.iter().map(uid).collect();
    assert_eq!(seen, [10, 11, 12, 0, 0, 15, 0, 17]);
}

#[test]
fn what_is_hidden_below_lends_nothing() {
    let node = Node::new();
    let cases = [
        // Deleted here and made anew.
        Tar::new()
            .file(".wh.home", b"")
            .file("home/me/new", b"")
            .end(),
        // Made opaque here.
        Tar::new()
            .file("home/.wh..wh..opq", b"")
            .file("home/me/new", b"")
            .end(),
    ];
    for case in cases {
        let chain = node.stack(&[below(), case]);
        let meta = std::fs::metadata(node.path(&chain).join("home/me")).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o755, 0));
        node.snapshots.remove_layer(&chain).unwrap();
    }
    // Deleted, or no directory, in a layer between.
    for between in [
        Tar::new().file(".wh.home", b"").end(),
        Tar::new().file("home", b"").end(),
    ] {
        let top = Tar::new().file("home/me/new", b"").end();
        let chain = node.stack(&[below(), between, top]);
        let meta = std::fs::metadata(node.path(&chain).join("home/me")).unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o755, 0));
    }
}

#[test]
fn a_hard_link_to_a_file_below_becomes_a_copy() {
    let node = Node::new();
    let top = Tar::new()
        .hard_link("one", "target")
        .hard_link("d/two", "one")
        .hard_link("three", "/data")
        .hard_link("sym", "link")
        .hard_link("replaced", "data")
        .hard_link("second", "replaced")
        .file("replaced", b"later")
        .hard_link("away/in", "data")
        .file("away", b"no directory any more")
        .hard_link("data", "data")
        .hard_link("dir", "data")
        .dir("dir")
        .end();
    let chain = node.stack(&[below(), top]);
    let root = node.path(&chain);
    let meta = |name: &str| std::fs::symlink_metadata(root.join(name)).unwrap();
    assert_eq!(
        (
            meta("one").mode() & 0o7777,
            meta("one").uid(),
            meta("one").gid()
        ),
        (0o4711, 7, 8)
    );
    assert_eq!(
        xattrs(&root.join("one")),
        [("user.file".to_owned(), b"f".to_vec())]
    );
    assert_eq!(
        meta("one").ino(),
        meta("d/two").ino(),
        "a link to a link is one still"
    );
    assert_eq!(meta("one").mtime(), 1000);
    assert_eq!(std::fs::read(root.join("three")).unwrap(), b"the data");
    assert_eq!(
        std::fs::read_link(root.join("sym")).unwrap().to_str(),
        Some("anywhere")
    );
    assert_eq!(std::fs::read(root.join("replaced")).unwrap(), b"later");
    assert_eq!(std::fs::read(root.join("second")).unwrap(), b"the data");
    assert_eq!(std::fs::read(root.join("data")).unwrap(), b"the data");
    assert!(meta("dir").is_dir());
}

#[test]
fn a_link_to_nothing_below_is_refused() {
    let node = Node::new();
    let bottom = node.layer(&below(), None);
    let cases = [
        Tar::new().hard_link("h", "nowhere").end(),
        Tar::new().hard_link("h", "home").end(),
        Tar::new()
            .file("home/.wh..wh..opq", b"")
            .hard_link("h", "home/me/mine")
            .end(),
        Tar::new()
            .file(".wh.home", b"")
            .hard_link("h", "home/me/mine")
            .end(),
    ];
    for case in cases {
        let unpacked = node.unpack(&case).unwrap();
        let chain = ChainId::new(Some(&bottom), unpacked.diff_id());
        let error = node
            .snapshots
            .commit(unpacked, &chain, Some(&bottom))
            .unwrap_err();
        assert!(matches!(error, CommitError::LinkTarget { .. }), "{error}");
        assert!(!node.snapshots.contains(&chain));
        node.assert_nothing_left();
    }
}

#[test]
fn a_layer_belongs_in_one_place_only() {
    let node = Node::new();
    let bottom = node.layer(&below(), None);
    let top = Tar::new().file("a", b"a").end();
    let diff_id = node.unpack(&top).unwrap().diff_id().clone();
    let wrong = ChainId::new(None, &diff_id);
    let error = node
        .snapshots
        .commit(node.unpack(&top).unwrap(), &wrong, Some(&bottom));
    assert!(matches!(error, Err(CommitError::Chain { .. })));
    let absent = ChainId::from(Digest::sha256(&[9; 32]));
    let chain = ChainId::new(Some(&absent), &diff_id);
    let error = node
        .snapshots
        .commit(node.unpack(&top).unwrap(), &chain, Some(&absent));
    assert!(matches!(error, Err(CommitError::Parent { .. })));
    node.assert_nothing_left();
}

#[test]
fn of_two_commits_of_a_layer_both_succeed_and_one_stays() {
    let node = Node::new();
    let tar = Tar::new().file("a", b"a").end();
    let chain = ChainId::new(None, node.unpack(&tar).unwrap().diff_id());
    let records: Vec<_> = std::thread::scope(|scope| {
        let commit = || {
            let unpacked = node.unpack(&tar).unwrap();
            node.snapshots.commit(unpacked, &chain, None).unwrap()
        };
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(commit)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(records.iter().all(|record| record == &records[0]));
    assert_eq!(node.snapshots.layer_records(), [records[0].clone()]);
    node.snapshots.sweep().unwrap();
    node.assert_nothing_left();
    let left = std::fs::read_dir(node.snapshots.base().join("l"))
        .unwrap()
        .count();
    assert_eq!(left, 2, "the layer, and the empty one that is always there");
}

#[test]
fn an_opaque_root_ends_the_stack() {
    let node = Node::new();
    let opaque = Tar::new()
        .file(".wh..wh..opq", b"")
        .file("only", b"o")
        .end();
    let top = Tar::new()
        .raw(header(EntryType::Regular, "top", 0), b"")
        .end();
    let chain = node.stack(&[below(), opaque, top]);
    assert_eq!(node.snapshots.layers(&chain).unwrap().len(), 2);
    let meta = std::fs::metadata(node.path(&chain)).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o755, 0));
}
