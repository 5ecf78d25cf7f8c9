use clap::Args;
use proto::agent::KillContainerRequest;

use super::each::Each;
use crate::client::Client;
use crate::error::{CommandError, ExitStatus, hints};
use crate::output::Output;

/// Send running containers a signal
#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// Signal to send, by name or number
    #[arg(short, long, default_value = "SIGKILL")]
    signal: String,

    /// Names, ids or starts of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Runs `ctl kill`.
pub(super) async fn run(
    args: Kill,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    let mut each = Each::new();
    for name in &args.containers {
        let request = KillContainerRequest {
            container: name.clone(),
            signal: args.signal.clone(),
        };
        let answer = client.containers().kill(request).await;
        let killed = client
            .of_container(name, "cannot be sent a signal", answer)
            .await
            .map_err(|error| error.hinted(|source| hints::not_running(source, name)));
        each.line(out, killed.map(|_| name))?;
    }
    Ok(each.status())
}
