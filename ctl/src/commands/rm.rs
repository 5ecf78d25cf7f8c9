use clap::Args;
use proto::agent::RemoveContainerRequest;
use tonic::Code;

use super::each::Each;
use crate::client::Client;
use crate::error::{CommandError, ExitStatus};
use crate::output::Output;

/// Remove containers
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Kill a container that still runs
    #[arg(short, long)]
    force: bool,

    /// Its volumes too: what it wrote to them always goes with it
    #[arg(short, long)]
    volumes: bool,

    /// Names, ids or starts of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Gives the refusal to remove a running container its hint.
fn in_use(error: CommandError, container: &str) -> CommandError {
    error.hinted(|source| {
        (source.code() == Code::FailedPrecondition).then(|| {
            format!("stop it first with `ctl stop {container}`, or remove it by force with `ctl rm -f {container}`")
        })
    })
}

/// Runs `ctl rm`.
pub(super) async fn run(
    args: Rm,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    let mut each = Each::new();
    for name in &args.containers {
        let request = RemoveContainerRequest {
            container: name.clone(),
            force: args.force,
        };
        let answer = client.containers().remove(request).await;
        let removed = client.of_container(name, "cannot be removed", answer).await;
        match removed.map_err(|error| in_use(error, name)) {
            // With force it is enough that there is none afterwards.
            Err(error @ CommandError::NotFound { .. }) if args.force => {
                out.warning(&error.to_string())
            }
            result => each.line(out, result.map(|_| name))?,
        }
    }
    Ok(each.status())
}
