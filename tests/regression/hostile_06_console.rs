//! The console is bound onto what the image has at /dev/console, before anything is masked.

use anyhow::Result;
use harness::image::LayerBuilder;
use harness::node::Node;

use crate::{host_directory, is_untouched, outcome, plain, pulled};

#[tokio::test]
async fn the_console_is_the_terminal() -> Result<()> {
    let node = Node::start().await?;
    let host = host_directory(&node)?;
    let mut layer = LayerBuilder::new();
    layer.symlink("dev/console", &host.join("marker").display().to_string())?;
    layer.symlink("dev/pts", &host.display().to_string())?;
    let image = pulled(&node, "console", layer, &plain()).await?;
    let line =
        "test -c /dev/console && test $(stat -c %t /dev/console) = 88 && echo fine >/dev/console";
    let mut config = node.container_config("main", &["/bin/sh", "-c", line]);
    config.tty = true;
    let (code, text) = outcome(&node, &image, &config).await??;
    assert_eq!((code, text.trim()), (0, "fine"));
    is_untouched(&host)?;
    node.finish().await
}
