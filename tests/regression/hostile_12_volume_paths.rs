//! A `VOLUME` of the image climbs out, or passes through a link.

use anyhow::Result;
use harness::image::LayerBuilder;
use harness::node::Node;
use serde_json::json;

use crate::{host_directory, is_untouched, outcome, pulled};

#[tokio::test]
async fn volumes_of_an_image_stay_inside() -> Result<()> {
    let node = Node::start().await?;
    let host = host_directory(&node)?;
    let climbing = format!("/../../../../../..{}", host.display());
    let mut layer = LayerBuilder::new();
    layer.symlink("link", &host.display().to_string())?;
    let config = json!({"Env": ["PATH=/bin"], "Volumes": {climbing.clone(): {}, "/link": {}, "relative": {}, "/link/deep": {}}});
    let image = pulled(&node, "volumes", layer, &config).await?;
    let line = format!(
        "cat {climbing}/marker /link/marker 2>/dev/null; touch {climbing}/x /link/x 2>/dev/null; true"
    );
    let main = node.container_config("main", &["/bin/sh", "-c", &line]);
    if let Ok((_, text)) = outcome(&node, &image, &main).await? {
        assert_eq!(text, "");
    }
    let run = node
        .ctl()?
        .run(&["run", "--rm", &image, "sh", "-c", &line])?;
    assert_eq!(run.stdout, "");
    is_untouched(&host)?;
    node.finish().await
}
