//! Blobs and documents that are not what they say: a clear error, and nothing left behind.

use anyhow::Result;
use harness::image::{Compression, Image, Layer, LayerBuilder, default_config};
use harness::node::Node;
use harness::proxy::{Fault, Proxy};
use serde_json::json;

use crate::{files, run_in};

fn two_layers() -> Result<Image> {
    let mut layer = LayerBuilder::new();
    layer.file("mark", &[b'm'; 10_000], 0o644)?;
    Image::busybox_with(
        vec![Layer::pack(&layer.tar()?, Compression::None)?],
        &default_config(),
    )
}

/// Pulls with a fault, which must fail with one of the words in its message and leave no file,
/// then without it, which must work.
async fn fails_then_works(fault: Fault, of_blob: bool, words: &[&str]) -> Result<()> {
    let node = Node::start().await?;
    let image = two_layers()?;
    node.registry.push("test/broken:1", &image)?;
    let proxy = Proxy::start(&node.registry)?;
    let (reference, digest) = (
        proxy.reference("test/broken:1"),
        image.blobs[1].digest.clone(),
    );
    let before = files(&node.agent.root())?;
    let broken = fault.clone();
    proxy.break_with(move |seen| {
        let hit = if of_blob {
            seen.target.contains(&digest)
        } else {
            seen.target.contains("/manifests/")
        };
        (hit && seen.method == "GET").then(|| broken.clone())
    });
    let refused = node
        .cri
        .pull(&reference)
        .await
        .err()
        .map(|status| status.message().to_lowercase());
    assert!(
        refused
            .as_ref()
            .is_some_and(|text| words.iter().any(|word| text.contains(word))),
        "{fault:?}: {refused:?}"
    );
    // What was whole is kept for the next pull; of what was not nothing is.
    let after = files(&node.agent.root())?;
    let name = image.blobs[1].digest.replace("sha256:", "");
    let more: Vec<_> = after.difference(&before).collect();
    let bad = more
        .iter()
        .filter(|path| !of_blob || path.to_string_lossy().contains(&name));
    assert_eq!(bad.collect::<Vec<_>>(), [&""; 0], "{fault:?} leaves files");
    proxy.mend();
    node.cri.pull(&reference).await?;
    run_in(&node, &reference, "test $(wc -c </mark) = 10000").await?;
    node.finish().await
}

#[tokio::test]
async fn a_corrupt_layer_is_refused() -> Result<()> {
    fails_then_works(Fault::CorruptAt(5000), true, &["corrupt"]).await
}

#[tokio::test]
async fn a_layer_longer_than_its_manifest_says_is_refused() -> Result<()> {
    fails_then_works(
        Fault::Append(100_000),
        true,
        &["size", "larger", "longer", "bytes"],
    )
    .await
}

#[tokio::test]
async fn a_layer_of_other_content_is_refused() -> Result<()> {
    fails_then_works(
        Fault::Replace(vec![0; 14_336]),
        true,
        &["corrupt", "size", "bytes"],
    )
    .await
}

#[tokio::test]
async fn a_manifest_that_is_no_document_is_refused() -> Result<()> {
    fails_then_works(Fault::Replace(b"<html>".to_vec()), false, &["manifest"]).await
}

#[tokio::test]
async fn a_manifest_too_large_to_be_one_is_refused() -> Result<()> {
    fails_then_works(
        Fault::Replace(vec![b' '; 20 << 20]),
        false,
        &["manifest", "large", "size"],
    )
    .await
}

#[tokio::test]
async fn a_layer_whose_content_is_not_its_diff_id_is_refused() -> Result<()> {
    let node = Node::start().await?;
    let image = two_layers()?;
    let mut layer = LayerBuilder::new();
    layer.file("other", b"", 0o644)?;
    let mut other = layer.gzip()?;
    other.diff_id = image.id.clone();
    let reference = node.registry.push(
        "test/liar:1",
        &Image::busybox_with(vec![other], &default_config())?,
    )?;
    let refused = node
        .cri
        .pull(&reference)
        .await
        .err()
        .map(|status| status.message().to_owned());
    assert!(refused.is_some_and(|text| text.contains("sha256:")));
    node.finish().await
}

#[tokio::test]
async fn layers_that_are_no_archives_are_refused() -> Result<()> {
    let node = Node::start().await?;
    let mut truncated = LayerBuilder::new();
    truncated.file("file", &[b'x'; 100_000], 0o644)?;
    let tar = truncated.tar()?;
    let mut cut_gzip = Layer::pack(&tar, Compression::Gzip)?;
    let half = cut_gzip.blob.bytes.len() / 2;
    cut_gzip.blob = harness::image::Blob::new(cut_gzip.blob.bytes[..half].to_vec());
    let cases = [
        ("noise", Layer::pack(&[0x5a; 4096], Compression::Gzip)?),
        ("cut-tar", Layer::pack(&tar[..50_000], Compression::Gzip)?),
        ("cut-gzip", cut_gzip),
    ];
    let before = files(&node.agent.root().join("snapshots"))?;
    for (name, layer) in cases {
        let image = Image::busybox_with(vec![layer], &default_config())?;
        let reference = node.registry.push(&format!("test/{name}:1"), &image)?;
        let refused = node.cri.pull(&reference).await.err();
        assert!(refused.is_some(), "{name} was taken");
        assert!(
            run_in(&node, &reference, "true").await.is_err(),
            "{name} runs"
        );
    }
    node.remove_all().await?;
    // The blobs are what was asked for, and are kept for a while as those of any pull that ended
    // early; of what was in them nothing is.
    harness::wait::until("nothing unpacked is left", || {
        let after = files(&node.agent.root().join("snapshots"))?;
        let left: Vec<_> = after.difference(&before).collect();
        anyhow::ensure!(left.is_empty(), "{left:?}");
        Ok(Some(()))
    })?;
    node.finish().await
}

#[tokio::test]
async fn a_config_that_does_not_fit_its_manifest_is_refused() -> Result<()> {
    let node = Node::start().await?;
    let mut layer = LayerBuilder::new();
    layer.file("mark", b"", 0o644)?;
    let layer = layer.gzip()?;
    let config = json!({
        "architecture": harness::image::architecture(),
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id, layer.diff_id]},
    });
    let image = Image::with_config(harness::image::Dialect::Oci, vec![layer], &config);
    let reference = node.registry.push("test/uneven:1", &image)?;
    assert!(node.cri.pull(&reference).await.is_err());
    node.finish().await
}
