//! A pull that was cut off goes on where it was.

use std::time::Duration;

use anyhow::{Result, ensure};
use harness::image::{Image, LayerBuilder, big_layer, default_config};
use harness::node::Node;
use harness::proxy::{Fault, Proxy, Seen};

use crate::run_in;

const CHECK: &str = "cat /data-1/large-* | wc -c; find /data-1 -name 'small-*' | wc -l";

async fn node_with_large() -> Result<(Node, Proxy, Image)> {
    let node = Node::start().await?;
    let image = Image::busybox_with(vec![big_layer(1, 3 << 20)?], &default_config())?;
    node.registry.push("test/large:1", &image)?;
    let proxy = Proxy::start(&node.registry)?;
    Ok((node, proxy, image))
}

/// Returns where the requests for a blob began.
fn offsets(seen: &[Seen], digest: &str) -> Vec<usize> {
    let asked = seen
        .iter()
        .filter(|one| one.is_blob() && one.target.contains(digest));
    asked
        .map(|one| {
            let range = one
                .header("range")
                .and_then(|range| range.strip_prefix("bytes="));
            range
                .and_then(|range| range.split('-').next()?.parse().ok())
                .unwrap_or(0)
        })
        .collect()
}

#[tokio::test]
async fn a_connection_cut_at_any_byte_is_resumed() -> Result<()> {
    let (node, proxy, image) = node_with_large().await?;
    let (digest, size) = (image.blobs[1].digest.clone(), image.blobs[1].bytes.len());
    for at in [0, 1, 511, 4096, size / 3, size / 2, size - 1, size] {
        let mut cut = false;
        let wanted = digest.clone();
        proxy.break_with(move |seen| {
            let first = !cut && seen.is_blob() && seen.target.contains(&wanted);
            cut |= first;
            first.then_some(Fault::CutAfter(at))
        });
        let reference = proxy.reference("test/large:1");
        node.cri.pull(&reference).await?;
        let asked = offsets(&proxy.take_seen(), &digest);
        let wanted: &[usize] = if at == size { &[0] } else { &[0, at] };
        assert_eq!(asked, wanted, "cut after {at} of {size} bytes");
        let text = run_in(&node, &reference, CHECK).await?;
        ensure!(
            text.starts_with(&format!("{}\n", 4 * ((3 << 20) / 8))),
            "cut after {at}: {text}"
        );
        node.cri.remove_image(&reference).await?;
    }
    node.finish().await
}

#[tokio::test]
async fn a_pull_goes_on_after_the_daemon_was_killed() -> Result<()> {
    let (mut node, proxy, image) = node_with_large().await?;
    let digest = image.blobs[1].digest.clone();
    proxy.break_with(|seen| {
        seen.is_blob()
            .then_some(Fault::Slow(16 << 10, Duration::from_millis(5)))
    });
    let reference = proxy.reference("test/large:1");
    let call = tokio::spawn({
        let (cri, reference) = (node.cri.clone(), reference.clone());
        async move { cri.pull(&reference).await }
    });
    let root = node.agent.root();
    let name = digest.replace("sha256:", "");
    harness::wait::until_async("a part of the layer is on disk", || async {
        let files = crate::files(&root)?
            .into_iter()
            .filter(|file| file.to_string_lossy().contains(&name));
        let parts = files.filter_map(|file| Some(std::fs::metadata(file).ok()?.len()));
        Ok(parts
            .into_iter()
            .any(|length| length > 64 << 10)
            .then_some(()))
    })
    .await?;
    node.agent.kill9()?;
    assert!(call.await?.is_err());
    proxy.mend();
    let _ = proxy.take_seen();
    node.agent.spawn_again()?;
    node.agent.serving().await?;
    node.cri = node.agent.cri().await?;
    node.cri.pull(&reference).await?;
    let asked = offsets(&proxy.take_seen(), &digest);
    assert!(asked.len() == 1 && asked[0] > 0, "asked from {asked:?}");
    run_in(&node, &reference, CHECK).await?;
    node.finish().await
}

#[tokio::test]
async fn layers_that_were_whole_are_not_fetched_again_after_a_restart() -> Result<()> {
    let mut node = Node::start().await?;
    let small = |name: &str| {
        let mut layer = LayerBuilder::new();
        layer.file(name, b"", 0o644)?;
        layer.gzip()
    };
    let layers = vec![small("one")?, small("two")?, big_layer(1, 3 << 20)?];
    let image = Image::busybox_with(layers, &default_config())?;
    node.registry.push("test/several:1", &image)?;
    let proxy = Proxy::start(&node.registry)?;
    let large = image.blobs[3].digest.clone();
    let slow = large.clone();
    proxy.break_with(move |seen| {
        seen.target
            .contains(&slow)
            .then_some(Fault::Slow(16 << 10, Duration::from_millis(20)))
    });
    let reference = proxy.reference("test/several:1");
    let call = tokio::spawn({
        let (cri, reference) = (node.cri.clone(), reference.clone());
        async move { cri.pull(&reference).await }
    });
    let content = node.agent.root().join("content");
    let blob = |number: usize| {
        let name = image.blobs[number].digest.replace("sha256:", "");
        content.join("blobs/sha256").join(name)
    };
    let part = content.join("ingest").join(large.replace(':', "-"));
    harness::wait::until_async("two layers are whole, and one begun", || async {
        let begun = std::fs::metadata(&part).is_ok_and(|data| data.len() > 0);
        Ok((begun && blob(1).exists() && blob(2).exists()).then_some(()))
    })
    .await?;
    node.agent.kill9()?;
    assert!(call.await?.is_err());
    // What nobody came back for in two days is removed by the first pass of housekeeping.
    let old = content
        .join("ingest")
        .join(format!("sha256-{}", "0".repeat(64)));
    let days = std::time::SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
    std::fs::File::create(&old)?.set_modified(days)?;
    proxy.mend();
    let _ = proxy.take_seen();
    node.agent.spawn_again()?;
    node.agent.serving().await?;
    node.cri = node.agent.cri().await?;
    harness::wait::until_async("housekeeping is done", || async {
        Ok((!old.exists()).then_some(()))
    })
    .await?;
    node.cri.pull(&reference).await?;
    let seen = proxy.take_seen();
    for number in [1, 2] {
        let digest = &image.blobs[number].digest;
        assert_eq!(offsets(&seen, digest), [0; 0], "layer {number}");
    }
    let asked = offsets(&seen, &large);
    assert!(asked.len() == 1 && asked[0] > 0, "asked from {asked:?}");
    run_in(&node, &reference, CHECK).await?;
    node.finish().await
}

#[tokio::test]
async fn a_pull_killed_at_many_moments_always_ends_well() -> Result<()> {
    let (mut node, proxy, _) = node_with_large().await?;
    proxy.break_with(|seen| {
        seen.is_blob()
            .then_some(Fault::Slow(256 << 10, Duration::from_millis(2)))
    });
    let reference = proxy.reference("test/large:1");
    for delay in (0..120).step_by(12) {
        let call = tokio::spawn({
            let (cri, reference) = (node.cri.clone(), reference.clone());
            async move { cri.pull(&reference).await }
        });
        tokio::time::sleep(Duration::from_millis(delay)).await;
        node.restart().await?;
        // It may have been done before the kill.
        let _ = call.await?;
        node.cri.pull(&reference).await?;
        run_in(&node, &reference, CHECK).await?;
        node.cri.remove_image(&reference).await?;
    }
    node.finish().await
}
