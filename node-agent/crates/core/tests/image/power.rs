//! What a power cut costs.

use std::fs;

use agent_core::image::EnsureError;
use agent_types::{Classify, ErrorKind};

use crate::made::{Image, Layer, Wrap};
use crate::node::{BOOT, NEXT_BOOT, Node};
use crate::support::real::Registry;

async fn pulled(registry: &Registry) -> (Node, Image) {
    let image = Image::of(vec![
        Layer::of(&[("low", b"low")], Wrap::Gzip),
        Layer::of(&[("high", b"high")], Wrap::Gzip),
    ]);
    image.push(registry, "app", "latest");
    let node = Node::new();
    node.pull(&format!("{}/app", registry.address))
        .await
        .unwrap();
    (node, image)
}

/// Makes every layer and blob look as if no sync had passed: what a power cut right after the
/// pull leaves behind.
fn forget_syncs(node: &Node) {
    let _ = fs::remove_file(node.path("content/clean"));
    let records = node.path("snapshots/i");
    for name in crate::node::names(&records) {
        let text = fs::read_to_string(records.join(&name)).unwrap();
        let text = text.replace("\"clean\":true", "\"clean\":false");
        fs::write(records.join(name), text).unwrap();
    }
}

#[tokio::test]
async fn unsynced_layers_are_unpacked_again_from_verified_blobs() {
    let registry = Registry::start();
    let (node, image) = pulled(&registry).await;
    node.images.sync().await;
    forget_syncs(&node);
    let id = node.images.list()[0].id.clone();
    let address = registry.address.clone();
    drop(registry);
    let node = node.reopen(NEXT_BOOT);
    assert_eq!(node.snapshots.layer_records(), vec![], "both were suspect");
    let top = node.images.ensure_unpacked(&id).await.unwrap().unwrap();
    assert_eq!(node.snapshots.layers(&top).unwrap().len(), 2);
    let record = node.images.resolve(&format!("{address}/app")).unwrap();
    assert_eq!(node.file(&record, "high").unwrap(), b"high");
    assert_eq!(record.id.0, image.id());
    assert_eq!(node.images.ensure_unpacked(&id).await.unwrap(), Some(top));
}

#[tokio::test]
async fn a_blob_that_was_torn_is_not_unpacked_and_a_pull_heals_it() {
    let registry = Registry::start();
    let (node, image) = pulled(&registry).await;
    node.images.sync().await;
    forget_syncs(&node);
    let blob = node
        .path("content/blobs/sha256")
        .join(image.layers[1].digest().hex());
    let length = fs::metadata(&blob).unwrap().len();
    fs::write(&blob, vec![0; usize::try_from(length).unwrap()]).unwrap();
    let node = node.reopen(NEXT_BOOT);
    let id = node.images.list()[0].id.clone();
    let error = node.images.ensure_unpacked(&id).await.unwrap_err();
    assert!(matches!(error, EnsureError::Layer { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    // Whoever looks whether it is here pulls it, instead of trying again for ever.
    assert_eq!(node.images.list(), vec![]);
    let name = format!("{}/app", registry.address);
    assert!(node.images.resolve(&name).is_err());
    node.pull(&format!("{}/app", registry.address))
        .await
        .unwrap();
    assert!(node.images.ensure_unpacked(&id).await.unwrap().is_some());
}

#[tokio::test]
async fn what_was_synced_is_trusted_and_what_is_lost_is_forgotten() {
    let registry = Registry::start();
    let (node, _) = pulled(&registry).await;
    node.images.sync().await;
    let node = node.reopen(NEXT_BOOT);
    assert_eq!(node.snapshots.layer_records().len(), 2);
    fs::remove_dir_all(node.path("snapshots")).unwrap();
    fs::remove_dir_all(node.path("content/blobs")).unwrap();
    let node = node.reopen(BOOT);
    assert_eq!(
        node.images.list(),
        vec![],
        "an image that cannot be made whole is pulled again"
    );
    assert_eq!(
        crate::node::names(&node.path("records")),
        Vec::<String>::new()
    );
}
