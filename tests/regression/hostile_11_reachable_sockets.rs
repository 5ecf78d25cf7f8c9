//! A container on the host's network reaches a shim by its abstract socket.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::PathBuf;

use anyhow::Result;
use harness::node::Node;

#[tokio::test]
async fn every_internal_socket_is_a_path_for_root_only() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    node.run(&sandbox, "main", &["/bin/pause"]).await?;
    let mut sockets = Vec::new();
    let mut open: Vec<PathBuf> = vec![node.agent.state(), node.agent.root()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory)?.flatten() {
            let data = entry.metadata()?;
            if data.is_dir() {
                open.push(entry.path());
            } else if data.file_type().is_socket() {
                sockets.push((entry.path(), data.permissions().mode() & 0o777));
            }
        }
    }
    assert!(!sockets.is_empty());
    assert!(
        sockets.iter().all(|(_, mode)| *mode == 0o600),
        "{sockets:?}"
    );
    // Whatever listens and has no path was there before us: nothing of ours is abstract.
    let pids: Vec<u32> = node
        .agent
        .helpers()?
        .iter()
        .map(|one| one.pid)
        .chain([node.agent.pid()])
        .collect();
    let table = std::fs::read_to_string("/proc/net/unix")?;
    let abstract_inodes: Vec<&str> = table
        .lines()
        .filter(|line| {
            line.split_whitespace()
                .nth(7)
                .is_some_and(|path| path.starts_with('@'))
        })
        .filter_map(|line| line.split_whitespace().nth(6))
        .collect();
    for pid in pids {
        for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))?.flatten() {
            let target = std::fs::read_link(entry.path())
                .unwrap_or_default()
                .display()
                .to_string();
            let inode = target
                .strip_prefix("socket:[")
                .and_then(|rest| rest.strip_suffix(']'));
            assert!(
                inode.is_none_or(|inode| !abstract_inodes.contains(&inode)),
                "{pid} has an abstract socket"
            );
        }
    }
    node.finish().await
}
