//! How fast a container's output gets to its log file, and what that costs in processor time.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use harness::wait;
use proto::cri::{ContainerState, ContainerStatus};

use crate::cli::Cli;
use crate::cycle::{Pace, Pod, Pods, Times};
use crate::peer::Peer;
use crate::report::{Figure, Report};

/// Bytes of a line, its end included.
const LINE: usize = 100;

/// Bytes that the container writes at a time.
const ROUND: u32 = 6_400_000;

/// A clock tick of `/proc/<pid>/stat` (`USER_HZ` is 100 wherever Linux runs containers).
const TICK: Duration = Duration::from_millis(10);

/// Has a container of each peer write as fast as it is let.
pub(crate) async fn measure(cli: &Cli, peers: &[Peer], report: &mut Report) -> Result<()> {
    for peer in peers {
        let (took, spent) = one(peer, cli.log_megabytes)
            .await
            .with_context(|| peer.name.clone())?;
        let megabytes = f64::from(rounds(cli.log_megabytes)) * f64::from(ROUND) / 1e6;
        let title = "output of a container, lines of 100 bytes";
        let mut row = |label: &str, time: Duration| {
            let figure = Figure::higher(title, label, "MB/s");
            report.add(&figure, &peer.name, megabytes / time.as_secs_f64());
        };
        row("to its log file", took);
        row("a second of processor time", spent);
    }
    Ok(())
}

fn rounds(megabytes: u32) -> u32 {
    (megabytes * 1_000_000).div_ceil(ROUND)
}

/// Returns how long the container wrote, and what daemon and monitors spent on it.
async fn one(peer: &Peer, megabytes: u32) -> Result<(Duration, Duration)> {
    let line = "x".repeat(LINE - 1);
    let rounds = rounds(megabytes);
    let script = format!(
        "yes {line} | head -c {ROUND} > /tmp/round; i=0; \
         while [ $i -lt {rounds} ]; do cat /tmp/round; i=$((i + 1)); done"
    );
    let before = processor_time(peer)?;
    let command = ["/bin/sh", "-c", &script];
    let pod = peer
        .pods
        .up_with(&command, Pace::default(), &mut Times::new())
        .await?;
    let status = ended(&peer.pods, &pod).await?;
    let spent = processor_time(peer)?.saturating_sub(before);
    ensure!(
        status.exit_code == 0,
        "the container ended with {}",
        status.exit_code
    );
    let written = std::fs::metadata(&status.log_path)?.len();
    let least = u64::from(rounds) * u64::from(ROUND);
    ensure!(
        written > least,
        "{written} bytes of log for {least} of output"
    );
    std::fs::remove_file(&status.log_path)?;
    peer.pods
        .down(&pod, Pace::default(), &mut Times::new())
        .await?;
    let took = status.finished_at - status.started_at;
    Ok((Duration::from_nanos(took.try_into()?), spent))
}

async fn ended(pods: &Pods, pod: &Pod) -> Result<ContainerStatus> {
    wait::until_async("the container ends", || async {
        let status = pods.cri.container_status(&pod.container).await?;
        Ok((status.state() == ContainerState::ContainerExited).then_some(status))
    })
    .await
}

/// Returns the processor time of the daemon and its monitors so far, user's and kernel's.
fn processor_time(peer: &Peer) -> Result<Duration> {
    let pids = peer.monitors()?.into_iter().chain(peer.daemon());
    Ok(pids.filter_map(ticks).sum::<u32>() * TICK)
}

fn ticks(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces; behind it come state and numbers (proc_pid_stat(5), fields 14, 15).
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<u32>().ok();
    Some(next()? + next()?)
}
