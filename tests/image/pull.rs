//! References, dialects, platforms, log-ins, proxies, sharing.

use std::time::Duration;

use anyhow::Result;
use harness::agent::Options;
use harness::cri::channel;
use harness::image::{
    Compression, Dialect, Image, Layer, LayerBuilder, busybox_layer, default_config, index,
};
use harness::node::Node;
use harness::proxy::{Fault, Proxy};
use harness::registry::{PASSWORD, Registry, USER};
use proto::agent::images_client::ImagesClient;
use proto::agent::{PullRequest, pull_progress};
use proto::cri::{AuthConfig, PullImageRequest};
use serde_json::json;
use tonic::Code;

use crate::run_in;

fn marked(compression: Compression) -> Result<Layer> {
    let mut layer = LayerBuilder::new();
    layer.file("mark", format!("{compression:?}").as_bytes(), 0o644)?;
    Layer::pack(&layer.tar()?, compression)
}

#[tokio::test]
async fn both_dialects_and_every_compression_are_understood() -> Result<()> {
    let node = Node::start().await?;
    for (name, dialect, compression) in [
        ("oci-gzip", Dialect::Oci, Compression::Gzip),
        ("oci-zstd", Dialect::Oci, Compression::Zstd),
        ("oci-plain", Dialect::Oci, Compression::None),
        ("docker-gzip", Dialect::Docker, Compression::Gzip),
        ("docker-plain", Dialect::Docker, Compression::None),
    ] {
        let layers = vec![busybox_layer()?.gzip()?, marked(compression)?];
        let image = Image::in_dialect(dialect, layers, &default_config());
        let reference = node.registry.push(&format!("test/{name}:1"), &image)?;
        node.cri.pull(&reference).await?;
        assert_eq!(
            run_in(&node, &reference, "cat /mark").await?,
            format!("{compression:?}\n"),
            "{name}"
        );
    }
    node.finish().await
}

