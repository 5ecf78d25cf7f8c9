use clap::Args;
use proto::agent::{LogEntry, LogsRequest, StreamKind};

use crate::client::Client;
use crate::error::{CommandError, ExitStatus};
use crate::output::{Output, OutputError, utc_time};
use crate::parse::limit::{Tail, tail};
use crate::parse::moment::{Moment, moment};

/// Show what a container has written
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Go on with what it writes, until it ends
    #[arg(short, long)]
    follow: bool,

    /// Only from here: a time, or how long ago, such as 10m
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Moment>,

    /// Only up to here: a time, or how long ago
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Moment>,

    /// Only so many of the last lines, or all
    #[arg(short = 'n', long, value_name = "LINES", default_value = "all", value_parser = tail, allow_hyphen_values = true)]
    tail: Tail,

    /// Each line with its time
    #[arg(short, long)]
    timestamps: bool,

    /// Name, id or start of an id
    container: String,
}

/// Runs `ctl logs`.
pub(super) async fn run(
    args: Logs,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    let request = LogsRequest {
        container: args.container.clone(),
        follow: args.follow,
        tail: args.tail.0,
        since: args.since.map_or(0, |Moment(time)| time),
        until: args.until.map_or(0, |Moment(time)| time),
        stdout: true,
        stderr: true,
    };
    let answer = client.containers().logs(request).await;
    let mut entries = client
        .of_container(&args.container, "has no log to show", answer)
        .await?;
    let mut printer = Printer {
        timestamps: args.timestamps,
        within_line: [false; 2],
    };
    let failed =
        |status| client.failed(format!("the log of {} ends early", args.container), status);
    while let Some(entry) = entries.message().await.map_err(failed)? {
        printer.print(&entry, out)?;
    }
    Ok(ExitStatus::DONE)
}

/// Writes entries, and remembers of each stream whether a line is unfinished.
#[derive(Debug)]
struct Printer {
    timestamps: bool,
    within_line: [bool; 2],
}

impl Printer {
    fn print(&mut self, entry: &LogEntry, out: &mut Output) -> Result<(), OutputError> {
        let stderr = entry.stream() == StreamKind::Stderr;
        let within_line = &mut self.within_line[usize::from(stderr)];
        let mut bytes = Vec::with_capacity(entry.data.len() + 32);
        if self.timestamps && !*within_line {
            bytes.extend_from_slice(utc_time(entry.time).as_bytes());
            bytes.push(b' ');
        }
        bytes.extend_from_slice(&entry.data);
        *within_line = entry.data.last().is_some_and(|last| *last != b'\n');
        if stderr {
            out.stderr(&bytes)
        } else {
            out.stdout(&bytes)
        }
    }
}
