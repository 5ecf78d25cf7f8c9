//! Exec, attach and port-forward as clients of a cluster use them: `kubectl` through an API server
//! of ours, and a WebSocket client.

mod exec;
mod forward;
mod kubectl;
mod tickets;

use anyhow::Result;
use harness::cluster::{Cluster, Pod};
use harness::node::{Node, Sandbox};

/// A node with one pod, known to a cluster as `pod`; its container `main` runs `command`.
struct Setting {
    node: Node,
    cluster: Cluster,
    sandbox: Sandbox,
    container: String,
}

impl Setting {
    async fn start(command: &[&str]) -> Result<Self> {
        let node = Node::start().await?;
        let sandbox = node.sandbox("pod").await?;
        let container = node.run(&sandbox, "main", command).await?;
        Self::over(node, sandbox, container, false).await
    }

    async fn over(
        node: Node,
        sandbox: Sandbox,
        container: String,
        interactive: bool,
    ) -> Result<Self> {
        let cluster = Cluster::start(node.cri.clone()).await?;
        let pod = Pod {
            sandbox: sandbox.id.clone(),
            containers: [("main".to_owned(), container.clone())].into(),
            interactive,
        };
        cluster.add("pod", pod);
        Ok(Self {
            node,
            cluster,
            sandbox,
            container,
        })
    }

    async fn finish(self) -> Result<()> {
        self.node.finish().await
    }
}
