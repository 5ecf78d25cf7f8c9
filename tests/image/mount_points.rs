//! What containers have mounted over their images is found there, whatever the image has.

use std::path::Path;

use anyhow::{Context as _, Result};
use harness::cri::image_spec;
use harness::image::{Image, LayerBuilder, busybox_layer, default_config};
use harness::node::Node;

/// Shows the three files that every container gets, and how /etc looks.
const LOOK: &str = "grep -c localhost /etc/hosts; test -s /etc/resolv.conf && hostname | cmp - /etc/hostname && echo named; \
    stat -c '%a %u:%g %Y' /etc/; test -d /proc/1 && test -d /sys/class && test -c /dev/null && echo mounted";

/// The entries of a directory of the node's snapshots.
fn entries(directory: &Path) -> Result<Vec<std::path::PathBuf>> {
    let read =
        std::fs::read_dir(directory).with_context(|| format!("read {}", directory.display()))?;
    read.map(|entry| Ok(entry?.path())).collect()
}

/// Starts a container of an image of these layers; returns its id and the image's name.
async fn started(node: &Node, name: &str, layers: Vec<LayerBuilder>) -> Result<(String, String)> {
    let layers = layers
        .into_iter()
        .map(LayerBuilder::gzip)
        .collect::<Result<Vec<_>>>()?;
    let image = Image::new(layers, &default_config());
    let image = node.registry.push(&format!("test/{name}:1"), &image)?;
    node.cri.pull(&image).await?;
    let sandbox = node.sandbox(name).await?;
    let mut config = node.container_config(name, &["/bin/pause"]);
    config.image = Some(image_spec(&image));
    Ok((node.run_of(&sandbox, &config).await?, image))
}

#[tokio::test]
async fn a_start_writes_nothing_to_the_containers_layer() -> Result<()> {
    let node = Node::start().await?;
    let mut above = LayerBuilder::new();
    above
        .directory("etc", 0o751)?
        .whiteout(".", "proc")?
        .whiteout(".", "sys")?;
    let (id, image) = started(&node, "lacking", vec![busybox_layer()?, above]).await?;
    let text = node.exec(&id, LOOK).await?;
    let lines: Vec<_> = text.lines().collect();
    assert!(
        matches!(lines[..], ["1" | "2", "named", etc, "mounted"] if etc.starts_with("751 0:0 ")),
        "{text}"
    );
    let snapshots = node.agent.root().join("snapshots");
    let containers = entries(&snapshots.join("c"))?;
    assert_eq!(containers.len(), 1);
    let written = entries(&containers[0].join("fs"))?;
    assert!(written.is_empty(), "{written:?}");
    // And what it writes itself is its own.
    node.exec(&id, "echo x >/etc/x && rm /etc/passwd").await?;
    assert_eq!(entries(&containers[0].join("fs/etc"))?.len(), 2);
    node.remove_all().await?;
    node.cri.remove_image(&image).await?;
    let left = entries(&snapshots.join("m"))?;
    assert_eq!(left.len(), 1, "this boot's mark alone: {left:?}");
    node.finish().await
}

#[tokio::test]
async fn an_etc_that_is_a_link_works() -> Result<()> {
    let node = Node::start().await?;
    let mut above = LayerBuilder::new();
    above
        .whiteout(".", "etc")?
        .symlink("etc", "usr/etc")?
        .directory("usr/etc", 0o750)?;
    let (id, _) = started(&node, "linked", vec![busybox_layer()?, above]).await?;
    let text = node.exec(&id, LOOK).await?;
    assert!(text.contains("\nnamed\n750 0:0 "), "{text}");
    assert_eq!(node.exec(&id, "readlink /etc").await?, "usr/etc\n");
    node.finish().await
}
