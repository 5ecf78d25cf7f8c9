//! Exec, attach and port-forward as clients of a cluster use them: `kubectl` through an API server
//! of ours, and a WebSocket client.

mod exec;
mod forward;
mod kubectl;
mod tickets;

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use harness::cluster::{Cluster, Pod};
use harness::command;
use harness::node::{Node, Sandbox};
use serde_json::Value;

/// Runs one of the scripts beside this file, which leaves nothing there, and returns what it prints.
fn script(name: &str, arguments: &[&str]) -> Result<Value> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("streaming");
    let mut python = Command::new("/usr/bin/python3");
    python.arg("-B").arg(here.join(name)).args(arguments);
    let text = command::run(&mut python)?;
    serde_json::from_str(&text).context(text)
}

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
