//! /etc/passwd or /etc/group is a pipe, a device, or larger than memory.

use anyhow::Result;
use harness::image::LayerBuilder;
use harness::node::Node;
use tar::EntryType;

use crate::{outcome, plain, pulled};

#[tokio::test]
async fn user_files_that_are_no_small_files_are_not_read() -> Result<()> {
    let node = Node::start().await?;
    for file in ["passwd", "group"] {
        let path = format!("etc/{file}");
        let (mut pipe, mut device, mut large) = (
            LayerBuilder::new(),
            LayerBuilder::new(),
            LayerBuilder::new(),
        );
        pipe.whiteout("etc", file)?
            .device(&path, EntryType::Fifo, 0, 0)?;
        device
            .whiteout("etc", file)?
            .device(&path, EntryType::Char, 1, 5)?;
        large.file(
            &path,
            &b"user:x:1000:1000::/:/bin/sh\n".repeat(2 << 20),
            0o644,
        )?;
        for (kind, layer) in [("pipe", pipe), ("device", device), ("large", large)] {
            let image = pulled(&node, &format!("{file}-{kind}"), layer, &plain()).await?;
            let mut config = node.container_config("main", &["/bin/id", "-u"]);
            let context = config
                .linux
                .get_or_insert_default()
                .security_context
                .get_or_insert_default();
            context.run_as_username = "user".to_owned();
            let result = outcome(&node, &image, &config).await?;
            if file == "passwd" {
                assert!(result.is_err(), "{file} is a {kind}: {result:?}");
            }
            for helper in node.agent.helpers()? {
                let peak = harness::process::peak_rss_kib(helper.pid);
                assert!(peak < 32 << 10, "{peak} KiB for a {kind}");
            }
        }
    }
    node.finish().await
}
