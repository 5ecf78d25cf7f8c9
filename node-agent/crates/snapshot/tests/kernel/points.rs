//! Mount points that an image lacks, and the containers that find them.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use agent_snapshot::{ChainId, Recovery, Snapshots, WritableLayer};
use tar::EntryType;

use crate::build::Tar;
use crate::node::{Node, listing, xattrs};
use crate::overlay::{mount, open};

const ALL: [&str; 7] = [
    "dev",
    "etc",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
    "proc",
    "sys",
];

fn prepare(snapshots: &Snapshots, key: &str, top: &ChainId) -> WritableLayer {
    snapshots.prepare(&key.parse().unwrap(), Some(top)).unwrap()
}

/// The paths below the directory of mount points of a prepared container, sorted.
fn points(writable: &WritableLayer) -> Vec<String> {
    let Some(own) = writable.lower.first().filter(|name| name.starts_with("m/")) else {
        return Vec::new();
    };
    paths(&writable.base.join(own))
}

fn paths(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![PathBuf::new()];
    while let Some(path) = left.pop() {
        for entry in std::fs::read_dir(dir.join(&path)).unwrap() {
            let entry = entry.unwrap();
            let path = path.join(entry.file_name());
            found.push(path.display().to_string());
            if entry.file_type().unwrap().is_dir() {
                left.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What stands below `m` for some image.
fn made(node: &Node) -> Vec<String> {
    let entries = std::fs::read_dir(node.snapshots.base().join("m")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| !name.starts_with("boot-")).collect()
}

#[test]
fn an_image_of_nothing_gets_all_of_them() {
    let node = Node::new();
    let top = node.layer(&Tar::new().file("a", b"a").end(), None);
    let writable = prepare(&node.snapshots, "c1", &top);
    assert_eq!(points(&writable), ALL);
    assert_eq!(writable.lower[1..], node.snapshots.layers(&top).unwrap());
    assert_eq!(prepare(&node.snapshots, "c2", &top).lower, writable.lower);
    let key = "c1".parse().unwrap();
    assert_eq!(node.snapshots.get(&key).unwrap(), writable);
    let dir = writable.base.join(&writable.lower[0]);
    for path in ALL {
        let meta = std::fs::metadata(dir.join(path)).unwrap();
        let mode = if meta.is_dir() { 0o755 } else { 0o644 };
        assert_eq!(
            (meta.mode() & 0o7777, meta.uid(), meta.gid()),
            (mode, 0, 0),
            "{path}"
        );
        assert!(meta.is_dir() || meta.len() == 0, "{path}");
    }
    node.assert_nothing_left();
}

#[test]
fn etc_stays_the_images() {
    let node = Node::new();
    let tar = Tar::new()
        .pax(&[("SCHILY.xattr.user.root", b"r")])
        .owned(EntryType::Directory, "./", 0o1771, 11, 12)
        .pax(&[("SCHILY.xattr.user.etc", b"e")])
        .owned(EntryType::Directory, "etc", 0o2751, 21, 22)
        .file("etc/passwd", b"p")
        .end();
    let top = node.layer(&tar, None);
    let writable = prepare(&node.snapshots, "c1", &top);
    let (layer, dir) = (node.path(&top), writable.base.join(&writable.lower[0]));
    for path in ["", "etc"] {
        let [image, point] = [&layer, &dir].map(|dir| {
            let meta = std::fs::metadata(dir.join(path)).unwrap();
            let times = (meta.mtime(), meta.mtime_nsec());
            (
                meta.mode(),
                meta.uid(),
                meta.gid(),
                times,
                xattrs(&dir.join(path)),
            )
        });
        assert_eq!(image, point, "{path:?}");
    }
    let root = mount(&writable);
    let etc = rustix::fs::fstat(open(&root, "etc").unwrap()).unwrap();
    assert_eq!(
        (etc.st_mode & 0o7777, etc.st_uid, etc.st_mtime),
        (0o2751, 21, 1000)
    );
    for path in ALL.into_iter().chain(["etc/passwd"]) {
        open(&root, path).unwrap();
    }
    drop(root);
    let upper = writable.base.join(&writable.upper);
    assert_eq!(
        paths(&upper),
        Vec::<String>::new(),
        "looking copies nothing"
    );
}

#[test]
fn what_the_image_has_is_not_made() {
    let node = Node::new();
    let whole = Tar::new()
        .dir("proc")
        .symlink("sys", "elsewhere")
        .file("dev", b"")
        .file("etc/hosts", b"")
        .symlink("etc/resolv.conf", "../run/resolv.conf")
        .dir("etc/hostname")
        .end();
    let bottom = node.layer(&whole, None);
    let top = node.layer(&Tar::new().file("b", b"").end(), Some(&bottom));
    let writable = prepare(&node.snapshots, "c1", &top);
    assert_eq!(writable.lower, node.snapshots.layers(&top).unwrap());
    assert_eq!(made(&node), Vec::<String>::new());
}

#[test]
fn an_etc_that_is_no_directory_is_left_alone() {
    for linked in [true, false] {
        let node = Node::new();
        let tar = Tar::new().dir("usr/etc");
        let tar = if linked {
            tar.symlink("etc", "usr/etc")
        } else {
            tar.file("etc", b"")
        };
        let hidden = node.layer(&Tar::new().dir("etc").end(), None);
        let top = node.layer(&tar.end(), Some(&hidden));
        let writable = prepare(&node.snapshots, "c1", &top);
        assert_eq!(points(&writable), ["dev", "proc", "sys"]);
        let etc = node.path(&top).join("etc");
        assert_eq!(std::fs::symlink_metadata(etc).unwrap().is_symlink(), linked);
    }
}

#[test]
fn what_a_layer_takes_away_is_made() {
    let below = Tar::new()
        .dir("proc")
        .file("etc/hosts", b"below")
        .file("etc/hostname", b"")
        .end();
    let cases = [
        (
            Tar::new().file(".wh.proc", b"").file("etc/.wh.hosts", b""),
            None,
        ),
        (Tar::new().file(".wh.etc", b""), Some("etc/hostname")),
        (
            Tar::new()
                .file("etc/new", b"")
                .file("etc/.wh..wh..opq", b""),
            Some("etc/hostname"),
        ),
        (Tar::new().file(".wh..wh..opq", b""), Some("etc/hostname")),
    ];
    for (above, hostname) in cases {
        let node = Node::new();
        let top = node.stack(&[below.clone(), above.end()]);
        let writable = prepare(&node.snapshots, "c1", &top);
        let made = points(&writable);
        assert!(made.contains(&"etc/hosts".to_owned()), "{made:?}");
        assert_eq!(
            made.iter()
                .find(|path| *path == "etc/hostname")
                .map(String::as_str),
            hostname
        );
        let root = mount(&writable);
        for path in ALL {
            open(&root, path).unwrap();
        }
        let hosts = rustix::fs::fstat(open(&root, "etc/hosts").unwrap()).unwrap();
        assert_eq!(hosts.st_size, 0, "what was taken away does not come back");
    }
}

#[test]
fn a_change_of_the_container_stays_its_own() {
    let node = Node::new();
    let top = node.layer(&Tar::new().file("a", b"a").end(), None);
    let writable = prepare(&node.snapshots, "c1", &top);
    let dir = writable.base.join(&writable.lower[0]);
    let before = listing(&dir);
    let root = mount(&writable);
    rustix::fs::unlinkat(&root, "etc/hosts", rustix::fs::AtFlags::empty()).unwrap();
    open(&root, "etc/hosts").unwrap_err();
    assert_eq!(listing(&dir), before);
}

#[test]
fn they_go_with_their_image() {
    let node = Node::new();
    let bottom = node.layer(&Tar::new().file("a", b"a").end(), None);
    let top = node.layer(&Tar::new().file("b", b"b").end(), Some(&bottom));
    let size = node.snapshots.layer_usage(&bottom).unwrap();
    for (key, top) in [("c1", &bottom), ("c2", &top)] {
        prepare(&node.snapshots, key, top);
        node.snapshots.remove(&key.parse().unwrap()).unwrap();
    }
    assert_eq!(made(&node).len(), 2);
    let now = node.snapshots.layer_usage(&bottom).unwrap();
    assert_eq!(now, size, "no part of the image");
    node.snapshots.remove_layer(&top).unwrap();
    assert_eq!(made(&node), ["1"]);
    node.snapshots.remove_layer(&bottom).unwrap();
    assert_eq!(made(&node), Vec::<String>::new());
    node.snapshots.sweep().unwrap();
    node.assert_nothing_left();
}

fn reopen(node: &Node, boot_id: &str) -> (Snapshots, Recovery) {
    Snapshots::open(node.dir.path(), boot_id).unwrap()
}

#[test]
fn a_restart_keeps_them_and_another_boot_makes_them_again() {
    let node = Node::new();
    let top = node.layer(&Tar::new().file("a", b"a").end(), None);
    node.snapshots.sync().unwrap();
    let first = prepare(&node.snapshots, "c1", &top);
    let dir = first.base.join(&first.lower[0]);
    let number = std::fs::metadata(&dir).unwrap().ino();

    let (again, recovery) = reopen(&node, "boot-1");
    assert_eq!(recovery.ownerless, Vec::<String>::new());
    assert_eq!(again.get(&"c1".parse().unwrap()).unwrap(), first);
    assert_eq!(std::fs::metadata(&dir).unwrap().ino(), number);

    // As a power cut may leave them.
    std::fs::remove_file(dir.join("etc/hosts")).unwrap();
    let (again, recovery) = reopen(&node, "boot-2");
    assert_eq!(recovery.ownerless, Vec::<String>::new());
    assert!(!dir.exists());
    assert_eq!(again.get(&"c1".parse().unwrap()).unwrap().lower.len(), 1);
    assert_eq!(points(&prepare(&again, "c1", &top)), ALL);
    let (again, _) = reopen(&node, "boot-2");
    assert_eq!(points(&again.get(&"c1".parse().unwrap()).unwrap()), ALL);
    again.sweep().unwrap();
    node.assert_nothing_left();
}

#[test]
fn those_of_a_layer_that_is_gone_are_swept() {
    let node = Node::new();
    let top = node.layer(&Tar::new().file("a", b"a").end(), None);
    prepare(&node.snapshots, "c1", &top);
    std::fs::create_dir(node.snapshots.base().join("m/77")).unwrap();
    std::fs::remove_dir_all(node.path(&top)).unwrap();
    let (_, mut recovery) = reopen(&node, "boot-1");
    recovery.ownerless.sort();
    assert_eq!(recovery.ownerless, ["m/1", "m/77"]);
    assert_eq!(made(&node), Vec::<String>::new());
}

#[test]
fn many_at_once_make_them_once() {
    let node = Node::new();
    let top = node.layer(&Tar::new().file("a", b"a").end(), None);
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (snapshots, top) = (&node.snapshots, &top);
            scope.spawn(move || {
                assert_eq!(points(&prepare(snapshots, &format!("c{n}"), top)), ALL);
            });
        }
    });
    assert_eq!(made(&node), ["1"]);
    node.snapshots.sweep().unwrap();
    node.assert_nothing_left();
}
