//! Layers made to do harm. Test names carry the row of the list of known attacks they belong to.

use std::path::Path;

use agent_snapshot::{Limits, UnpackError};
use agent_types::{Classify, ErrorKind};
use proptest::prelude::*;
use tar::EntryType;

use crate::build::{Tar, gzip, header};
use crate::node::{Node, chain_of, listing};

/// Unpacks `tar`, which must be refused with a message that contains all of `parts`, leave nothing
/// behind, and not be blamed on this node.
pub(crate) fn refused(tar: &[u8], parts: &[&str]) {
    let node = Node::new();
    let error = node.unpack(tar).unwrap_err();
    let text = chain_of(&error);
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    assert_ne!(error.kind(), ErrorKind::Internal, "{text}");
    node.assert_nothing_left();
}

/// A file outside the snapshots that attacks aim at.
struct Victim {
    _dir: tempfile::TempDir,
    path: std::path::PathBuf,
    before: Vec<String>,
}

impl Victim {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_owned();
        std::fs::write(path.join("secret"), b"untouched").unwrap();
        let before = listing(&path);
        Self {
            _dir: dir,
            path,
            before,
        }
    }

    fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn assert_untouched(&self) {
        assert_eq!(listing(&self.path), self.before);
    }
}

#[test]
fn hostile_13_no_entry_leads_outside() {
    let victim = Victim::new();
    let outside = victim.name();
    let up = format!("{}{outside}", "../".repeat(15));
    let secret = format!("{outside}/secret");
    let attacks = [
        Tar::new()
            .symlink("l", outside)
            .file("l/secret", b"overwritten"),
        Tar::new()
            .symlink("l", &up)
            .file("l/secret", b"overwritten"),
        Tar::new().file(&format!("{up}/secret"), b"overwritten"),
        Tar::new().file(&secret, b"overwritten"),
        Tar::new().symlink("l", &secret).file("l", b"overwritten"),
        Tar::new()
            .symlink("l", &secret)
            .owned(EntryType::Regular, "l", 0o777, 1, 1),
        Tar::new()
            .symlink("l", outside)
            .owned(EntryType::Directory, "l", 0o777, 1, 1),
        Tar::new()
            .symlink("l", outside)
            .owned(EntryType::Directory, "l/", 0o777, 1, 1),
        Tar::new()
            .symlink("l", outside)
            .owned(EntryType::Directory, "l/.", 0o777, 1, 1),
        Tar::new()
            .symlink("l", outside)
            .owned(EntryType::Directory, "l/x/..", 0o777, 1, 1),
        Tar::new().symlink("l", outside).file("l/.wh.secret", b""),
        Tar::new().symlink("l", outside).file("l/.wh..wh..opq", b""),
        Tar::new()
            .symlink("a", outside)
            .symlink("b", "a")
            .dir("b")
            .file("a/secret", b"x"),
        Tar::new()
            .symlink("a", "b")
            .symlink("b", outside)
            .file("a/secret", b"x"),
        Tar::new()
            .dir("d")
            .symlink("d", outside)
            .file("d/secret", b"x"),
        Tar::new().symlink(".", outside).file("secret", b"x"),
    ];
    for attack in attacks {
        let node = Node::new();
        // Whether it is refused or lands inside, the victim does not notice.
        drop(node.unpack(&attack.end()));
        victim.assert_untouched();
        node.assert_nothing_left();
    }
}

