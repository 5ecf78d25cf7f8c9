//! What a shim costs. The memory bound always holds; the rest is printed, by hand, against a
//! release build: `NODE_AGENT_SHIM=<binary> cargo test -p shim --test real measure -- --ignored --nocapture`.
#![allow(clippy::print_stdout, reason = "measurements are read by people")]

use std::fs;
use std::time::Instant;

use crate::harness::{Node, Sandbox, until};

/// Pod-sized load: what one node's shims are measured with.
const SHIMS: usize = 50;

/// Design bound, in KiB; the release build is far below.
const BOUND: u64 = 300;

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
    let all = || -> Vec<u64> {
        let mut all: Vec<u64> = sandboxes
            .iter()
            .map(|sandbox| pss(sandbox.ready.pid))
            .collect();
        all.sort_unstable();
        all
    };
    let before = all();
    // Memory that the start needed is given back a moment after it, on the shim's own clock.
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let mut settled = before.clone();
    until("memory settles", || {
        settled = all();
        settled[SHIMS - 1] <= BOUND
    })
    .await;
    let launcher = node.launcher.pid().await.unwrap();
    println!(
        "pss of {SHIMS} shims with a container: median {} KiB, largest {} KiB (just started {}); launcher {} KiB",
        settled[SHIMS / 2],
        settled[SHIMS - 1],
        before[SHIMS / 2],
        pss(launcher),
    );
    for sandbox in sandboxes {
        sandbox.end().await;
    }
}

#[tokio::test]
#[ignore = "a measurement, read by people"]
async fn measure_launch() {
    let node = Node::start().await;
    for pause in [0, 100] {
        let mut times = [Vec::new(), Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..100 {
            tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
            let spec = node.spec();
            let plan = node.container("exec sleep 1000");
            let mut marks = vec![Instant::now()];
            let sandbox = node.launch(spec).await;
            marks.push(Instant::now());
            sandbox.create(&plan).await.unwrap();
            marks.push(Instant::now());
            sandbox.shim.start_container(&plan.id).await.unwrap();
            marks.push(Instant::now());
            sandbox.end().await;
            marks.push(Instant::now());
            for (times, pair) in times.iter_mut().zip(marks.windows(2)) {
                times.push(pair[1] - pair[0]);
            }
        }
        for (name, times) in ["launch", "create", "start", "shutdown"]
            .iter()
            .zip(&mut times)
        {
            times.sort_unstable();
            println!(
                "pause {pause} ms, {name}: least {:?}, p50 {:?}, p95 {:?}",
                times[0], times[50], times[95]
            );
        }
    }
}

#[tokio::test]
#[ignore = "a measurement, read by people"]
async fn measure_log_throughput() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    let line = "0123456789".repeat(10);
    let line = &line[1..];
    let plan = node.container(&format!(
        "dd if=/dev/zero of=/tmp/a bs=1M count=1 2>/dev/null; yes {line} | head -c 6400000 > /tmp/b; \
         for i in $(seq 1 200); do cat /tmp/b; done"
    ));
    let start = Instant::now();
    let report = sandbox.run(&plan).await;
    let elapsed = start.elapsed();
    let stat = fs::read_to_string(format!("/proc/{}/stat", sandbox.ready.pid)).unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let seconds = |field: usize| f64::from(fields[field].parse::<u32>().unwrap()) / 100.0;
    let (user, system) = (seconds(11), seconds(12));
    let bytes = 200.0 * 6.4;
    assert_eq!(report.dropped_log_lines, 0);
    println!(
        "{bytes} MB of 100-byte lines in {elapsed:?}: {:.0} MB/s; {:.0} MB for each second of the shim's cpu ({user} s user, {system} s system)",
        bytes / elapsed.as_secs_f64(),
        bytes / (user + system),
    );
    sandbox.end().await;
}
