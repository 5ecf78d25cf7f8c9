//! Against `docker-registry`.

use agent_core::image::{LayerPhase, PullEvent, PullOutcome, PullStatus};
use agent_types::{Classify, ErrorKind, Platform};

use crate::made::{INDEX, Image, Layer, Wrap, digest, index};
use crate::node::{BOOT, Node, chain};
use crate::support::real::Registry;

#[tokio::test]
async fn an_image_of_three_kinds_of_layers_is_pulled_and_found() {
    let registry = Registry::start();
    let image = Image::of(vec![
        Layer::of(&[("etc/a", b"low"), ("etc/b", b"low")], Wrap::Gzip),
        Layer::of(&[("etc/b", b"middle")], Wrap::Zstd),
        Layer::of(&[("etc/c", b"high")], Wrap::Plain),
    ]);
    image.push(&registry, "team/app", "v1");
    let node = Node::new();
    let name = format!("{}/team/app:v1", registry.address);
    let mut pull = node.start(&name);
    let pulled = pull.done.await.unwrap();
    assert_eq!(pulled.outcome, PullOutcome::Downloaded);
    assert_eq!(pulled.digest, image.digest());
    let record = &pulled.image;
    assert_eq!(record.id.0, image.id());
    assert_eq!(record.manifest, image.digest());
    assert_eq!(record.references, [name.parse().unwrap()]);
    assert_eq!(record.digests.len(), 1);
    assert_eq!(record.config.env, ["PATH=/bin"]);
    assert_eq!(record.config.user, "7");
    assert!(record.created_at.is_some());
    let blobs: usize = image.layers.iter().map(|layer| layer.blob.len()).sum();
    assert_eq!(record.compressed_size(), blobs as u64);
    assert!(record.unpacked_size() >= 3 * 1024);
    for (path, text) in [("etc/a", "low"), ("etc/b", "middle"), ("etc/c", "high")] {
        assert_eq!(node.file(record, path).unwrap(), text.as_bytes(), "{path}");
    }
    let mut last = Vec::new();
    while let Some(event) = pull.events.next().await {
        last.push(event);
    }
    assert_eq!(
        last.len(),
        4,
        "the state at the end: three layers and a status, {last:?}"
    );
    assert!(last.contains(&PullEvent::Status(PullStatus::Done)));

    let node = node.reopen(BOOT);
    let again = node.pull(&name).await.unwrap();
    assert_eq!(again.outcome, PullOutcome::UpToDate);
    assert_eq!(again.image.id, pulled.image.id);
    let id = image.id().to_string();
    for text in [name.as_str(), &id, &id[7..19]] {
        assert_eq!(
            node.images.resolve(text).unwrap().id,
            pulled.image.id,
            "{text}"
        );
    }
    assert_eq!(node.images.list().len(), 1);
    let config = node.images.config_json(&pulled.image.id).await.unwrap();
    assert_eq!(config, image.config.as_bytes());
}

