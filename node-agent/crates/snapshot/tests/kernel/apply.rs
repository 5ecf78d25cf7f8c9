//! What each kind of entry becomes.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use agent_snapshot::{ChainId, Compression};
use tar::EntryType;

use crate::build::{Tar, gzip, header};
use crate::node::{Node, xattrs};

/// Two zero blocks, gzipped as the specification's well-known empty layer is.
#[test]
fn an_empty_layer_is_a_layer() {
    let node = Node::new();
    for tar in [vec![0; 1024], gzip(&[0; 1024]), Vec::new()] {
        let unpacked = node.unpack(&tar).unwrap();
        assert_eq!(unpacked.inodes(), 1);
    }
    let unpacked = node.unpack(&gzip(&[0; 1024])).unwrap();
    assert_eq!(
        unpacked.diff_id().to_string(),
        "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
    );
    assert_eq!(unpacked.compression(), Compression::Gzip);
}

#[test]
fn the_diff_id_covers_what_follows_the_archive() {
    let node = Node::new();
    let plain = Tar::new().file("a", b"x").end();
    let trailing = [&plain[..], &[7; 3000]].concat();
    let (one, two) = (
        node.unpack(&plain).unwrap(),
        node.unpack(&trailing).unwrap(),
    );
    assert_ne!(one.diff_id(), two.diff_id());
    assert_eq!(two.size(), trailing.len() as u64);
}

#[test]
fn every_kind_keeps_its_attributes() {
    let node = Node::new();
    let tar = Tar::new()
        .owned(EntryType::Directory, "./", 0o711, 3, 4)
        .owned(EntryType::Directory, "d", 0o2750, 10, 20)
        .file("d/f", b"data")
        .owned(EntryType::Regular, "set", 0o6755, 1000, 3_000_000_000)
        .owned(EntryType::Regular, "wide", 0o777, 0, 0)
        .owned(EntryType::Regular, "none", 0, 0, 0)
        .symlink("l", "/../nowhere at all")
        .hard_link("h", "d/f")
        .device(EntryType::Char, "null", 1, 3)
        .device(EntryType::Block, "disk", 259, 1_000_000)
        .owned(EntryType::Fifo, "fifo", 0o622, 5, 6)
        .end();
    let root = node.path(&node.layer(&tar, None));
    let meta = |name: &str| std::fs::symlink_metadata(root.join(name)).unwrap();
    let owner = |name: &str| {
        (
            meta(name).mode() & 0o7777,
            meta(name).uid(),
            meta(name).gid(),
        )
    };
    assert_eq!(owner(""), (0o711, 3, 4));
    assert_eq!(owner("d"), (0o2750, 10, 20));
    assert_eq!(
        owner("d/f"),
        (0o644, 0, 0),
        "the group of a set-gid directory is not inherited"
    );
    assert_eq!(owner("set"), (0o6755, 1000, 3_000_000_000));
    assert_eq!(owner("wide"), (0o777, 0, 0));
    assert_eq!(owner("none"), (0, 0, 0));
    assert_eq!(
        std::fs::read_link(root.join("l")).unwrap().to_str(),
        Some("/../nowhere at all")
    );
    assert_eq!(meta("h").ino(), meta("d/f").ino());
    assert!(meta("null").file_type().is_char_device());
    assert_eq!(meta("null").rdev(), rustix::fs::makedev(1, 3));
    assert!(meta("disk").file_type().is_block_device());
    assert_eq!(meta("disk").rdev(), rustix::fs::makedev(259, 1_000_000));
    assert!(meta("fifo").file_type().is_fifo());
    assert_eq!(owner("fifo"), (0o622, 5, 6));
    for name in ["", "d", "d/f", "set", "l", "null", "fifo"] {
        assert_eq!(meta(name).mtime(), 1000, "{name:?}");
    }
}

#[test]
fn pax_records_count_before_the_header() {
    let node = Node::new();
    let long = format!("{}/{}", "p".repeat(200), "q".repeat(255));
    let target = "t".repeat(300);
    let tar = Tar::new()
        .pax(&[
            ("path", long.as_bytes()),
            ("mtime", b"12.000000345"),
            ("uid", b"4000000000"),
        ])
        .file("short", b"x")
        .pax(&[("linkpath", target.as_bytes()), ("mtime", b"-1.5")])
        .symlink("l", "short")
        .end();
    let root = node.path(&node.layer(&tar, None));
    let meta = std::fs::symlink_metadata(root.join(&long)).unwrap();
    assert_eq!(
        (meta.mtime(), meta.mtime_nsec(), meta.uid()),
        (12, 345, 4_000_000_000)
    );
    assert_eq!(
        std::fs::read_link(root.join("l")).unwrap().to_str(),
        Some(&*target)
    );
    let meta = std::fs::symlink_metadata(root.join("l")).unwrap();
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (-2, 500_000_000));
}

