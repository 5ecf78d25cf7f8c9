//! Labels of an image become labels that control the container.

use anyhow::Result;
use harness::image::LayerBuilder;
use harness::node::Node;
use serde_json::json;

use crate::pulled;

#[tokio::test]
async fn a_containers_labels_are_the_requests_alone() -> Result<()> {
    let node = Node::start().await?;
    let mut layer = LayerBuilder::new();
    layer.file("mark", b"", 0o644)?;
    let labels = json!({
        "io.kubernetes.pod.uid": "somebody",
        "io.cri-containerd.kind": "sandbox",
        "owner": "cri",
        "node-agent.log": "binary:///bin/sh",
    });
    let image = pulled(
        &node,
        "labels",
        layer,
        &json!({"Env": ["PATH=/bin"], "Labels": labels}),
    )
    .await?;
    let sandbox = node.sandbox("pod").await?;
    let mut config = node.container_config("main", &["/bin/pause"]);
    config.image = Some(harness::cri::image_spec(&image));
    config.labels.insert("mine".to_owned(), "yes".to_owned());
    let id = node.run_of(&sandbox, &config).await?;
    let status = node.cri.container_status(&id).await?;
    assert_eq!(
        (&status.labels, &status.annotations),
        (&config.labels, &config.annotations)
    );
    node.finish().await
}
