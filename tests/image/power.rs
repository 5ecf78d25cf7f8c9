//! A power cut: what no sync has covered may be torn, and never looks whole.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use harness::agent::Options;
use harness::cri::image_spec;
use harness::image::{Image, Layer, LayerBuilder, default_config};
use harness::node::Node;
use proto::cri::ImageStatusRequest;

use crate::run_in;

/// Starts a node whose boot id is the content of a file, and pulls an image of two layers.
async fn node_with_image(id: &Path) -> Result<(Node, Image, String)> {
    std::fs::write(id, "6f0a5a7c-0000-4000-8000-000000000001\n")?;
    let line = format!("boot_id_file = \"{}\"", id.display());
    let node = Node::start_with(Options::default().with("", line)).await?;
    let image = Image::busybox_with(vec![marked()?], &default_config())?;
    let reference = node.registry.push("test/torn:1", &image)?;
    node.cri.pull(&reference).await?;
    Ok((node, image, reference))
}

fn marked() -> Result<Layer> {
    let mut layer = LayerBuilder::new();
    layer.file("mark", b"whole", 0o644)?;
    layer.gzip()
}

/// Cuts the power before anything was synced: every file of the layer with the mark is there and
/// empty, and another boot begins.
async fn cut_power(node: &mut Node, id: &Path) -> Result<()> {
    node.agent.kill9()?;
    let snapshots = node.agent.root().join("snapshots");
    for record in std::fs::read_dir(snapshots.join("i"))? {
        let path = record?.path();
        let text = std::fs::read_to_string(&path)?;
        ensure!(text.contains("\"clean\":"), "{text}");
        std::fs::write(&path, text.replace("\"clean\":true", "\"clean\":false"))?;
    }
    // Nothing says either that blobs have reached the disk.
    let _ = std::fs::remove_file(node.agent.root().join("content/clean"));
    let torn = torn_mark(&snapshots)?.context("the mark is unpacked somewhere")?;
    std::fs::write(torn, "")?;
    std::fs::write(id, "6f0a5a7c-0000-4000-8000-000000000002\n")?;
    node.agent.spawn_again()?;
    node.agent.serving().await?;
    node.cri = node.agent.cri().await?;
    Ok(())
}

fn torn_mark(snapshots: &Path) -> Result<Option<PathBuf>> {
    for layer in std::fs::read_dir(snapshots.join("l"))? {
        let mark = layer?.path().join("mark");
        if mark.exists() {
            return Ok(Some(mark));
        }
    }
    Ok(None)
}

#[tokio::test]
async fn a_layer_that_was_torn_is_unpacked_again() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let id = directory.path().join("boot_id");
    let (mut node, _, reference) = node_with_image(&id).await?;
    // Made before the cut, started after it.
    node.ctl()?.ok(&[
        "create",
        "--name",
        "mine",
        &reference,
        "sh",
        "-c",
        "cat /mark",
    ])?;
    cut_power(&mut node, &id).await?;
    let ctl = node.ctl()?;
    assert_eq!(ctl.ok(&["start", "--attach", "mine"])?, "whole");
    ctl.ok(&["rm", "mine"])?;
    assert_eq!(
        run_in(&node, &reference, "cat /mark; echo").await?,
        "whole\n"
    );
    node.finish().await
}

#[tokio::test]
async fn an_image_whose_blob_was_torn_too_is_pulled_again() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let id = directory.path().join("boot_id");
    let (mut node, image, reference) = node_with_image(&id).await?;
    let name = image.blobs[1].digest.replace("sha256:", "");
    let blob = node.agent.root().join("content/blobs/sha256").join(name);
    let length = usize::try_from(std::fs::metadata(&blob)?.len())?;
    std::fs::write(&blob, vec![0; length])?;
    cut_power(&mut node, &id).await?;
    let refused = run_in(&node, &reference, "cat /mark").await.err();
    let text = refused
        .map(|error| format!("{error:#}"))
        .unwrap_or_default();
    assert!(text.contains("pull the image again"), "{text}");
    // A kubelet asks whether the image is there before it creates, and pulls it if not.
    let request = ImageStatusRequest {
        image: Some(image_spec(&reference)),
        verbose: false,
    };
    let answer = node.cri.image.clone().image_status(request).await?;
    assert_eq!(answer.into_inner().image, None);
    node.cri.pull(&reference).await?;
    assert_eq!(
        run_in(&node, &reference, "cat /mark; echo").await?,
        "whole\n"
    );
    node.finish().await
}
