use clap::Args;

use super::each::Each;
use super::start::start;
use super::stop::{How, stop};
use crate::client::Client;
use crate::error::{CommandError, ExitStatus};
use crate::output::Output;

/// Stop containers and start them again
#[derive(Debug, Args)]
pub(crate) struct Restart {
    #[command(flatten)]
    how: How,

    /// Names, ids or starts of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Runs `ctl restart`.
pub(super) async fn run(
    args: Restart,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    let mut each = Each::new();
    for name in &args.containers {
        let restarted = restart(client, name, &args.how).await.map(|()| name);
        each.line(out, restarted)?;
    }
    Ok(each.status())
}

async fn restart(client: &Client, name: &str, how: &How) -> Result<(), CommandError> {
    stop(client, name, how).await?;
    start(client, name).await
}
