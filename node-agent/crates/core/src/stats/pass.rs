//! Reading everything that runs, again and again while somebody wants to know.

use std::sync::Arc;

use agent_types::ContainerId;

use super::layers;
use super::read::{close, is_running, sample_container, sample_sandbox};
use crate::node::Node;
use crate::sandbox::actor::SandboxHandle;
use crate::sandbox::view::SandboxView;
use crate::services::{Services, blocking};

/// Samples until the agent ends.
pub async fn run(node: Node) {
    tokio::join!(samples(&node), layers::run(&node));
}

async fn samples(node: &Node) {
    let sampler = &node.services.sampler;
    loop {
        sampler.read.notified().await;
        while sampler.is_read() {
            tokio::time::sleep(sampler.period()).await;
            let sandboxes = everything(node);
            let services = Arc::clone(&node.services);
            if blocking(move || pass(&services, &sandboxes)).await.is_err() {
                return;
            }
        }
        sampler.rest();
        for sandbox in everything(node) {
            close(&sandbox);
        }
    }
}

fn everything(node: &Node) -> Vec<Arc<SandboxView>> {
    let handles = node.index.sandboxes(None);
    handles.iter().map(SandboxHandle::view).collect()
}

/// Returns every running container.
pub(super) fn running(node: &Node) -> Vec<ContainerId> {
    everything(node)
        .iter()
        .flat_map(|sandbox| sandbox.containers.iter().filter(|one| is_running(one)))
        .map(|container| container.record.id.clone())
        .collect()
}

/// Reads everything that runs; what ends meanwhile is left out.
fn pass(services: &Services, sandboxes: &[Arc<SandboxView>]) {
    for sandbox in sandboxes {
        drop(sample_sandbox(services, sandbox));
        for container in &sandbox.containers {
            drop(sample_container(services, container));
        }
    }
    services.sampler.retain(sandboxes);
}