#[test]
fn hostile_13_a_hard_link_takes_no_file_of_the_hosts() {
    let victim = Victim::new();
    let secret = format!("{}/secret", victim.name());
    let up = format!("{}{secret}", "../".repeat(15));
    for target in [&secret, &up] {
        let node = Node::new();
        let unpacked = node
            .unpack(&Tar::new().hard_link("h", target).end())
            .unwrap();
        let chain = agent_snapshot::ChainId::new(None, unpacked.diff_id());
        let error = node.snapshots.commit(unpacked, &chain, None).unwrap_err();
        assert!(chain_of(&error).contains("no usable target"), "{error}");
        node.assert_nothing_left();
    }
    let node = Node::new();
    let tar = Tar::new()
        .symlink("l", victim.name())
        .hard_link("h", "l/secret")
        .end();
    let unpacked = node.unpack(&tar).unwrap();
    let chain = agent_snapshot::ChainId::new(None, unpacked.diff_id());
    node.snapshots.commit(unpacked, &chain, None).unwrap_err();
    victim.assert_untouched();
}

#[test]
fn hostile_13_layers_unpacked_side_by_side_cannot_meet() {
    let victim = Victim::new();
    let node = Node::new();
    let attack = |n: usize| {
        let mut tar = Tar::new();
        for i in 0..50 {
            tar = tar.dir("x").file("x/secret", b"in");
            tar = tar
                .symlink("x", victim.name())
                .file("x/secret", &[u8::try_from(n).unwrap(); 9]);
            tar = tar
                .file("x", &[0; 600])
                .symlink("x", "..")
                .file(&format!("x/{i}"), b"");
        }
        tar.end()
    };
    std::thread::scope(|scope| {
        for n in 0..4 {
            let (node, attack) = (&node, &attack);
            scope.spawn(move || drop(node.unpack(&attack(n))));
        }
    });
    victim.assert_untouched();
    node.assert_nothing_left();
}

#[test]
fn names_that_no_file_can_have_are_refused() {
    let long = "n".repeat(256);
    let named = |name: &[u8]| Tar::new().pax(&[("path", name)]).file("x", b"").end();
    refused(&named(long.as_bytes()), &["256 bytes, more than 255"]);
    refused(&named(&b"ab/".repeat(1400)), &["more than 4095"]);
    refused(&named(b"a\0b"), &["\"path\" is malformed"]);
    refused(
        &Tar::new().file("a/.wh...", b"").end(),
        &["whiteout that names no file"],
    );
    refused(
        &Tar::new().file(".wh.", b"").end(),
        &["whiteout that names no file"],
    );
    refused(
        &Tar::new().file(".wh.a/b", b"").end(),
        &["below the name of a whiteout"],
    );
    refused(&Tar::new().symlink("s", "").end(), &["without a target"]);
    refused(
        &Tar::new().symlink("./", "x").end(),
        &["root can only be a directory"],
    );
    refused(
        &Tar::new().file("f", b"").file("f/x", b"").end(),
        &["\"f/x\"", "\"f\", on the way to it, is not a directory"],
    );
    refused(
        &Tar::new()
            .symlink("a", "b")
            .symlink("b", "a")
            .file("a/x", b"")
            .end(),
        &["too many symbolic links"],
    );
    refused(
        &Tar::new().dir("d").hard_link("h", "d").end(),
        &["which is a directory"],
    );
    refused(
        &Tar::new().file(".wh.f", b"").hard_link("h", "f").end(),
        &["deleted in the same layer"],
    );
    // What a terminal would obey is shown, not sent.
    refused(
        &Tar::new().file("a\x1b[2J\n/.wh.", b"").end(),
        &["\\u{1b}[2J\\n"],
    );
}

#[test]
fn attributes_that_steer_the_overlay_are_refused() {
    for name in [
        "trusted.overlay.opaque",
        "trusted.overlay.redirect",
        "trusted.overlay.metacopy",
        "trusted.overlay.overlay.opaque",
        "user.overlay.whiteout",
    ] {
        let key = format!("SCHILY.xattr.{name}");
        for entry in [Tar::file as fn(Tar, &str, &[u8]) -> Tar, |tar, name, _| {
            tar.dir(name)
        }] {
            let tar = Tar::new().pax(&[(&*key, b"y")]);
            refused(&entry(tar, "e", b"").end(), &[name, "overlay"]);
        }
    }
}

