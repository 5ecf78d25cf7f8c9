//! How registries are spoken to: TLS, plain HTTP where it is allowed, tokens.

use anyhow::Result;
use harness::agent::Options;
use harness::image::Image;
use harness::node::Node;
use harness::registry::Registry;
use tonic::Code;

/// Returns the name of an image by an address that leads here and is none of loopback's.
fn elsewhere(registry: &Registry, name: &str) -> String {
    format!("0.0.0.0:{}/{name}", registry.address().port())
}

#[tokio::test]
async fn other_registries_are_spoken_to_over_tls_with_a_certificate_that_holds() -> Result<()> {
    let registry = Registry::start()?;
    let image = Image::busybox()?;
    registry.push("test/other:1", &image)?;
    let tls = registry.start_tls()?;
    let reference = elsewhere(&tls, "test/other:1");
    let trusting =
        Options::default().with_variable("SSL_CERT_FILE", &tls.ca().display().to_string());
    let node = Node::start_with(trusting).await?;
    assert_eq!(node.cri.pull(&reference).await?, image.id);
    node.finish().await?;
    let node = Node::start().await?;
    let refused = node.cri.pull(&reference).await.err();
    assert!(
        refused
            .as_ref()
            .is_some_and(|status| status.message().contains("certificate")),
        "{refused:?}"
    );
    node.finish().await
}

#[tokio::test]
async fn plain_http_is_spoken_where_it_is_allowed_only() -> Result<()> {
    let registry = Registry::start()?;
    registry.push("test/busybox:1", &Image::busybox()?)?;
    let reference = elsewhere(&registry, "test/busybox:1");
    let node = Node::start().await?;
    let refused = node.cri.pull(&reference).await.err();
    assert_eq!(refused.map(|status| status.code()), Some(Code::Unavailable));
    node.finish().await?;
    let port = registry.address().port();
    for allowed in [
        "0.0.0.0".to_owned(),
        format!("0.0.0.0:{port}"),
        "0.0.0.0/8".to_owned(),
    ] {
        let line = format!("insecure_registries = [\"{allowed}\"]");
        let node = Node::start_with(Options::default().with("images", line)).await?;
        node.cri.pull(&reference).await?;
        node.finish().await?;
    }
    Ok(())
}
