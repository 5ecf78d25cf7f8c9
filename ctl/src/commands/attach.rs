use clap::{ArgAction, Args};
use proto::agent::{ContainerState, InspectContainerRequest};

use crate::client::Client;
use crate::error::{CommandError, ExitStatus};
use crate::output::Output;
use crate::session::{Foreground, OutputFrom, Streams};
use crate::terminal::DetachKeys;

/// Join a running container's streams with one's own
#[derive(Debug, Args)]
#[command(
    after_help = "ctl ends with the code of the container. In a terminal, Ctrl-P Ctrl-Q leaves the container running."
)]
pub(crate) struct Attach {
    /// Keys that leave the container running [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<DetachKeys>,

    /// Send nothing from stdin
    #[arg(long)]
    no_stdin: bool,

    /// Pass signals on, unless the container has a terminal
    #[arg(
        long,
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        value_name = "BOOL",
        hide_possible_values = true
    )]
    sig_proxy: bool,

    /// Name, id or start of an id
    container: String,
}

/// Runs `ctl attach`.
pub(super) async fn run(
    args: Attach,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    let request = InspectContainerRequest {
        container: args.container.clone(),
        ..Default::default()
    };
    let answer = client.containers().inspect(request).await;
    let found = client
        .of_container(&args.container, "cannot be inspected", answer)
        .await?;
    if found.container.unwrap_or_default().state() != ContainerState::Running {
        return Err(CommandError::NotRunning {
            container: args.container,
        });
    }
    let spec = found.spec.unwrap_or_default();
    let stdin = spec.stdin && !args.no_stdin;
    Foreground::check_terminal(spec.terminal, stdin)?;
    let foreground = Foreground {
        client,
        container: args.container,
        terminal: spec.terminal,
        streams: Streams {
            stdin,
            stdout: true,
            stderr: true,
        },
        output: OutputFrom::Streams,
        keys: args.detach_keys.unwrap_or_default(),
        passes_signals: args.sig_proxy,
    };
    foreground.connect().await?.run(out).await
}