/// Every cut of an archive is noticed, by the archive itself or, between two entries, by the
/// digest; every cut of a compressed one by the decoder.
#[test]
fn hostile_14_a_layer_cut_anywhere_is_noticed() {
    let node = Node::new();
    let whole = Tar::new()
        .pax(&[("path", b"long"), ("SCHILY.xattr.user.a", b"v")])
        .file("short", &[7; 700])
        .dir("d")
        .symlink("d/l", "t")
        .file(".wh.gone", b"")
        .end();
    let diff_id = node.unpack(&whole).unwrap().diff_id().clone();
    for cut in 0..whole.len() {
        match node.unpack(&whole[..cut]) {
            Ok(unpacked) => {
                assert!(cut % 512 == 0 || cut > whole.len() - 1024, "{cut}");
                assert_ne!(unpacked.diff_id(), &diff_id);
            }
            Err(error) => assert!(
                matches!(error, UnpackError::Archive { .. }),
                "{cut}: {error}"
            ),
        }
    }
    node.assert_nothing_left();
    let zipped = gzip(&whole);
    for cut in 4..zipped.len() {
        let error = node.unpack(&zipped[..cut]).unwrap_err();
        assert!(
            matches!(error, UnpackError::Damaged { .. }),
            "{cut}: {error}"
        );
    }
    let last = zipped.len() - 1;
    for flipped in [10, 20, last - 6, last] {
        let mut damaged = zipped.clone();
        damaged[flipped] ^= 0x40;
        node.unpack(&damaged).unwrap_err();
    }
    node.assert_nothing_left();
}

#[test]
fn hostile_16_caps_hold() {
    let limits = |edit: fn(&mut Limits)| {
        let mut limits = Limits::default();
        edit(&mut limits);
        limits
    };
    let node = Node::new();
    let check = |tar: &[u8], limits: &Limits, part: &str| {
        let error = node.snapshots.unpack(tar, None, limits).unwrap_err();
        let text = chain_of(&error);
        assert!(text.contains(part), "{part:?} is not in {text:?}");
        assert!(
            matches!(
                error.kind(),
                ErrorKind::ResourceExhausted | ErrorKind::InvalidArgument
            ),
            "{text}"
        );
        node.assert_nothing_left();
    };
    let files = (0..20)
        .fold(Tar::new(), |tar, n| tar.file(&format!("f{n}"), &[0; 2000]))
        .end();
    check(
        &files,
        &limits(|l| l.bytes = 20_000),
        "more than 20000 bytes",
    );
    check(&files, &limits(|l| l.entries = 19), "more than 19 entries");
    let zeros = gzip(&Tar::new().file("z", &vec![0; 4 << 20]).end());
    let few = limits(|l| (l.ratio, l.ratio_from) = (100, 1 << 20));
    check(&zeros, &few, "becomes more than 100");
    let dirs = (0..200)
        .fold(Tar::new(), |tar, n| tar.dir(&format!("d{n}")))
        .end();
    check(
        &dirs,
        &limits(|l| l.directories = 10_000),
        "need more than 10000 bytes",
    );
    let value = vec![b'v'; 2 << 20];
    let large = Tar::new().pax(&[("comment", &value)]).file("f", b"").end();
    check(&large, &Limits::default(), "more than 1048576");
    let mut sparse = header(EntryType::GNUSparse, "hole", 0);
    sparse.as_gnu_mut().unwrap().set_real_size(1 << 40);
    check(
        &Tar::new().raw(sparse, b"").end(),
        &Limits::default(),
        "bytes unpacked",
    );
    let mut windowed = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    windowed.window_log(27).unwrap();
    std::io::Write::write_all(&mut windowed, &files).unwrap();
    check(
        &windowed.finish().unwrap(),
        &Limits::default(),
        "zstd layer is damaged",
    );
}

