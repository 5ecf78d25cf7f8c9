//! Against a registry that breaks off, lies and serves hostile layers.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use agent_core::image::{LayerError, PullError};
use agent_types::{Classify, ErrorKind};

use crate::made::{Image, Layer, Wrap, digest};
use crate::node::{BOOT, NEXT_BOOT, Node, chain, names};
use crate::support::scripted::Scripted;

/// Serves `image`, but breaks off layers after `cut` bytes while the switch is on.
async fn cutting(image: &Image, cut: usize) -> (Scripted, Arc<AtomicBool>) {
    let broken = Arc::new(AtomicBool::new(true));
    let (image, switch) = (image.clone(), Arc::clone(&broken));
    let server = Scripted::start(move |request, _| {
        let reply = image.serve(request);
        match image.is_layer(request) && switch.load(Ordering::SeqCst) {
            true => reply.cut_after(cut),
            false => reply,
        }
    })
    .await;
    (server, broken)
}

#[tokio::test]
async fn a_pull_cut_at_any_byte_resumes_after_a_restart() {
    let image = Image::small("to be cut");
    let length = image.layers[0].blob.len();
    for cut in 0..length {
        let (server, broken) = cutting(&image, cut).await;
        let name = format!("{}/cut", server.address);
        let node = Node::impatient();
        let error = node.pull(&name).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", chain(&error));
        assert_eq!(node.snapshots.layer_records(), vec![]);
        assert_eq!(names(&node.path("snapshots/staging")), Vec::<String>::new());
        let before = server.requests().len();
        broken.store(false, Ordering::SeqCst);
        let boot = if cut % 2 == 0 { BOOT } else { NEXT_BOOT };
        let node = node.reopen(boot);
        let pulled = node.pull(&name).await.unwrap();
        assert_eq!(node.file(&pulled.image, "hello").unwrap(), b"to be cut");
        let asked = server.requests().split_off(before);
        let layer: Vec<_> = asked
            .iter()
            .filter(|request| image.is_layer(request))
            .collect();
        assert_eq!(layer.len(), 1);
        assert_eq!(
            layer[0].range_start().unwrap_or(0),
            cut,
            "continued where it broke off"
        );
    }
}

#[tokio::test]
async fn what_was_whole_when_a_pull_was_cut_off_is_not_fetched_again() {
    let whole = Layer::of(&[("whole", b"whole")], Wrap::Gzip);
    let image = Image::of(vec![
        whole.clone(),
        Layer::of(&[("cut", b"cut")], Wrap::Gzip),
    ]);
    let broken = Arc::new(AtomicBool::new(true));
    let (served, switch, cut) = (image.clone(), Arc::clone(&broken), image.layers[1].clone());
    let server = Scripted::start(move |request, _| {
        let reply = served.serve(request);
        let is_cut = Image::of(vec![cut.clone()]).is_layer(request);
        match is_cut && switch.load(Ordering::SeqCst) {
            true => reply.cut_after(5),
            false => reply,
        }
    })
    .await;
    let name = format!("{}/cut", server.address);
    let node = Node::impatient();
    node.pull(&name).await.unwrap_err();
    let sound = Image::of(vec![whole.clone()]);
    // Whether the sound layer is done when the other one breaks off is a race.
    while !node.content.is_present(&whole.digest()) {
        node.pull(&name).await.unwrap_err();
    }
    let node = node.reopen(BOOT);
    // What housekeeping does first.
    node.images.collect_garbage(&|_| false).await.unwrap();
    broken.store(false, Ordering::SeqCst);
    let before = server.requests().len();
    let pulled = node.pull(&name).await.unwrap();
    assert_eq!(node.file(&pulled.image, "whole").unwrap(), b"whole");
    let asked = server.requests().split_off(before);
    let again = asked.iter().filter(|request| sound.is_layer(request));
    assert_eq!(again.count(), 0, "{asked:?}");
    let cut: Vec<_> = asked
        .iter()
        .filter(|request| image.is_layer(request))
        .collect();
    let starts: Vec<_> = cut.iter().map(|request| request.range_start()).collect();
    assert_eq!(starts, [Some(5)]);
}

#[tokio::test]
async fn a_partial_that_a_power_cut_tore_is_fetched_once_more() {
    let image = Image::small(&"a longer text that compresses to something ".repeat(50));
    let cut = image.layers[0].blob.len() / 2;
    for torn in [0, 5, cut - 1] {
        let (server, broken) = cutting(&image, cut).await;
        let name = format!("{}/torn", server.address);
        let node = Node::impatient();
        node.pull(&name).await.unwrap_err();
        let ingest = node
            .path("content/ingest")
            .join(&names(&node.path("content/ingest"))[0]);
        let mut bytes = fs::read(&ingest).unwrap();
        bytes[torn] ^= 0xff;
        fs::write(&ingest, bytes).unwrap();
        broken.store(false, Ordering::SeqCst);
        let before = server.requests().len();
        node.pull(&name).await.unwrap();
        let asked = server.requests().split_off(before);
        let layer: Vec<_> = asked
            .iter()
            .filter(|request| image.is_layer(request))
            .collect();
        let starts: Vec<_> = layer.iter().map(|request| request.range_start()).collect();
        assert_eq!(
            starts,
            [Some(cut), None],
            "resumed, found damaged, fetched from the start"
        );
    }
}

