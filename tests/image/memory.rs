//! Pulling takes the same memory however large the layers are.

use anyhow::Result;
use harness::image::{Image, LayerBuilder, big_layer, default_config};
use harness::node::Node;
use harness::process;

#[tokio::test]
async fn large_layers_are_pulled_in_bounded_memory() -> Result<()> {
    const CAP_KIB: u64 = 100 << 10;
    let node = Node::start().await?;
    // One long file, one layer of many files, and one that inflates a thousandfold.
    let mut long = LayerBuilder::new();
    long.file("zeros", &vec![0; 512 << 20], 0o644)?;
    let layers = vec![
        big_layer(1, 64 << 20)?,
        big_layer(2, 64 << 20)?,
        long.gzip()?,
    ];
    let reference = node.registry.push(
        "test/huge:1",
        &Image::busybox_with(layers, &default_config())?,
    )?;
    node.cri.pull(&reference).await?;
    let peak = process::peak_rss_kib(node.agent.pid());
    assert!(peak > 0 && peak < CAP_KIB, "{peak} KiB");
    assert_eq!(
        crate::run_in(&node, &reference, "wc -c </zeros").await?,
        format!("{}\n", 512 << 20)
    );
    node.finish().await
}
