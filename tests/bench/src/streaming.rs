//! How fast output gets to a client of exec or attach, and what the daemon holds for it.

use anyhow::{Context as _, Result, ensure};
use harness::process;
use proto::cri::{AttachRequest, ExecRequest};

use crate::cli::Cli;
use crate::client::{Carrier, Client};
use crate::cycle::{Pace, Pod, Times};
use crate::peer::Peer;
use crate::report::{Figure, Report};

/// What one write of the process holds, in KiB.
const BLOCK: u32 = 64;

/// Measures each peer, call by call.
pub(crate) async fn measure(cli: &Cli, peers: &[Peer], report: &mut Report) -> Result<()> {
    for peer in peers {
        let memory = |peer: &Peer| peer.daemon().map_or(0, process::peak_rss_kib);
        let before = memory(peer);
        for (call, carrier, label) in [
            (Call::Exec, Carrier::WebSocket, "exec, WebSocket"),
            (Call::Exec, Carrier::Spdy, "exec, SPDY"),
            (Call::Attach, Carrier::WebSocket, "attach, WebSocket"),
            (Call::Attach, Carrier::Spdy, "attach, SPDY"),
        ] {
            let rate = one(peer, cli.stream_megabytes, call, carrier)
                .await
                .with_context(|| format!("{}: {label}", peer.name))?;
            let figure = Figure::higher(TITLE, label, "MB/s");
            report.add(&figure, &peer.name, rate);
        }
        let grown = memory(peer).saturating_sub(before);
        let figure = Figure::lower(TITLE, "daemon's peak memory grew by", "KiB");
        report.add(&figure, &peer.name, f64::from(u32::try_from(grown)?));
    }
    Ok(())
}

const TITLE: &str = "output of a process to a client";

/// Which streams are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    /// Those of a further process.
    Exec,
    /// Those of the container.
    Attach,
}

/// Returns megabytes a second.
async fn one(peer: &Peer, megabytes: u32, call: Call, carrier: Carrier) -> Result<f64> {
    let count = megabytes * 1_000_000 / (BLOCK << 10);
    let write = format!("exec dd if=/dev/zero bs={BLOCK}k count={count} 2>/dev/null");
    let line = match call {
        Call::Exec => "exec sleep 17393".to_owned(),
        Call::Attach => format!("while [ ! -e /go ]; do sleep 0.01; done; {write}"),
    };
    let pods = &peer.pods;
    let command = ["/bin/sh", "-c", &line];
    let pod = pods
        .up_with(&command, Pace::default(), &mut Times::new())
        .await?;
    let url = match call {
        Call::Exec => exec_url(peer, &pod, &write).await?,
        Call::Attach => attach_url(peer, &pod).await?,
    };
    let client = tokio::task::spawn_blocking(move || Client::connect(&url, carrier)).await??;
    let reading = tokio::task::spawn_blocking(move || client.read());
    if call == Call::Attach {
        let touch = ["/bin/sh", "-c", "echo >/go"];
        pods.cri
            .exec(&pod.container, &touch, 10)
            .await
            .context("let the container write")?;
    }
    let (bytes, took) = reading.await??;
    let wanted = u64::from(count) * u64::from(BLOCK << 10);
    ensure!(bytes == wanted, "{bytes} bytes came of {wanted}");
    let status = pods.cri.container_status(&pod.container).await?;
    pods.down(&pod, Pace::default(), &mut Times::new()).await?;
    // An attached container's output is in its log as well.
    std::fs::remove_file(&status.log_path)?;
    Ok(f64::from(count) * f64::from(BLOCK << 10) / 1e6 / took.as_secs_f64())
}

async fn exec_url(peer: &Peer, pod: &Pod, line: &str) -> Result<String> {
    let request = ExecRequest {
        container_id: pod.container.clone(),
        cmd: ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
        stdout: true,
        ..ExecRequest::default()
    };
    let answer = peer.pods.cri.runtime.clone().exec(request).await?;
    Ok(answer.into_inner().url)
}

async fn attach_url(peer: &Peer, pod: &Pod) -> Result<String> {
    let request = AttachRequest {
        container_id: pod.container.clone(),
        stdout: true,
        ..AttachRequest::default()
    };
    let answer = peer.pods.cri.runtime.clone().attach(request).await?;
    Ok(answer.into_inner().url)
}
