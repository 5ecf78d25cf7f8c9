//! A user number beyond 32 bits wraps round to root.

use anyhow::Result;
use harness::image::LayerBuilder;
use harness::node::Node;
use serde_json::json;

use crate::{outcome, pulled};

#[tokio::test]
async fn numbers_out_of_range_are_refused_and_never_root() -> Result<()> {
    let node = Node::start().await?;
    for (number, user) in [
        "4294967296",
        "4294967296:0",
        "-1",
        "18446744073709551616",
        "0x0",
        "1000:4294967296",
        "4294967295",
    ]
    .iter()
    .enumerate()
    {
        let mut layer = LayerBuilder::new();
        layer.file("mark", user.as_bytes(), 0o644)?;
        let config = json!({"Env": ["PATH=/bin"], "User": user});
        let image = pulled(&node, &format!("user-{number}"), layer, &config).await?;
        let result = outcome(
            &node,
            &image,
            &node.container_config("main", &["/bin/id", "-u"]),
        )
        .await?;
        assert!(result.is_err(), "{user}: {result:?}");
    }
    node.finish().await
}
