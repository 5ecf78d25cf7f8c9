//! Two agents on one machine, and other container software beside them.

use anyhow::Result;
use harness::node::Node;

use crate::{PAGE, addresses, fetch_from_host, serve};

#[tokio::test]
async fn two_agents_do_not_notice_each_other() -> Result<()> {
    let (mut one, two) = (Node::start().await?, Node::start().await?);
    let (first, second) = (
        one.sandbox("same-name").await?,
        two.sandbox("same-name").await?,
    );
    serve(&one, &first, 80).await?;
    serve(&two, &second, 80).await?;
    one.restart().await?;
    for (node, sandbox) in [(&one, &first), (&two, &second)] {
        for address in addresses(node, &sandbox.id).await? {
            assert_eq!(
                fetch_from_host(address, 80).as_deref(),
                Some(PAGE),
                "{address}"
            );
        }
    }
    one.finish().await?;
    for address in addresses(&two, &second.id).await? {
        assert_eq!(
            fetch_from_host(address, 80).as_deref(),
            Some(PAGE),
            "{address}, the other agent gone"
        );
    }
    two.finish().await
}
