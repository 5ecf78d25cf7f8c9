//! What masks a path is not the null device but what the container put in its place.

use anyhow::Result;
use harness::image::LayerBuilder;
use harness::node::Node;

use crate::{outcome, plain, pulled};

#[tokio::test]
async fn masks_are_the_null_device_whatever_the_image_says() -> Result<()> {
    let node = Node::start().await?;
    let mut layer = LayerBuilder::new();
    layer.symlink("dev/null", "/proc/sys/kernel/core_pattern")?;
    let image = pulled(&node, "null", layer, &plain()).await?;
    let line = "stat -c %F:%t:%T /proc/timer_list /dev/null";
    let mut config = node.container_config("main", &["/bin/sh", "-c", line]);
    config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default()
        .masked_paths = vec!["/proc/timer_list".to_owned()];
    let (code, text) = outcome(&node, &image, &config).await??;
    assert_eq!(
        (code, text.as_str()),
        (
            0,
            "character special file:1:3\ncharacter special file:1:3\n"
        )
    );
    node.finish().await
}