#[test]
fn gnu_long_names_are_joined_on() {
    let node = Node::new();
    let long = format!("{}/{}", "p".repeat(200), "q".repeat(200));
    let data = format!("{long}\0");
    let tar = Tar::new()
        .raw(
            header(EntryType::GNULongName, "././@LongLink", data.len() as u64),
            data.as_bytes(),
        )
        .file("short", b"x")
        .raw(
            header(EntryType::GNULongLink, "././@LongLink", data.len() as u64),
            data.as_bytes(),
        )
        .hard_link("h", "short")
        .end();
    let root = node.path(&node.layer(&tar, None));
    assert_eq!(std::fs::read(root.join(long)).unwrap(), b"x");
    assert_eq!(std::fs::read(root.join("h")).unwrap(), b"x");
}

/// `cap_net_raw+ep`, with a byte that is a newline, which has cut such records in half elsewhere.
const CAPABILITY: [u8; 20] = [
    1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

#[test]
fn file_capabilities_survive_the_change_of_owner() {
    let node = Node::new();
    let mut newline = CAPABILITY;
    newline[5] = b'\n';
    let tar = Tar::new()
        .pax(&[("SCHILY.xattr.security.capability", &CAPABILITY)])
        .owned(EntryType::Regular, "ping", 0o755, 12, 13)
        .pax(&[
            ("SCHILY.xattr.security.capability", &newline),
            ("SCHILY.xattr.user.note", b"a\nb\0c=d"),
            (
                "SCHILY.xattr.security.selinux",
                b"system_u:object_r:etc_t:s0\0",
            ),
        ])
        .owned(EntryType::Regular, "other", 0o4755, 12, 13)
        .end();
    let root = node.path(&node.layer(&tar, None));
    let capability = |value: &[u8]| ("security.capability".to_owned(), value.to_vec());
    assert_eq!(xattrs(&root.join("ping")), [capability(&CAPABILITY)]);
    let note = ("user.note".to_owned(), b"a\nb\0c=d".to_vec());
    assert_eq!(xattrs(&root.join("other")), [capability(&newline), note]);
    let mode = std::fs::metadata(root.join("other")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o4755, "neither is lost to the other");
}

#[test]
fn a_later_entry_replaces_an_earlier_one_of_any_kind() {
    let node = Node::new();
    let tar = Tar::new()
        .dir("a")
        .dir("a/b")
        .file("a/b/c", b"gone")
        .file("a", b"file")
        .file("f", b"file")
        .dir("f")
        .file("f/x", b"x")
        .symlink("s", "f")
        .dir("s")
        .file("s/y", b"y")
        .file("n", b"one")
        .file("n", b"two")
        .file("kept", b"k")
        .hard_link("kept", "kept")
        .hard_link("n2", "n")
        .symlink("n2", "elsewhere")
        .end();
    let unpacked = node.unpack(&tar).unwrap();
    let inodes = unpacked.inodes();
    let chain = ChainId::new(None, unpacked.diff_id());
    node.snapshots.commit(unpacked, &chain, None).unwrap();
    let root = node.path(&chain);
    assert_eq!(std::fs::read(root.join("a")).unwrap(), b"file");
    assert_eq!(std::fs::read(root.join("f/x")).unwrap(), b"x");
    assert!(
        !root.join("f/y").exists(),
        "the symlink was replaced, not followed"
    );
    assert_eq!(std::fs::read(root.join("s/y")).unwrap(), b"y");
    assert_eq!(std::fs::read(root.join("n")).unwrap(), b"two");
    assert_eq!(std::fs::read(root.join("kept")).unwrap(), b"k");
    assert_eq!(
        std::fs::read_link(root.join("n2")).unwrap().to_str(),
        Some("elsewhere")
    );
    assert_eq!(inodes, 9, "root a f f/x s s/y n kept n2");
}

#[test]
fn parents_that_are_symlinks_lead_where_they_would_in_the_container() {
    let node = Node::new();
    let tar = Tar::new()
        .dir("usr")
        .symlink("bin", "usr/bin")
        .file("bin/sh", b"implied through a dangling link")
        .symlink("usr/abs", "/srv")
        .file("usr/abs/x", b"absolute")
        .symlink("usr/up", "../../../../opt")
        .file("usr/up/y", b"above the root is the root")
        .dir("real")
        .file("real/../z", b"dots")
        .hard_link("h", "bin/sh")
        .end();
    let root = node.path(&node.layer(&tar, None));
    assert!(root.join("usr/bin/sh").exists());
    assert!(
        std::fs::symlink_metadata(root.join("bin"))
            .unwrap()
            .is_symlink()
    );
    for path in ["srv/x", "opt/y", "z", "h"] {
        assert!(root.join(path).exists(), "{path}");
    }
}

#[test]
fn whiteouts_take_the_overlays_form() {
    let node = Node::new();
    let tar = Tar::new()
        .file("a/.wh.gone", b"")
        .file("b/.wh..wh..opq", b"")
        .file(".wh.dir", b"")
        .file("dir/new", b"n")
        .file("kept", b"k")
        .file(".wh.kept", b"")
        .dir("kept-dir")
        .file(".wh.kept-dir", b"data of a whiteout is nothing")
        .file(".wh..wh.aufs", b"")
        .dir(".wh..wh.plnk")
        .file(".wh..wh.plnk/123.456", b"")
        .end();
    let root = node.path(&node.layer(&tar, None));
    let gone = std::fs::symlink_metadata(root.join("a/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let opaque = [("trusted.overlay.opaque".to_owned(), b"y".to_vec())];
    assert_eq!(xattrs(&root.join("b")), opaque);
    assert_eq!(
        xattrs(&root.join("dir")),
        opaque,
        "deleted below, made anew here"
    );
    assert_eq!(xattrs(&root.join("kept-dir")), opaque);
    assert_eq!(std::fs::read(root.join("kept")).unwrap(), b"k");
    let names: Vec<_> = std::fs::read_dir(&root)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names.len(), 5, "{names:?}");
}

#[test]
fn sparse_files_of_all_kinds_have_their_holes() {
    let node = Node::new();
    let size: u64 = 10_000_000;
    let head = [b'h'; 512];
    let tail = [b't'; 100];
    let data = [&head[..], &tail].concat();
    let map = [0, 512, size - 100, 100];
    let mut old = header(EntryType::GNUSparse, "old", 612);
    let gnu = old.as_gnu_mut().unwrap();
    gnu.set_real_size(size);
    gnu.sparse[0].set_offset(map[0]);
    gnu.sparse[0].set_length(map[1]);
    gnu.sparse[1].set_offset(map[2]);
    gnu.sparse[1].set_length(map[3]);
    let mut front = format!("2\n{}\n{}\n{}\n{}\n", map[0], map[1], map[2], map[3]).into_bytes();
    front.resize(512, 0);
    let (size_text, list) = (size.to_string(), format!("0,512,{},100", size - 100));
    let tar = Tar::new()
        .raw(old, &data)
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"pax1"),
            ("GNU.sparse.realsize", size_text.as_bytes()),
        ])
        .file("GNUSparseFile.0/pax1", &[&front[..], &data].concat())
        .pax(&[
            ("GNU.sparse.size", size_text.as_bytes()),
            ("GNU.sparse.numblocks", b"2"),
            ("GNU.sparse.name", b"pax01"),
            ("GNU.sparse.map", list.as_bytes()),
        ])
        .file("GNUSparseFile.0/pax01", &data)
        .file("after", b"a")
        .end();
    let root = node.path(&node.layer(&tar, None));
    let mut expected = vec![0; usize::try_from(size).unwrap()];
    expected[..512].copy_from_slice(&head);
    let end = expected.len() - 100;
    expected[end..].copy_from_slice(&tail);
    for name in ["old", "pax1", "pax01"] {
        assert!(
            std::fs::read(root.join(name)).unwrap() == expected,
            "{name}"
        );
        let blocks = std::fs::metadata(root.join(name)).unwrap().blocks();
        assert!(blocks < 100, "{name} has {blocks} blocks");
    }
    assert!(root.join("after").exists());
}

#[test]
fn layers_unpack_side_by_side() {
    let node = Node::new();
    let tars: Vec<Vec<u8>> = (0..8)
        .map(|n| {
            let file = |tar: Tar, i: usize| tar.file(&format!("d{i}/f{n}"), &vec![n; 5000 * i]);
            gzip(&(0..40).fold(Tar::new(), file).end())
        })
        .collect();
    let unpacked: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = tars
            .iter()
            .map(|tar| scope.spawn(|| node.unpack(tar).unwrap()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let mut parent = None;
    for unpacked in unpacked {
        let chain = ChainId::new(parent.as_ref(), unpacked.diff_id());
        node.snapshots
            .commit(unpacked, &chain, parent.as_ref())
            .unwrap();
        parent = Some(chain);
    }
    let layers = node.snapshots.layers(&parent.unwrap()).unwrap();
    assert_eq!(layers.len(), 8);
    for (name, n) in layers.iter().zip((0..8).rev()) {
        let file = node.snapshots.base().join(name).join(format!("d39/f{n}"));
        assert_eq!(std::fs::metadata(file).unwrap().len(), 5000 * 39);
    }
    node.assert_nothing_left();
}