#[tokio::test]
async fn an_index_may_list_foreign_and_broken_platforms_first() -> Result<()> {
    let node = Node::start().await?;
    let good = Image::busybox_with(vec![marked(Compression::Gzip)?], &default_config())?;
    let foreign = Image::with_config(
        Dialect::Oci,
        vec![marked(Compression::None)?],
        &json!({"architecture": "s390x", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": ["sha256:00"]}}),
    );
    let unknown = Image::with_config(
        Dialect::Oci,
        vec![],
        &json!({"architecture": "unknown", "os": "unknown"}),
    );
    let mut no_platform = unknown.index_entry("", "");
    no_platform["platform"] = serde_json::Value::Null;
    let entries = [
        foreign.index_entry("linux", "s390x"),
        unknown.index_entry("unknown", "unknown"),
        no_platform,
        foreign.index_entry("windows", harness::image::architecture()),
        good.index_entry("linux", harness::image::architecture()),
    ];
    let reference = node.registry.push_index(
        "test/many:1",
        &[&foreign, &unknown, &good],
        &index(&entries),
    )?;
    node.cri.pull(&reference).await?;
    assert_eq!(run_in(&node, &reference, "cat /mark").await?, "Gzip\n");
    let only = node
        .registry
        .push_index("test/foreign:1", &[&foreign], &index(&entries[..1]))?;
    let refused = node.cri.pull(&only).await.err();
    assert!(
        refused
            .as_ref()
            .is_some_and(|status| status.message().contains("linux")),
        "{refused:?}"
    );
    node.finish().await
}

#[tokio::test]
async fn a_digest_names_one_image_whatever_the_tag() -> Result<()> {
    let node = Node::start().await?;
    let image = Image::busybox_with(vec![marked(Compression::Zstd)?], &default_config())?;
    node.registry.push("test/moving:1", &image)?;
    let digest = image.manifest_digest();
    let by_digest = node.registry.reference(&format!("test/moving@{digest}"));
    node.registry.push("test/moving:1", &Image::busybox()?)?;
    node.cri.pull(&by_digest).await?;
    assert_eq!(run_in(&node, &by_digest, "cat /mark").await?, "Zstd\n");
    let both = node.registry.reference(&format!("test/moving:1@{digest}"));
    node.cri.pull(&both).await?;
    node.finish().await
}

#[tokio::test]
async fn a_log_in_is_used_and_a_wrong_one_told() -> Result<()> {
    let node = Node::start().await?;
    let private = Registry::start_private()?;
    let reference = private.push("secret/busybox:1", &Image::busybox()?)?;
    let pull = |auth: Option<AuthConfig>| {
        let (mut service, reference) = (node.cri.image.clone(), reference.clone());
        async move {
            let image = Some(harness::cri::image_spec(&reference));
            let request = PullImageRequest {
                image,
                auth,
                ..PullImageRequest::default()
            };
            service.pull_image(request).await.map(|_| ())
        }
    };
    let login = |password: &str| AuthConfig {
        username: USER.to_owned(),
        password: password.to_owned(),
        ..AuthConfig::default()
    };
    for (what, auth) in [
        ("no log-in", None),
        ("a wrong password", Some(login("wrong"))),
    ] {
        let refused = pull(auth).await.err();
        let code = refused.as_ref().map(tonic::Status::code);
        assert!(
            matches!(code, Some(Code::Unauthenticated | Code::PermissionDenied)),
            "{what}: {refused:?}"
        );
        assert!(
            refused.is_some_and(|status| !status.message().contains("wrong\"")),
            "{what}: a password is told"
        );
    }
    pull(Some(login(PASSWORD))).await?;
    node.cri.remove_image(&reference).await?;
    // The kubelet may send both in one word.
    let encoded = AuthConfig {
        auth: "dGVzdGVyOnNlY3JldA==".to_owned(),
        ..AuthConfig::default()
    };
    pull(Some(encoded)).await?;
    node.finish().await
}

#[tokio::test]
async fn proxies_are_used_but_never_for_loopback() -> Result<()> {
    let registry = Registry::start()?;
    registry.push("test/busybox:1", &Image::busybox()?)?;
    let proxy = Proxy::start(&registry)?;
    let options = Options::default()
        .with(
            "images",
            "insecure_registries = [\"127.0.0.0/8\", \"registry.test\"]",
        )
        .with_variable("HTTP_PROXY", &format!("http://{}", proxy.address()))
        .with_variable("http_proxy", &format!("http://{}", proxy.address()));
    // Busybox comes from a registry on loopback: not by the proxy.
    let node = Node::start_with(options).await?;
    assert_eq!(proxy.take_seen().len(), 0);
    node.cri.pull("registry.test/test/busybox:1").await?;
    let seen = proxy.take_seen();
    assert!(
        seen.iter().any(|one| one
            .target
            .starts_with("http://registry.test/v2/test/busybox/")),
        "{seen:#?}"
    );
    node.finish().await
}

#[tokio::test]
async fn two_pulls_of_one_image_share_the_work_and_progress_is_told() -> Result<()> {
    let node = Node::start().await?;
    let image = Image::busybox_with(
        vec![harness::image::big_layer(1, 4 << 20)?],
        &default_config(),
    )?;
    node.registry.push("test/large:1", &image)?;
    let proxy = Proxy::start(&node.registry)?;
    proxy.break_with(|seen| {
        seen.is_blob()
            .then_some(Fault::Slow(64 << 10, Duration::from_millis(10)))
    });
    let reference = proxy.reference("test/large:1");
    let mut images = ImagesClient::new(channel(node.agent.socket()).await?);
    let request = PullRequest {
        reference: reference.clone(),
        ..PullRequest::default()
    };
    let mut progress = images.pull(request).await?.into_inner();
    let calls: Vec<_> = (0..3)
        .map(|_| {
            let (cri, reference) = (node.cri.clone(), reference.clone());
            tokio::spawn(async move { cri.pull(&reference).await })
        })
        .collect();
    let (mut seen, mut done) = (Vec::new(), None);
    while let Some(message) = progress.message().await? {
        match message.event {
            Some(pull_progress::Event::Layer(layer)) => {
                seen.push((layer.digest, layer.current, layer.total))
            }
            Some(pull_progress::Event::Done(end)) => done = Some(end),
            Some(pull_progress::Event::Status(_)) | None => {}
        }
    }
    for call in calls {
        call.await??;
    }
    assert_eq!(done.map(|done| done.image_id), Some(image.id.clone()));
    let large = &image.blobs[1];
    let steps: Vec<_> = seen
        .iter()
        .filter(|(digest, ..)| *digest == large.digest)
        .map(|(_, current, _)| *current)
        .collect();
    assert!(
        steps.is_sorted()
            && steps
                .iter()
                .any(|step| *step > 0 && *step < large.bytes.len() as u64),
        "{steps:?}"
    );
    let asked = proxy
        .take_seen()
        .iter()
        .filter(|one| one.is_blob() && one.target.contains(&large.digest))
        .count();
    assert_eq!(asked, 1, "the layer is fetched once");
    node.finish().await
}

#[tokio::test]
async fn layers_that_are_here_are_not_fetched_again() -> Result<()> {
    let node = Node::start().await?;
    let image = Image::busybox_with(vec![marked(Compression::Gzip)?], &default_config())?;
    node.registry.push("test/more:1", &image)?;
    let proxy = Proxy::start(&node.registry)?;
    node.cri.pull(&proxy.reference("test/more:1")).await?;
    let base = &image.blobs[0].digest;
    assert!(
        !proxy
            .take_seen()
            .iter()
            .any(|one| one.is_blob() && one.target.contains(base))
    );
    node.cri.pull(&proxy.reference("test/more:1")).await?;
    assert!(
        !proxy.take_seen().iter().any(harness::proxy::Seen::is_blob),
        "nothing is fetched twice"
    );
    node.finish().await
}

#[tokio::test]
async fn a_registry_that_stumbles_is_asked_again() -> Result<()> {
    let node = Node::start().await?;
    let image = Image::busybox_with(vec![marked(Compression::None)?], &default_config())?;
    node.registry.push("test/stumble:1", &image)?;
    let proxy = Proxy::start(&node.registry)?;
    let mut number = 0;
    proxy.break_with(move |_| {
        number += 1;
        (number % 2 == 1).then_some(Fault::Status(503))
    });
    node.cri.pull(&proxy.reference("test/stumble:1")).await?;
    node.finish().await
}
