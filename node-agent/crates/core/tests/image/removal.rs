//! Names, removal and what is left behind.

use agent_core::image::{Pin, RemoveError, RemoveMode, Removed, TagError};
use agent_types::{Classify, ErrorKind, ImageId};

use crate::made::{Image, Layer, Wrap};
use crate::node::{BOOT, Node};
use crate::support::real::Registry;

const NOBODY: &(dyn Fn(&ImageId) -> bool + Send + Sync) = &|_| false;
const SOMEBODY: &(dyn Fn(&ImageId) -> bool + Send + Sync) = &|_| true;

async fn two_images(registry: &Registry) -> (Node, [Image; 2]) {
    let base = Layer::of(&[("base", b"base")], Wrap::Gzip);
    let one = Image::of(vec![base.clone(), Layer::of(&[("one", b"1")], Wrap::Gzip)]);
    let two = Image::of(vec![base, Layer::of(&[("two", b"2")], Wrap::Gzip)]);
    one.push(registry, "one", "latest");
    two.push(registry, "two", "latest");
    let node = Node::new();
    for name in ["one", "two"] {
        node.pull(&format!("{}/{name}", registry.address))
            .await
            .unwrap();
    }
    (node, [one, two])
}

#[tokio::test]
async fn a_removed_image_leaves_only_what_others_need() {
    let registry = Registry::start();
    let (node, [one, two]) = two_images(&registry).await;
    assert_eq!(node.snapshots.layer_records().len(), 3);
    let usage = node.images.fs_usage().await.unwrap();
    let name = format!("{}/one", registry.address);
    let removed = node
        .images
        .remove(&name, RemoveMode::Docker, NOBODY)
        .await
        .unwrap();
    assert_eq!(removed.deleted, [ImageId(one.id())]);
    assert_eq!(removed.untagged.len(), 2);
    assert_eq!(
        node.snapshots.layer_records().len(),
        2,
        "the base is the other's too"
    );
    let blobs: Vec<_> = node
        .content
        .list()
        .unwrap()
        .into_iter()
        .map(|blob| blob.digest)
        .collect();
    assert_eq!(blobs.len(), 4);
    assert!(blobs.contains(&two.layers[0].digest()) && !blobs.contains(&one.layers[1].digest()));
    let left = node.images.fs_usage().await.unwrap();
    assert!(left.bytes < usage.bytes && left.inodes < usage.inodes);
    let error = node
        .images
        .remove(&name, RemoveMode::Docker, NOBODY)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let again = node
        .images
        .remove(&name, RemoveMode::Cri, NOBODY)
        .await
        .unwrap();
    assert_eq!(
        again,
        Removed::default(),
        "for CRI an unknown image is no error"
    );
    let node = node.reopen(BOOT);
    assert_eq!(node.images.list().len(), 1);
    node.images
        .remove(two.id().as_str(), RemoveMode::Cri, NOBODY)
        .await
        .unwrap();
    assert_eq!(node.content.list().unwrap(), vec![]);
    node.assert_nothing_left();
}

#[tokio::test]
async fn a_used_image_keeps_its_layers_until_its_last_container_is_gone() {
    let registry = Registry::start();
    let (node, [one, _]) = two_images(&registry).await;
    let (id, name) = (ImageId(one.id()), format!("{}/one", registry.address));
    let refused = node
        .images
        .remove(&name, RemoveMode::Docker, SOMEBODY)
        .await
        .unwrap_err();
    assert!(matches!(refused, RemoveError::InUse { .. }));
    let removed = node
        .images
        .remove(id.0.as_str(), RemoveMode::Cri, SOMEBODY)
        .await
        .unwrap();
    assert_eq!((removed.untagged.len(), removed.deleted.len()), (2, 0));
    let node = node.reopen(BOOT);
    assert!(node.images.resolve(&name).is_err() && node.images.list().len() == 1);
    let kept = node.images.get(&id).unwrap();
    assert_eq!(node.file(&kept, "one").unwrap(), b"1");
    let collected = node.images.collect_garbage(SOMEBODY).await.unwrap();
    assert_eq!((collected.images.len(), collected.layers), (0, 0));
    let collected = node.images.collect_garbage(NOBODY).await.unwrap();
    assert_eq!(collected.images, std::slice::from_ref(&id));
    assert_eq!(collected.layers, 1);
    assert!(node.images.get(&id).is_none());
}

#[tokio::test]
async fn an_image_that_a_container_is_being_made_from_stays() {
    let registry = Registry::start();
    let (node, [one, _]) = two_images(&registry).await;
    let (id, name) = (ImageId(one.id()), format!("{}/one", registry.address));
    let held = node.images.hold(&name).unwrap();
    let refused = node.images.remove(&name, RemoveMode::Docker, NOBODY).await;
    assert!(matches!(refused, Err(RemoveError::InUse { .. })));
    let removed = node.images.remove(&name, RemoveMode::Cri, NOBODY).await;
    assert_eq!(removed.unwrap().deleted, []);
    let collected = node.images.collect_garbage(NOBODY).await.unwrap();
    assert_eq!((collected.images.len(), collected.layers), (0, 0));
    assert!(node.images.hold(&name).is_err() && node.images.has_removed());
    assert_eq!(node.file(&held.image, "one").unwrap(), b"1");
    drop(held);
    let collected = node.images.collect_garbage(NOBODY).await.unwrap();
    assert_eq!((collected.images, collected.layers), (vec![id], 1));
    assert!(!node.images.has_removed());
}

#[tokio::test]
async fn an_image_removed_while_used_comes_back_with_a_pull() {
    let registry = Registry::start();
    let (node, [one, _]) = two_images(&registry).await;
    let name = format!("{}/one", registry.address);
    node.images
        .remove(&name, RemoveMode::Cri, SOMEBODY)
        .await
        .unwrap();
    node.pull(&name).await.unwrap();
    assert_eq!(node.images.resolve(&name).unwrap().id.0, one.id());
    let collected = node.images.collect_garbage(NOBODY).await.unwrap();
    assert_eq!(collected.images, vec![]);
}

#[tokio::test]
async fn tags_are_given_moved_and_taken() {
    let registry = Registry::start();
    let (node, [one, two]) = two_images(&registry).await;
    let name = |name: &str| format!("{}/{name}", registry.address);
    node.images
        .tag(&name("one"), "mine:1".parse().unwrap())
        .await
        .unwrap();
    let tagged = node.images.resolve("mine:1").unwrap();
    assert_eq!((tagged.id.0.clone(), tagged.pinned), (one.id(), Pin::Local));
    node.images
        .tag(&name("two"), "mine:1".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(node.images.resolve("mine:1").unwrap().id.0, two.id());
    let removed = node
        .images
        .remove("mine:1", RemoveMode::Docker, SOMEBODY)
        .await
        .unwrap();
    assert_eq!(removed.untagged, ["docker.io/library/mine:1"]);
    assert_eq!(node.images.list().len(), 2, "other names are left");
    let digest = format!("mine@{}", one.digest()).parse().unwrap();
    let error = node.images.tag(&name("one"), digest).await.unwrap_err();
    assert!(matches!(error, TagError::Digest { .. }));
    let error = node
        .images
        .tag("nothing", "mine:2".parse().unwrap())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    node.images
        .set_pinned(&ImageId(two.id()), Pin::None)
        .await
        .unwrap();
    assert_eq!(
        node.reopen(BOOT)
            .images
            .resolve(two.id().as_str())
            .unwrap()
            .pinned,
        Pin::None
    );
}
