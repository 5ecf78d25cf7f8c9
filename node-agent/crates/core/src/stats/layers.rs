//! Counting what containers have written to their own layers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_snapshot::Snapshots;
use agent_types::{ContainerId, SnapshotKey};

use super::Layer;
use crate::node::Node;
use crate::services::blocking;
use crate::time::Timestamp;

/// After a pass the next one waits this many times as long as it took: about a twentieth of a core.
const REST: u32 = 20;

/// No pass waits longer, unless samples are further apart.
const LONGEST_REST: Duration = Duration::from_secs(600);

/// Counts a layer; blocking, for as long as it has files. `None` when that cannot be done.
pub(super) fn count(snapshots: &Snapshots, id: &ContainerId) -> Option<Layer> {
    let at = Timestamp::now();
    let usage = snapshots.usage(&SnapshotKey::from(id)).ok()?;
    Some(Layer { usage, at })
}

/// Counts the layers of running containers, one after the other, while somebody reads.
pub(super) async fn run(node: &Node) {
    let sampler = &node.services.sampler;
    loop {
        sampler.layers_read.notified().await;
        while sampler.is_read() {
            let begun = Instant::now();
            pass(node).await;
            tokio::time::sleep(rest(begun.elapsed(), sampler.period())).await;
        }
    }
}

/// Returns how long to wait after a pass that took so long.
fn rest(took: Duration, period: Duration) -> Duration {
    took.saturating_mul(REST).min(LONGEST_REST).max(period)
}

async fn pass(node: &Node) {
    for id in super::pass::running(node) {
        let services = Arc::clone(&node.services);
        let counted = blocking(move || {
            if let Some(layer) = count(&services.snapshots, &id) {
                services.sampler.keep_layer(&id, layer);
            }
        });
        if counted.await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_rests_for_a_period_at_least_however_long_that_is() {
        let seconds = Duration::from_secs;
        for (took, period, wait) in [
            (0, 2, 2),
            (1, 2, 20),
            (1_000, 2, 600),
            (1_000, 3_600, 3_600),
        ] {
            assert_eq!(rest(seconds(took), seconds(period)), seconds(wait));
        }
    }
}
