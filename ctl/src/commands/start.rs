use clap::Args;
use proto::agent::{InspectContainerRequest, StartContainerRequest};

use super::each::Each;
use crate::client::Client;
use crate::error::{CommandError, ExitStatus, hints};
use crate::output::Output;
use crate::session::{Foreground, OutputFrom, Streams};
use crate::terminal::DetachKeys;

/// Start containers that were created or have ended
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// Show the container's output, pass signals on, and end with its code
    #[arg(short, long)]
    attach: bool,

    /// Send the container what comes from stdin; shows its output too
    #[arg(short, long)]
    interactive: bool,

    /// Keys that leave the container running [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS", hide_default_value = true)]
    detach_keys: Option<DetachKeys>,

    /// Names, ids or starts of ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Runs `ctl start`.
pub(super) async fn run(
    args: Start,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    if args.attach || args.interactive {
        return match args.containers.as_slice() {
            [name] => attached(name, &args, client, out).await,
            _ => Err(CommandError::Usage {
                problem: "only one container can be attached to",
                hint: "leave out -a and -i, or start one at a time",
            }),
        };
    }
    let mut each = Each::new();
    for name in &args.containers {
        let started = start(client, name).await.map(|()| name);
        each.line(out, started)?;
    }
    Ok(each.status())
}

/// Starts one container.
pub(super) async fn start(client: &Client, name: &str) -> Result<(), CommandError> {
    let request = StartContainerRequest {
        container: name.to_owned(),
    };
    let answer = client.containers().start(request).await;
    client
        .of_container(name, "cannot be started", answer)
        .await
        .map_err(|error| error.hinted(hints::not_started))?;
    Ok(())
}

async fn attached(
    name: &str,
    args: &Start,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    let request = InspectContainerRequest {
        container: name.to_owned(),
        ..Default::default()
    };
    let answer = client.containers().inspect(request).await;
    let found = client
        .of_container(name, "cannot be inspected", answer)
        .await?;
    let spec = found.spec.unwrap_or_default();
    let stdin = args.interactive && spec.stdin;
    Foreground::check_terminal(spec.terminal, stdin)?;
    let foreground = Foreground {
        client,
        container: name.to_owned(),
        terminal: spec.terminal,
        streams: Streams {
            stdin,
            stdout: true,
            stderr: true,
        },
        output: OutputFrom::Streams,
        keys: args.detach_keys.clone().unwrap_or_default(),
        passes_signals: true,
    };
    let connected = foreground.connect().await?;
    start(client, name).await?;
    connected.run(out).await
}
