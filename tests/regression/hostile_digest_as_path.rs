//! A digest is used as a path before it is looked at.

use anyhow::Result;
use harness::image::{Dialect, Image, LayerBuilder};
use harness::node::Node;
use harness::proxy::{Fault, Proxy};
use serde_json::{Value, json};
use tonic::Code;

#[tokio::test]
async fn digests_of_references_and_documents_are_parsed_first() -> Result<()> {
    let node = Node::start().await?;
    for digest in [
        "sha256:../../../../etc/passwd",
        "sha256:",
        "sha256:0",
        "../x:00",
        "sha256:+",
    ] {
        let refused = node
            .cri
            .pull(&node.registry.reference(&format!("test/busybox@{digest}")))
            .await
            .err();
        assert_eq!(
            refused.map(|status| status.code()),
            Some(Code::InvalidArgument),
            "{digest}"
        );
    }
    let mut layer = LayerBuilder::new();
    layer.file("mark", b"", 0o644)?;
    let image = Image::in_dialect(Dialect::Oci, vec![layer.gzip()?], &json!({}));
    node.registry.push("hostile/digest:1", &image)?;
    let proxy = Proxy::start(&node.registry)?;
    let good: Value = serde_json::from_slice(&image.manifest)?;
    for place in ["/layers/0/digest", "/config/digest"] {
        let mut document = good.clone();
        if let Some(value) = document.pointer_mut(place) {
            *value = json!("sha256:../../../../../../etc/passwd");
        }
        let bytes = document.to_string().into_bytes();
        proxy.break_with(move |seen| {
            seen.target
                .contains("/manifests/")
                .then(|| Fault::Replace(bytes.clone()))
        });
        assert!(
            node.cri
                .pull(&proxy.reference("hostile/digest:1"))
                .await
                .is_err(),
            "{place}"
        );
    }
    // In the same way, a document whose digests are some is taken.
    let bytes = good.to_string().into_bytes();
    proxy.break_with(move |seen| {
        let of_manifest = seen.target.contains("/manifests/");
        of_manifest.then(|| Fault::Replace(bytes.clone()))
    });
    node.cri.pull(&proxy.reference("hostile/digest:1")).await?;
    node.finish().await
}
