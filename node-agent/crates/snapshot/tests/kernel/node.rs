//! A snapshot directory of a test's own, and looking into it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use agent_snapshot::{ChainId, Limits, Snapshots, UnpackError, Unpacked};

/// Snapshots in a temporary directory.
pub(crate) struct Node {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) snapshots: Snapshots,
}

impl Node {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (snapshots, recovery) = Snapshots::open(dir.path(), "boot-1").unwrap();
        assert!(recovery.dropped.is_empty() && recovery.ownerless.is_empty());
        Self { dir, snapshots }
    }

    pub(crate) fn unpack(&self, tar: &[u8]) -> Result<Unpacked, UnpackError> {
        self.snapshots.unpack(tar, None, &Limits::default())
    }

    /// Unpacks and commits `tar` on top of `parent`.
    pub(crate) fn layer(&self, tar: &[u8], parent: Option<&ChainId>) -> ChainId {
        let unpacked = self.unpack(tar).unwrap();
        let chain = ChainId::new(parent, unpacked.diff_id());
        self.snapshots.commit(unpacked, &chain, parent).unwrap();
        chain
    }

    /// Unpacks and commits several layers, bottom first; returns the topmost one.
    pub(crate) fn stack(&self, tars: &[Vec<u8>]) -> ChainId {
        let mut top = None;
        for tar in tars {
            top = Some(self.layer(tar, top.as_ref()));
        }
        top.unwrap()
    }

    /// Returns the directory of a layer.
    pub(crate) fn path(&self, chain: &ChainId) -> PathBuf {
        let names = self.snapshots.layers(chain).unwrap();
        self.snapshots.base().join(&names[0])
    }

    /// Asserts that nothing is being unpacked or waits to be deleted.
    pub(crate) fn assert_nothing_left(&self) {
        for name in ["staging", "trash"] {
            let mut left = std::fs::read_dir(self.snapshots.base().join(name)).unwrap();
            assert!(left.next().is_none(), "something is left in {name}");
        }
    }
}

/// An error with all its causes, in one line.
pub(crate) fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

/// Everything that tells one tree from another, a line a path.
pub(crate) fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut links = std::collections::HashMap::new();
    describe(root, Path::new(""), &mut lines, &mut links);
    lines
}

fn describe(
    root: &Path,
    path: &Path,
    lines: &mut Vec<String>,
    links: &mut std::collections::HashMap<u64, String>,
) {
    let full = root.join(path);
    let meta = std::fs::symlink_metadata(&full).unwrap();
    let content = if meta.is_file() {
        format!("{:x?}", std::fs::read(&full).unwrap())
    } else if meta.is_symlink() {
        format!("{:?}", std::fs::read_link(&full).unwrap())
    } else {
        format!("rdev {}", meta.rdev())
    };
    let name = path.display().to_string();
    let first = links
        .entry(meta.ino())
        .or_insert_with(|| name.clone())
        .clone();
    lines.push(format!(
        "{name:?} mode {:o} owner {}:{} time {}.{:09} size {} same as {first:?} {content} {:?}",
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.mtime(),
        meta.mtime_nsec(),
        if meta.is_dir() { 0 } else { meta.len() },
        xattrs(&full),
    ));
    if meta.is_dir() {
        let children = std::fs::read_dir(&full).unwrap();
        let mut names: Vec<_> = children.map(|child| child.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            describe(root, &path.join(name), lines, links);
        }
    }
}

/// The extended attributes of `path` itself.
pub(crate) fn xattrs(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut list = vec![0; 4096];
    let length = rustix::fs::llistxattr(path, &mut list[..]).unwrap();
    let names = list[..length]
        .split(|b| *b == 0)
        .filter(|name| !name.is_empty());
    let mut all: Vec<_> = names
        .map(|name| {
            let mut value = vec![0; 65536];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            value.truncate(length);
            (String::from_utf8(name.to_vec()).unwrap(), value)
        })
        .collect();
    all.sort();
    all
}
