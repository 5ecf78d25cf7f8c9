//! Random trees, packed by GNU tar in each of its formats and by our own hand, and unpacked by GNU
//! tar and by us: both must end with the same tree.

use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use agent_snapshot::ChainId;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps};

use crate::node::{Node, listing};

/// One thing in a random tree; numbers are taken modulo what there is to choose from.
#[derive(Debug, Clone)]
enum Thing {
    Dir,
    File(Vec<u8>),
    Sparse(u32),
    Symlink(String),
    HardLink(usize),
    Fifo,
    Device(u32),
}

#[derive(Debug, Clone)]
struct TreeNode {
    parent: usize,
    name: String,
    thing: Thing,
    mode: u32,
    uid: u32,
    gid: u32,
    seconds: i64,
    nanos: i64,
    xattr: Option<Vec<u8>>,
}

fn thing() -> impl Strategy<Value = Thing> {
    prop_oneof![
        4 => Just(Thing::Dir),
        4 => proptest::collection::vec(any::<u8>(), 0..2000).prop_map(Thing::File),
        1 => (1_u32..200).prop_map(Thing::Sparse),
        2 => "[a-z./]{1,120}".prop_map(Thing::Symlink),
        2 => any::<usize>().prop_map(Thing::HardLink),
        1 => Just(Thing::Fifo),
        1 => (0_u32..5).prop_map(Thing::Device),
    ]
}

fn node() -> impl Strategy<Value = TreeNode> {
    let owner = || prop_oneof![Just(0_u32), 0_u32..70_000, Just(4_000_000_000)];
    let name = prop_oneof![4 => "[a-zA-Zäß .\\\\*-]{1,12}", 1 => "[a-z]{90,200}"];
    let xattr = proptest::option::weighted(0.2, proptest::collection::vec(any::<u8>(), 0..40));
    let time = (0_i64..4_000_000_000, 0_i64..1_000_000_000);
    (
        any::<usize>(),
        name,
        thing(),
        0_u32..0o10000,
        owner(),
        owner(),
        time,
        xattr,
    )
        .prop_map(
            |(parent, name, thing, mode, uid, gid, (seconds, nanos), xattr)| TreeNode {
                parent,
                name,
                thing,
                mode,
                uid,
                gid,
                seconds,
                nanos,
                xattr,
            },
        )
}

/// Makes the tree; returns the paths of everything in it.
fn make(root: &Path, nodes: &[TreeNode]) {
    let (mut dirs, mut files) = (vec![root.to_owned()], Vec::<PathBuf>::new());
    let mut made = Vec::new();
    for node in nodes {
        let path = dirs[node.parent % dirs.len()].join(&node.name);
        if matches!(&*node.name, "." | "..") || fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        match &node.thing {
            Thing::Dir => {
                fs::create_dir(&path).unwrap();
                dirs.push(path.clone());
            }
            Thing::File(data) => {
                fs::write(&path, data).unwrap();
                files.push(path.clone());
            }
            Thing::Sparse(blocks) => sparse(&path, *blocks),
            Thing::Symlink(target) => symlink(target, &path).unwrap(),
            Thing::HardLink(n) if !files.is_empty() => {
                fs::hard_link(&files[n % files.len()], &path).unwrap();
                continue;
            }
            Thing::HardLink(_) => continue,
            Thing::Fifo => special(&path, FileType::Fifo, 0),
            Thing::Device(minor) => {
                special(
                    &path,
                    FileType::CharacterDevice,
                    rustix::fs::makedev(1, minor + 1),
                );
            }
        }
        made.push((path, node));
    }
    for (path, node) in made.into_iter().rev() {
        dress(&path, node);
    }
}

fn sparse(path: &Path, blocks: u32) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::create(path).unwrap();
    for block in 0..blocks {
        if block % 3 != 1 {
            file.write_all_at(&[7; 4096], u64::from(block) * 65_536)
                .unwrap();
        }
    }
    file.set_len(u64::from(blocks) * 65_536).unwrap();
}

