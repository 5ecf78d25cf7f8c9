//! /proc or /sys of the image is a link or a file, to have labels and settings written elsewhere.

use anyhow::Result;
use harness::image::LayerBuilder;
use harness::node::Node;

use crate::{host_directory, is_untouched, outcome, plain, pulled};

#[tokio::test]
async fn an_image_whose_proc_or_sys_is_no_directory_is_refused() -> Result<()> {
    let node = Node::start().await?;
    let host = host_directory(&node)?;
    for name in ["proc", "sys"] {
        let (mut link, mut file) = (LayerBuilder::new(), LayerBuilder::new());
        link.whiteout(".", name)?
            .symlink(name, &host.display().to_string())?;
        file.whiteout(".", name)?.file(name, b"", 0o644)?;
        for (kind, layer) in [("link", link), ("file", file)] {
            let image = pulled(&node, &format!("{name}-{kind}"), layer, &plain()).await?;
            let result = outcome(
                &node,
                &image,
                &node.container_config("main", &["/bin/true"]),
            )
            .await?;
            assert!(result.is_err(), "/{name} is a {kind}: {result:?}");
            is_untouched(&host)?;
        }
    }
    node.finish().await
}
