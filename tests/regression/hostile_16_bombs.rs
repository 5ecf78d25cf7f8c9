//! Documents and layers that grow without end.

use anyhow::Result;
use harness::agent::Options;
use harness::image::{Dialect, Image, LayerBuilder};
use harness::node::Node;
use harness::process;
use serde_json::json;

use crate::plain;

#[tokio::test]
async fn a_layer_that_inflates_beyond_its_cap_is_refused() -> Result<()> {
    let node =
        Node::start_with(Options::default().with("images", "max_layer_bytes = 33554432")).await?;
    let mut layer = LayerBuilder::new();
    layer.file("zeros", &vec![0; 128 << 20], 0o644)?;
    let image = Image::busybox_with(vec![layer.gzip()?], &plain())?;
    let reference = node.registry.push("hostile/bomb:1", &image)?;
    assert!(node.cri.pull(&reference).await.is_err());
    let root = node.agent.root();
    let used = harness::command::run(std::process::Command::new("du").arg("-sk").arg(&root))?;
    let used: u64 = used.split_whitespace().next().unwrap_or_default().parse()?;
    assert!(used < 32 << 10, "{used} KiB are left");
    node.finish().await
}

#[tokio::test]
async fn a_config_beyond_its_cap_is_refused_in_little_memory() -> Result<()> {
    let node = Node::start().await?;
    let mut layer = LayerBuilder::new();
    layer.file("mark", b"", 0o644)?;
    let layer = layer.gzip()?;
    let document = json!({
        "architecture": harness::image::architecture(),
        "os": "linux",
        "config": {"Labels": {"long": "x".repeat(64 << 20)}},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id]},
    });
    let reference = node.registry.push(
        "hostile/config:1",
        &Image::with_config(Dialect::Oci, vec![layer], &document),
    )?;
    assert!(node.cri.pull(&reference).await.is_err());
    let peak = process::peak_rss_kib(node.agent.pid());
    assert!(peak < 100 << 10, "{peak} KiB");
    node.finish().await
}