fn special(path: &Path, kind: FileType, device: u64) {
    rustix::fs::mknodat(CWD, path, kind, Mode::RUSR, device).unwrap();
}

fn dress(path: &Path, node: &TreeNode) {
    let is_link = matches!(node.thing, Thing::Symlink(_));
    if is_link {
        std::os::unix::fs::lchown(path, Some(node.uid), Some(node.gid)).unwrap();
    } else {
        chown(path, Some(node.uid), Some(node.gid)).unwrap();
        let plain = matches!(node.thing, Thing::File(_) | Thing::Dir);
        if let Some(value) = node.xattr.as_ref().filter(|_| plain) {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::setxattr(path, "user.test", value, flags).unwrap();
        }
        rustix::fs::chmodat(
            CWD,
            path,
            Mode::from_raw_mode(node.mode),
            rustix::fs::AtFlags::empty(),
        )
        .unwrap();
    }
    let time = Timespec {
        tv_sec: node.seconds,
        tv_nsec: node.nanos,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn tar(arguments: &[&str], dir: &Path, archive: &Path) {
    let output = Command::new("tar")
        .args(arguments)
        .arg("-C")
        .arg(dir)
        .arg("-f")
        .arg(archive)
        .args(arguments.contains(&"-c").then_some("."))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn compare(nodes: &[TreeNode], format: &[&str]) -> Result<(), TestCaseError> {
    let temp = tempfile::tempdir().unwrap();
    let (tree, theirs) = (temp.path().join("tree"), temp.path().join("theirs"));
    let archive = temp.path().join("archive.tar");
    fs::create_dir(&tree).unwrap();
    fs::create_dir(&theirs).unwrap();
    make(&tree, nodes);
    let pack = [&["-c", "--numeric-owner"], format].concat();
    tar(&pack, &tree, &archive);
    let xattrs = [
        "-x",
        "-p",
        "--same-owner",
        "--numeric-owner",
        "--xattrs",
        "--xattrs-include=*",
    ];
    tar(&xattrs, &theirs, &archive);
    let ours = Node::new();
    let bytes = fs::read(&archive).unwrap();
    let unpacked = ours
        .unpack(&bytes)
        .map_err(|e| TestCaseError::fail(crate::node::chain_of(&e)))?;
    prop_assert_eq!(unpacked.size(), bytes.len() as u64);
    let chain = ChainId::new(None, unpacked.diff_id());
    let inodes = unpacked.inodes();
    ours.snapshots.commit(unpacked, &chain, None).unwrap();
    let (expected, found) = (listing(&theirs), listing(&ours.path(&chain)));
    let distinct = found.iter().filter(|line| {
        let name = line.split(" mode ").next().unwrap();
        line.contains(&format!("same as {name} "))
    });
    prop_assert_eq!(distinct.count() as u64, inodes);
    prop_assert_eq!(expected, found);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn hostile_14_gnu_archives_unpack_as_gnu_tar_unpacks_them(
        nodes in proptest::collection::vec(node(), 0..30)
    ) {
        compare(&nodes, &["--format=gnu"])?;
    }

    #[test]
    fn hostile_14_pax_archives_unpack_as_gnu_tar_unpacks_them(
        nodes in proptest::collection::vec(node(), 0..30)
    ) {
        compare(&nodes, &["--format=pax", "--xattrs"])?;
    }

    #[test]
    fn hostile_14_sparse_archives_unpack_as_gnu_tar_unpacks_them(
        nodes in proptest::collection::vec(node(), 0..30),
        version in proptest::sample::select(vec!["0.0", "0.1", "1.0"]),
        gnu in any::<bool>(),
    ) {
        let version = format!("--sparse-version={version}");
        let format = if gnu { "--format=gnu" } else { "--format=pax" };
        compare(&nodes, &[format, "-S", &version])?;
    }
}
