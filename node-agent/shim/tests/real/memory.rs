//! What a shim may cost: the bound on its memory. Figures are taken by `tests/bench`.

use std::fs;
use std::time::Duration;

use crate::harness::{Node, Sandbox, until};

/// Pod-sized load: what one node's shims are measured with.
const SHIMS: usize = 50;

/// Design bound, in KiB; the release build is far below.
const BOUND: u64 = 300;

/// How long a shim keeps buffers that nobody uses.
const KEEP: Duration = Duration::from_millis(250);

fn pss(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup
        .lines()
        .find(|line| line.starts_with("Pss:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn with_a_container(node: &Node) -> Sandbox<'_> {
    let sandbox = node.sandbox().await;
    let plan = node.container("seq 1 20000; exec sleep 1000");
    sandbox.start(&plan).await;
    sandbox.output(&plan.id, "echo session").await;
    sandbox
}

#[tokio::test]
async fn a_shim_stays_small() {
    let node = Node::start().await;
    let mut sandboxes = Vec::new();
    for _ in 0..SHIMS {
        sandboxes.push(with_a_container(&node).await);
    }
    let largest = || {
        let each = sandboxes.iter().map(|sandbox| pss(sandbox.ready.pid));
        each.max().unwrap()
    };
    // Memory that the start needed is given back a moment after it, on the shim's own clock.
    until("memory settles", || largest() <= BOUND).await;
    let at_first = largest();
    tokio::time::sleep(2 * KEEP).await;
    let later = largest();
    assert!(later <= BOUND, "{at_first} KiB became {later} KiB");
    for sandbox in sandboxes {
        sandbox.end().await;
    }
}
