use clap::Args;
use proto::agent::StopContainerRequest;

use super::each::Each;
use crate::client::Client;
use crate::error::{CommandError, ExitStatus};
use crate::output::Output;

/// Stop running containers
#[derive(Debug, Args)]
#[command(
    after_help = "Each container gets its stop signal, and SIGKILL if it has not ended in time."
)]
pub(crate) struct Stop {
    #[command(flatten)]
    pub(super) how: How,

    /// Names, ids or starts of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// How a container is stopped.
#[derive(Debug, Args)]
pub(super) struct How {
    /// Signal to send in place of the container's own
    #[arg(short, long)]
    signal: Option<String>,

    /// Seconds to wait before SIGKILL; the container's own, or 10
    #[arg(
        short = 't',
        long = "timeout",
        visible_alias = "time",
        value_name = "SECONDS"
    )]
    timeout: Option<u32>,
}

/// Runs `ctl stop`.
pub(super) async fn run(
    args: Stop,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    let mut each = Each::new();
    for name in &args.containers {
        let stopped = stop(client, name, &args.how).await.map(|()| name);
        each.line(out, stopped)?;
    }
    Ok(each.status())
}

/// Stops one container.
pub(super) async fn stop(client: &Client, name: &str, how: &How) -> Result<(), CommandError> {
    let request = StopContainerRequest {
        container: name.to_owned(),
        timeout: how.timeout,
        signal: how.signal.clone().unwrap_or_default(),
    };
    let answer = client.containers().stop(request).await;
    client
        .of_container(name, "cannot be stopped", answer)
        .await?;
    Ok(())
}