/// An archive with one of everything.
fn varied() -> Vec<u8> {
    let mut sparse = header(EntryType::GNUSparse, "sparse", 512);
    let gnu = sparse.as_gnu_mut().unwrap();
    gnu.set_real_size(4096);
    gnu.sparse[0].set_offset(1024);
    gnu.sparse[0].set_length(512);
    Tar::new()
        .dir("./")
        .pax(&[
            ("path", b"a/long"),
            ("size", b"700"),
            ("SCHILY.xattr.user.a", b"v"),
        ])
        .file("short", &[7; 700])
        .symlink("l", "a")
        .hard_link("l/h", "a/long")
        .raw(sparse, &[1; 512])
        .raw(header(EntryType::GNULongName, "x", 5), b"deep\0")
        .owned(EntryType::Fifo, "fifo", 0o600, 1, 1)
        .device(EntryType::Char, "l/null", 1, 3)
        .file("a/.wh.gone", b"")
        .file("l/.wh..wh..opq", b"")
        .hard_link("below", "not/here")
        .file("a", b"replaces a tree")
        .end()
}

/// Sets the sums of all blocks that still look like headers, so that the damage is believed.
fn believe(archive: &mut [u8]) {
    for block in archive.chunks_exact_mut(512) {
        if block[257..262] == *b"ustar" {
            let mut header = tar::Header::new_old();
            header.as_mut_bytes().copy_from_slice(block);
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Whatever is changed in an archive, it is taken or refused, and the rest of the machine does
    /// not notice.
    #[test]
    fn hostile_14_damaged_headers_do_no_harm(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        swap in proptest::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>())),
    ) {
        let node = Node::new();
        let mut archive = varied();
        if let Some((from, to)) = swap {
            let blocks = archive.len() / 512;
            let (from, to) = (from.index(blocks) * 512, to.index(blocks) * 512);
            archive.copy_within(from..from + 512, to);
        }
        for (at, value) in changes {
            let at = at.index(archive.len());
            archive[at] = value;
        }
        believe(&mut archive);
        let limits = Limits { bytes: 1 << 30, ..Limits::default() };
        match node.snapshots.unpack(&archive[..], None, &limits) {
            Ok(unpacked) => prop_assert_eq!(unpacked.size(), archive.len() as u64),
            Err(error) => prop_assert_ne!(error.kind(), ErrorKind::Internal, "{}", chain_of(&error)),
        }
        node.assert_nothing_left();
    }
}

/// Trees deeper than a path may be long, as a build can make them step by step.
#[test]
fn what_is_deep_is_counted_and_deleted_with_few_descriptors() {
    let node = Node::new();
    let key = "deep".parse().unwrap();
    let writable = node.snapshots.prepare(&key, None).unwrap();
    let upper = node.snapshots.base().join(&writable.upper);
    let mut dir = std::fs::File::open(upper).unwrap();
    for _ in 0..3000 {
        rustix::fs::mkdirat(&dir, "d", rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY;
        dir = rustix::fs::openat(&dir, "d", flags, rustix::fs::Mode::empty())
            .unwrap()
            .into();
    }
    drop(dir);
    let usage = node.snapshots.usage(&key).unwrap();
    assert!(!usage.complete && usage.inodes > 200);
    node.snapshots.remove(&key).unwrap();
    assert!(node.snapshots.sweep().unwrap() >= 3000);
    node.assert_nothing_left();
}

#[test]
fn hostile_28_only_root_reaches_a_layer() {
    use std::os::unix::fs::MetadataExt;
    let node = Node::new();
    let tar = Tar::new()
        .owned(EntryType::Regular, "suid", 0o4755, 0, 0)
        .end();
    node.layer(&tar, None);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().mode() & 0o7777;
    let base = node.snapshots.base();
    assert_eq!(mode(base), 0o700);
    for child in ["l", "i", "c", "staging", "trash"] {
        assert_eq!(mode(&base.join(child)), 0o700, "{child}");
    }
}