/// Pulls an image whose layers the registry serves with other bytes; returns the error's text.
async fn pull_with(
    image: Image,
    blob: impl Fn(&[u8]) -> Vec<u8> + Send + Sync + 'static,
) -> (Node, String) {
    let server = Scripted::start(move |request, _| {
        let mut reply = image.serve(request);
        if image.is_layer(request) {
            reply.body = blob(&reply.body);
        }
        reply
    })
    .await;
    let node = Node::impatient();
    let failure = node
        .pull(&format!("{}/x", server.address))
        .await
        .unwrap_err();
    assert!(
        matches!(failure.error(), PullError::Layer { .. }),
        "{failure}"
    );
    (node, chain(&failure))
}

#[tokio::test]
async fn a_blob_of_other_bytes_is_corrupt_and_leaves_nothing() {
    for at in [0, 3, 12, 40] {
        let (node, error) = pull_with(Image::small("x"), move |blob| {
            let mut blob = blob.to_vec();
            blob[at] ^= 0x55;
            blob
        })
        .await;
        assert!(
            error.contains("corrupt: its bytes hash to"),
            "{at}: {error}"
        );
        node.assert_nothing_left();
    }
}

#[tokio::test]
async fn a_blob_of_another_length_is_refused_and_leaves_nothing() {
    let (node, error) = pull_with(Image::small("x"), |blob| [blob, b"more"].concat()).await;
    assert!(error.contains("bytes for blob"), "{error}");
    node.assert_nothing_left();
    let (node, error) = pull_with(Image::small("x"), |blob| blob[..9].to_vec()).await;
    assert!(error.contains("9 bytes for blob"), "{error}");
    node.assert_nothing_left();
}

async fn pull_made(image: Image) -> (Node, agent_core::image::PullFailure) {
    let server = Scripted::start(move |request, _| image.serve(request)).await;
    let node = Node::impatient();
    let failure = node
        .pull(&format!("{}/x", server.address))
        .await
        .unwrap_err();
    (node, failure)
}

#[tokio::test]
async fn a_layer_that_is_not_what_the_config_says_is_refused() {
    let mut layer = Layer::of(&[("x", b"x")], Wrap::Gzip);
    layer.diff_id = digest(b"another archive");
    let (node, failure) = pull_made(Image::of(vec![layer])).await;
    let is_diff_id = matches!(
        failure.error(),
        PullError::Layer {
            source: LayerError::DiffId { .. },
            ..
        }
    );
    assert!(is_diff_id, "{}", chain(&failure));
    node.assert_nothing_left();
}

#[tokio::test]
async fn hostile_13_and_14_layers_are_refused_whole() {
    let good = Layer::of(&[("good", b"good")], Wrap::Gzip);
    let files = Layer::of(&[("ok", b"1"), ("second", b"2")], Wrap::Plain);
    let mut archive = files.blob.clone();
    archive[1024] ^= 1;
    let bad_checksum = Layer::wrap(archive, Wrap::Gzip);
    let truncated = Layer::wrap(files.blob[..1300].to_vec(), Wrap::Zstd);
    let mut wrong_wrap = Layer::of(&[("x", b"x")], Wrap::Gzip);
    wrong_wrap.media_type = wrong_wrap.media_type.replace("gzip", "zstd");
    for hostile in [bad_checksum, truncated, wrong_wrap] {
        let (node, failure) = pull_made(Image::of(vec![good.clone(), hostile.clone()])).await;
        assert_eq!(
            failure.kind(),
            ErrorKind::FailedPrecondition,
            "{}",
            chain(&failure)
        );
        assert!(
            chain(&failure).contains(hostile.digest().as_str()),
            "{}",
            chain(&failure)
        );
        // Nor is the layer below, which was sound: no other try would have a use for it.
        node.assert_nothing_left();
        assert_eq!(node.content.list().unwrap(), vec![]);
    }
}

#[tokio::test]
async fn hostile_13_a_layer_reaches_nothing_outside_its_root() {
    let name = format!("tmp/escaped-{}", std::process::id());
    let path = format!("../../../../{name}");
    let image = Image::of(vec![Layer::of(&[(&path, b"escaped")], Wrap::Gzip)]);
    let server = Scripted::start(move |request, _| image.serve(request)).await;
    let node = Node::new();
    // Refused, or kept inside: either is fine.
    if let Ok(pulled) = node.pull(&format!("{}/x", server.address)).await {
        assert_eq!(node.file(&pulled.image, &name).unwrap(), b"escaped");
    }
    assert!(!std::path::Path::new("/").join(name).exists());
}

#[tokio::test]
async fn hostile_16_configs_and_artifacts_are_refused() {
    let layer = Layer::of(&[("x", b"x")], Wrap::Gzip);
    let (_, failure) = pull_made(Image::with_config(vec![layer.clone()], "{}".into())).await;
    assert!(
        matches!(failure.error(), PullError::Config { .. }),
        "{}",
        chain(&failure)
    );
    let huge = format!("{{\"a\":\"{}\"}}", "x".repeat(9 << 20));
    let (_, failure) = pull_made(Image::with_config(vec![layer.clone()], huge)).await;
    assert_eq!(
        failure.kind(),
        ErrorKind::ResourceExhausted,
        "{}",
        chain(&failure)
    );
    let mut chart = Image::of(vec![layer]);
    chart.manifest = chart.manifest.replace("image.config.v1", "helm.config.v1");
    let (_, failure) = pull_made(chart).await;
    assert!(failure.to_string().contains("helm.config.v1"), "{failure}");
}
