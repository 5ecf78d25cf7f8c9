use clap::Args;
use proto::agent::WaitContainerRequest;

use super::each::Each;
use crate::client::Client;
use crate::error::{CommandError, ExitStatus};
use crate::output::Output;

/// Wait until containers have ended, and print their exit codes
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// Names, ids or starts of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Runs `ctl wait`.
pub(super) async fn run(
    args: Wait,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    let mut each = Each::new();
    for name in &args.containers {
        let answer = client
            .containers()
            .wait(WaitContainerRequest {
                container: name.clone(),
            })
            .await;
        let ended = client
            .of_container(name, "cannot be waited for", answer)
            .await;
        each.line(out, ended.map(|ended| ended.exit_code.to_string()))?;
        // Whoever reads a pipe wants each code when it is there.
        out.flush()?;
    }
    Ok(each.status())
}
