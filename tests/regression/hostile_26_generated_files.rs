//! The image has a link where the runtime makes a file.

use anyhow::Result;
use harness::image::LayerBuilder;
use harness::node::Node;

use crate::{host_directory, is_untouched, outcome, plain, pulled};

#[tokio::test]
async fn generated_files_are_not_written_through_links() -> Result<()> {
    let node = Node::start().await?;
    let host = host_directory(&node)?;
    let climbing = format!("../../../../../../../..{}/made", host.display());
    for (number, target) in [
        climbing,
        format!("{}/marker", host.display()),
        "/etc".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let mut layer = LayerBuilder::new();
        for name in ["hosts", "resolv.conf", "hostname", "mtab"] {
            layer.symlink(&format!("etc/{name}"), target)?;
        }
        let image = pulled(&node, &format!("links-{number}"), layer, &plain()).await?;
        // To be refused is as good as to be confined.
        let _ = outcome(
            &node,
            &image,
            &node.container_config("main", &["/bin/true"]),
        )
        .await?;
        is_untouched(&host)?;
    }
    node.finish().await
}
