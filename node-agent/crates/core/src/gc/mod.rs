//! Housekeeping: what removals left behind is deleted, and what was unpacked becomes clean.
//!
//! Owns: when. Does not: know how; each mechanism has its own sweep.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::node::Node;
use crate::recovery::strays_pass;
use crate::services::{Services, blocking};

/// How long removals are collected before their remains are deleted.
const SETTLE: Duration = Duration::from_millis(500);

/// How often the node is compared with its records.
const PASS: Duration = Duration::from_secs(300);

/// Does the node's housekeeping until the agent ends.
pub async fn run(node: Node) {
    let services = Arc::clone(&node.services);
    let mut pass = tokio::time::interval(PASS);
    let mut plugins = None;
    loop {
        tokio::select! {
            () = services.litter.notified() => {
                tokio::time::sleep(SETTLE).await;
                sweep(&services).await;
                if node.images().has_removed() {
                    collect(&node).await;
                }
            }
            _ = pass.tick() => {
                strays_pass(&services).await;
                // Plugins may hang for minutes; nothing else waits for them.
                if plugins.as_ref().is_none_or(JoinHandle::is_finished) {
                    plugins = Some(tokio::spawn(networks(node.clone())));
                }
                services.images.sync().await;
                sweep(&services).await;
                collect(&node).await;
            }
        }
    }
}

/// Gives back what earlier stops have left, and has plugins forget who is gone.
async fn networks(node: Node) {
    node.retry_tear_downs().await;
    node.forget_gone().await;
}

/// Deletes what the last removals left behind, for as long as an agent that ends may take.
pub async fn last(node: &Node, patience: Duration) {
    // What is not deleted by then, the next agent deletes.
    drop(tokio::time::timeout(patience, sweep(&node.services)).await);
}

async fn sweep(services: &Arc<Services>) {
    let services = Arc::clone(services);
    let swept = blocking(move || services.snapshots.sweep()).await;
    if let Ok(Err(error)) = swept {
        tracing::warn!(error = %agent_telemetry::chain(&error), "trash not deleted");
    }
}

async fn collect(node: &Node) {
    let in_use = |id: &agent_types::ImageId| node.image_in_use(id);
    if let Err(error) = node.images().collect_garbage(&in_use).await {
        tracing::warn!(error = %agent_telemetry::chain(&error), "images not collected");
    }
}
