//! What the benchmark may be told.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Compares CRI endpoints: the same pod cycle, in turns.
#[derive(Debug, Parser)]
pub(crate) struct Cli {
    /// Peers to start on private roots, and to stop again; all of them if no peer is named.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) peers: Vec<Known>,
    /// A running endpoint: name=socket, or name=socket,pid=daemon.
    #[arg(long = "peer", value_name = "NAME=SOCKET[,pid=PID]", value_parser = parse_external)]
    pub(crate) external: Vec<External>,
    /// What ratios are against; the first peer unless given.
    #[arg(long, value_name = "NAME")]
    pub(crate) baseline: Option<String>,
    /// What to measure; everything unless given.
    #[arg(long, value_delimiter = ',')]
    pub(crate) measure: Vec<Measure>,
    /// Pods of a peer for the latencies, each of back to back and paced.
    #[arg(long, default_value_t = 50)]
    pub(crate) runs: usize,
    /// Pods of a peer before the turn goes to the next.
    #[arg(long, default_value_t = 10)]
    pub(crate) turn: usize,
    /// Milliseconds of rest before a peer's turn: the kernel still cleans up after the other's pods.
    #[arg(long, default_value_t = 1000)]
    pub(crate) rest: u64,
    /// Milliseconds of pause before each group of calls (up, exec, down) when paced.
    #[arg(long, default_value_t = 100)]
    pub(crate) pause: u64,
    /// Pause before every single call when paced, which shows what a quiet node costs each.
    #[arg(long)]
    pub(crate) pause_every_call: bool,
    /// Pods under way at once when flat out.
    #[arg(long, default_value_t = 8)]
    pub(crate) concurrency: usize,
    /// Seconds of each peer's turn when flat out; there are two turns.
    #[arg(long, default_value_t = 8)]
    pub(crate) seconds: u64,
    /// Pods that run while memory is read.
    #[arg(long, default_value_t = 50)]
    pub(crate) pods: usize,
    /// Pods that run while the start of one more is timed.
    #[arg(long, default_value_t = 300)]
    pub(crate) running: usize,
    /// Pods that run while the daemon is restarted.
    #[arg(long, default_value_t = 100)]
    pub(crate) restart_pods: usize,
    /// Pulls of the large image by each peer.
    #[arg(long, default_value_t = 3)]
    pub(crate) pulls: usize,
    /// Megabytes of output that a container writes to its log.
    #[arg(long, default_value_t = 640)]
    pub(crate) log_megabytes: u32,
    /// Megabytes of output for a client of exec or attach.
    #[arg(long, default_value_t = 640)]
    pub(crate) stream_megabytes: u32,
    /// Probes that are timed.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) probes: usize,
    /// Probes a second.
    #[arg(long, default_value_t = 100)]
    pub(crate) probe_rate: u32,
    /// Write the figures here too, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// The agent to measure.
    #[arg(long, value_name = "FILE", default_value = "target/release/node-agent")]
    pub(crate) agent: PathBuf,
    /// Stay in the host's network and mount namespaces.
    #[arg(long)]
    pub(crate) host_network: bool,
}

/// A peer the benchmark can start itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Known {
    /// Debian's containerd with runc.
    ContainerdRunc,
    /// Debian's containerd with crun.
    ContainerdCrun,
    /// This project's agent.
    NodeAgent,
    /// The same, its pods joined to a network by the plugins that containerd calls.
    NodeAgentPlugins,
}

/// An endpoint that runs already.
#[derive(Clone, Debug)]
pub(crate) struct External {
    pub(crate) name: String,
    pub(crate) socket: PathBuf,
    pub(crate) pid: Option<u32>,
}

/// A peer asked for.
#[derive(Clone, Debug)]
pub(crate) enum PeerSpec {
    Known(Known),
    External(External),
}

/// One kind of figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Measure {
    /// Time of each call, back to back and paced.
    Latency,
    /// Pods started per second, flat out.
    Throughput,
    /// Memory of the daemon and of what it keeps for each pod.
    Memory,
    /// The start of one more pod when many run.
    More,
    /// The lists that a kubelet asks for, when many run.
    Lists,
    /// The daemon's restart under running pods.
    Restart,
    /// Pulling a large image.
    Pull,
    /// A container's output on its way to the log file.
    Logs,
    /// Output on its way to clients of exec and attach.
    Streaming,
    /// Programs run in containers at a steady rate, as probes are.
    Probes,
}

impl fmt::Display for Measure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.to_possible_value().map_or("?", |_| self.name()))
    }
}

impl Measure {
    fn name(self) -> &'static str {
        match self {
            Self::Latency => "latency",
            Self::Throughput => "throughput",
            Self::Memory => "memory",
            Self::More => "one more pod",
            Self::Lists => "lists",
            Self::Restart => "restart",
            Self::Pull => "pull",
            Self::Logs => "logs",
            Self::Streaming => "streaming",
            Self::Probes => "probes",
        }
    }
}

impl Cli {
    /// Returns every peer asked for, those to be started first.
    pub(crate) fn peers(&self) -> Vec<PeerSpec> {
        let known = match (self.peers.as_slice(), self.external.as_slice()) {
            ([], []) => Known::value_variants(),
            (named, _) => named,
        };
        let known = known.iter().copied().map(PeerSpec::Known);
        known
            .chain(self.external.iter().cloned().map(PeerSpec::External))
            .collect()
    }

    /// Returns the measurements asked for.
    pub(crate) fn measures(&self) -> Vec<Measure> {
        if self.measure.is_empty() {
            Measure::value_variants().to_vec()
        } else {
            self.measure.clone()
        }
    }

    /// Returns the name of the peer that ratios are against.
    pub(crate) fn baseline(&self) -> String {
        let first = || self.peers().first().map(PeerSpec::name).unwrap_or_default();
        self.baseline.clone().unwrap_or_else(first)
    }

    /// Returns the rest before a turn.
    pub(crate) fn rest(&self) -> Duration {
        Duration::from_millis(self.rest)
    }

    /// Returns the pause of the paced runs.
    pub(crate) fn pause(&self) -> Duration {
        Duration::from_millis(self.pause)
    }
}

impl PeerSpec {
    /// Returns the peer's name in the report.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Known(Known::ContainerdRunc) => "containerd-runc".to_owned(),
            Self::Known(Known::ContainerdCrun) => "containerd-crun".to_owned(),
            Self::Known(Known::NodeAgent) => "node-agent".to_owned(),
            Self::Known(Known::NodeAgentPlugins) => "node-agent-plugins".to_owned(),
            Self::External(external) => external.name.clone(),
        }
    }
}

fn parse_external(text: &str) -> Result<External, String> {
    let (name, rest) = text.split_once('=').ok_or("expected name=socket")?;
    let (socket, pid) = match rest.split_once(",pid=") {
        Some((socket, pid)) => (
            socket,
            Some(
                pid.parse()
                    .map_err(|_| format!("{pid} is not a process id"))?,
            ),
        ),
        None => (rest, None),
    };
    let socket = PathBuf::from(socket.strip_prefix("unix://").unwrap_or(socket));
    Ok(External {
        name: name.to_owned(),
        socket,
        pid,
    })
}
