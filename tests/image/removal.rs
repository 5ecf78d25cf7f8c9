//! Removing an image while others are about to use it.

use anyhow::{Result, bail};
use harness::cri::image_spec;
use harness::image::{Image, LayerBuilder, default_config};
use harness::node::Node;
use tonic::Code;

#[tokio::test]
async fn a_container_has_its_image_or_is_not_made() -> Result<()> {
    let node = Node::start().await?;
    let mut layer = LayerBuilder::new();
    layer.file("mark", b"", 0o644)?;
    let image = Image::busybox_with(vec![layer.gzip()?], &default_config())?;
    let reference = node.registry.push("test/fought-over:1", &image)?;
    let sandbox = node.sandbox("pod").await?;
    let (mut made, mut refused) = (0, 0);
    for round in 0..40_u64 {
        node.cri.pull(&reference).await?;
        let mut config = node.container_config(&format!("c{round}"), &["/bin/test", "-e", "/mark"]);
        config.image = Some(image_spec(&reference));
        let remove = async {
            // Each round the removal comes a little later.
            tokio::time::sleep(std::time::Duration::from_micros(round * 50)).await;
            node.cri.remove_image(&reference).await
        };
        let create = node
            .cri
            .create_container(&sandbox.id, &config, &sandbox.config);
        let (created, removed) = tokio::join!(create, remove);
        removed?;
        match created {
            Ok(id) => {
                made += 1;
                node.cri.start_container(&id).await?;
                assert_eq!(node.exited(&id).await?.exit_code, 0, "round {round}");
                node.cri.remove_container(&id).await?;
            }
            Err(status) if status.code() == Code::NotFound => refused += 1,
            Err(status) => bail!("round {round}: {status:?}"),
        }
    }
    assert_eq!(made + refused, 40);
    node.finish().await
}
