//! A container makes a node of the host's disk, which its capabilities allow, and opens it.

use anyhow::{Context as _, Result};
use harness::image::LayerBuilder;
use harness::node::Node;
use tar::EntryType;

use crate::{outcome, plain, pulled};

/// Returns major and minor number of a disk of the host's.
fn disk() -> Result<(u32, u32)> {
    let text = std::fs::read_to_string("/proc/partitions")?;
    let numbers = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    text.lines().find_map(numbers).context("a disk")
}

#[tokio::test]
async fn a_node_of_the_hosts_disk_can_be_made_but_not_opened() -> Result<()> {
    let node = Node::start().await?;
    let (major, minor) = disk()?;
    let mut layer = LayerBuilder::new();
    // One that comes with the image, and memory beside it.
    layer
        .device("disk", EntryType::Block, major, minor)?
        .device("memory", EntryType::Char, 1, 1)?;
    let image = pulled(&node, "device", layer, &plain()).await?;
    let line = format!(
        "mknod /made b {major} {minor} && mknod /made-memory c 1 1 || echo not made; \
         for name in /made /made-memory /disk /memory; do \
             dd if=$name of=/dev/null count=1 2>&1 | grep -v 'not permitted'; \
             dd if=/dev/zero of=$name count=0 conv=notrunc 2>&1 | grep -v 'not permitted'; \
         done; echo end"
    );
    let config = node.container_config("main", &["/bin/sh", "-c", &line]);
    let (code, seen) = outcome(&node, &image, &config).await??;
    assert_eq!((code, seen.as_str()), (0, "end\n"));
    let seen = node
        .ctl()?
        .ok(&["run", "--rm", &image, "sh", "-c", &line])?;
    assert_eq!(seen, "end");
    // A session is in the same cgroup, whatever its capabilities.
    let sandbox = node.sandbox("pod").await?;
    let mut config = node.container_config("main", &["/bin/pause"]);
    config.image = Some(harness::cri::image_spec(&image));
    let id = node.run_of(&sandbox, &config).await?;
    assert_eq!(node.exec(&id, &line).await?, "end\n");
    node.finish().await
}