#[tokio::test]
async fn the_platform_that_fits_is_taken_from_an_index() {
    let registry = Registry::start();
    let own = Image::small("mine");
    let foreign = Image::on(
        vec![Layer::of(&[("x", b"theirs")], Wrap::Gzip)],
        "linux",
        "s390x",
    );
    own.push(&registry, "team/app", own.digest().as_str());
    foreign.push(&registry, "team/app", foreign.digest().as_str());
    let arch = Platform::host().architecture().to_owned();
    let text = index(&[
        foreign.entry(r#"{"os":"unknown","architecture":"unknown"}"#),
        foreign.entry(r#"{"os":"linux","architecture":"s390x"}"#),
        own.entry(&format!(r#"{{"os":"linux","architecture":"{arch}"}}"#)),
    ]);
    registry.push_manifest("team/app", "all", INDEX, text.as_bytes());
    let node = Node::new();
    let name = format!("{}/team/app:all", registry.address);
    let pulled = node.pull(&name).await.unwrap();
    assert_eq!(pulled.image.id.0, own.id());
    assert_eq!(pulled.digest, digest(text.as_bytes()));
    assert_eq!(pulled.image.index, Some(pulled.digest.clone()));
    assert_eq!(pulled.image.manifest, own.digest());
    let by_digest = format!("{}/team/app@{}", registry.address, pulled.digest);
    assert_eq!(node.images.resolve(&by_digest).unwrap().id.0, own.id());
    assert_eq!(
        node.content.list().unwrap().len(),
        4,
        "nothing of the foreign one was fetched"
    );

    let alone = format!("{}/team/app@{}", registry.address, foreign.digest());
    let error = node.pull(&alone).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("linux/s390x"), "{error}");
}

#[tokio::test]
async fn an_index_without_a_fit_says_what_it_has() {
    let registry = Registry::start();
    let foreign = Image::on(
        vec![Layer::of(&[("x", b"theirs")], Wrap::Gzip)],
        "linux",
        "s390x",
    );
    foreign.push(&registry, "a", foreign.digest().as_str());
    let text = index(&[foreign.entry(r#"{"os":"linux","architecture":"s390x"}"#)]);
    registry.push_manifest("a", "latest", INDEX, text.as_bytes());
    let error = Node::new()
        .pull(&format!("{}/a", registry.address))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("linux/s390x"), "{error}");
}

#[tokio::test]
async fn an_image_of_120_layers_is_pulled() {
    let registry = Registry::start();
    let layer = |n: u32| {
        let path = format!("files/{n}");
        Layer::of(
            &[(&path, &n.to_le_bytes()), ("last", &n.to_le_bytes())],
            Wrap::Gzip,
        )
    };
    let image = Image::of((0..120).map(layer).collect());
    image.push(&registry, "many", "latest");
    let node = Node::new();
    let pulled = node
        .pull(&format!("{}/many", registry.address))
        .await
        .unwrap();
    assert_eq!(pulled.image.layers.len(), 120);
    assert_eq!(
        node.file(&pulled.image, "last").unwrap(),
        119_u32.to_le_bytes()
    );
    assert_eq!(
        node.file(&pulled.image, "files/0").unwrap(),
        0_u32.to_le_bytes()
    );
}

#[tokio::test]
async fn a_tag_that_moves_takes_its_name_along() {
    let registry = Registry::start();
    let (old, new) = (Image::small("old"), Image::small("new"));
    let node = Node::new();
    let name = format!("{}/moving:t", registry.address);
    old.push(&registry, "moving", "t");
    let first = node.pull(&name).await.unwrap();
    new.push(&registry, "moving", "t");
    let second = node.pull(&name).await.unwrap();
    assert_eq!(second.outcome, PullOutcome::Downloaded);
    assert_eq!(node.images.resolve(&name).unwrap().id.0, new.id());
    let left = node.images.get(&first.image.id).unwrap();
    assert_eq!(left.references, vec![]);
    assert_eq!(
        left.digests.len(),
        1,
        "the old one is still found by its digest"
    );
}

#[tokio::test]
async fn layers_that_are_there_are_not_fetched_again() {
    let registry = Registry::start();
    let base = Layer::of(&[("base", b"base")], Wrap::Gzip);
    let one = Image::of(vec![base.clone(), Layer::of(&[("one", b"1")], Wrap::Gzip)]);
    let two = Image::of(vec![base, Layer::of(&[("two", b"2")], Wrap::Gzip)]);
    one.push(&registry, "one", "latest");
    two.push(&registry, "two", "latest");
    let node = Node::new();
    node.pull(&format!("{}/one", registry.address))
        .await
        .unwrap();
    let mut pull = node.start(&format!("{}/two", registry.address));
    let pulled = pull.done.await.unwrap();
    assert_eq!(node.file(&pulled.image, "base").unwrap(), b"base");
    let mut phases = vec![None; 2];
    while let Some(event) = pull.events.next().await {
        if let PullEvent::Layer(layer) = event {
            phases[layer.index] = Some(layer.phase);
        }
    }
    assert_eq!(phases, [Some(LayerPhase::Exists), Some(LayerPhase::Done)]);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let registry = Registry::start();
    let node = Node::new();
    let error = node
        .pull(&format!("{}/no/such:tag", registry.address))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(chain(&error).contains("no/such:tag"), "{}", chain(&error));
    node.assert_nothing_left();
}
