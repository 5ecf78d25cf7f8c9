//! A document that is a manifest to one reader and an index to another.

use anyhow::Result;
use harness::image::{Image, OCI_INDEX};
use harness::node::Node;
use harness::proxy::{Fault, Proxy};
use serde_json::{Value, json};

#[tokio::test]
async fn documents_of_two_kinds_are_refused() -> Result<()> {
    let node = Node::start().await?;
    let image = Image::busybox()?;
    node.registry.push("hostile/both:1", &image)?;
    let proxy = Proxy::start(&node.registry)?;
    let manifest: Value = serde_json::from_slice(&image.manifest)?;
    let mut both = manifest.clone();
    both["manifests"] = json!([image.index_entry("linux", harness::image::architecture())]);
    let mut other_type = manifest.clone();
    other_type["mediaType"] = json!(OCI_INDEX);
    let mut old = manifest.clone();
    old["schemaVersion"] = json!(1);
    for (name, document) in [
        ("both", both),
        ("another media type", other_type),
        ("schema 1", old),
    ] {
        let bytes = document.to_string().into_bytes();
        proxy.break_with(move |seen| {
            seen.target
                .contains("/manifests/")
                .then(|| Fault::Replace(bytes.clone()))
        });
        let refused = node.cri.pull(&proxy.reference("hostile/both:1")).await;
        assert!(refused.is_err(), "{name} is taken");
    }
    // In the same way, a document of one kind is taken.
    let bytes = manifest.to_string().into_bytes();
    proxy.break_with(move |seen| {
        let of_manifest = seen.target.contains("/manifests/");
        of_manifest.then(|| Fault::Replace(bytes.clone()))
    });
    node.cri.pull(&proxy.reference("hostile/both:1")).await?;
    node.finish().await
}
