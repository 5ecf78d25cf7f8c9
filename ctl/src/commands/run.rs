use clap::{ArgAction, Args};
use proto::agent::RemoveContainerRequest;

use super::create::create;
use super::options::ContainerOptions;
use super::start::start;
use crate::client::Client;
use crate::error::{CommandError, ExitStatus};
use crate::output::Output;
use crate::session::{Foreground, OutputFrom};
use crate::terminal::DetachKeys;

const MORE: &str = "The image is fetched if it is not here. In the foreground, which is the default, \
ctl shows what the container writes, passes signals on to it, and ends with its exit code: 126 if the \
program cannot be executed, 127 if it does not exist, 125 if the request fails. In a terminal, Ctrl-P \
Ctrl-Q leaves the container running.";

/// Create a container and start it
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    override_usage = "ctl run [OPTIONS] IMAGE [COMMAND] [ARG...]",
    after_help = MORE
)]
pub(crate) struct Run {
    /// Let it run in the background, and print its id
    #[arg(short, long)]
    detach: bool,

    /// Keys that leave the container running [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<DetachKeys>,

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

    #[command(flatten)]
    options: ContainerOptions,
}

/// Runs `ctl run`.
pub(super) async fn run(
    args: Run,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    let process = &args.options.process;
    if args.detach && process.names_streams() {
        return Err(CommandError::Usage {
            problem: "streams cannot be joined in the background",
            hint: "leave out either -a or -d",
        });
    }
    let streams = process.streams();
    let terminal = process.has_terminal();
    let mut spec = args.options.spec()?;
    if args.detach {
        let created = create(client, out, &args.options, spec).await?;
        start(client, &created.name).await?;
        out.line(created.id)?;
        return Ok(ExitStatus::DONE);
    }
    Foreground::check_terminal(terminal, streams.stdin)?;
    spec.stdin_once = streams.stdin;
    let auto_remove = spec.auto_remove;
    let created = create(client, out, &args.options, spec).await?;
    let foreground = Foreground {
        client,
        container: created.name.clone(),
        terminal,
        streams,
        // What a terminal shows is of the moment; a plain log is read to its end.
        output: if terminal {
            OutputFrom::Streams
        } else {
            OutputFrom::Log
        },
        keys: args.detach_keys.unwrap_or_default(),
        passes_signals: args.sig_proxy,
    };
    let connected = foreground.connect().await?;
    start(client, &created.name).await?;
    let ended = connected.run(out).await?;
    if auto_remove {
        // The agent does that by itself. Asked for it, it answers when the name is free; refused, the
        // user has left it running.
        let request = RemoveContainerRequest {
            container: created.id,
            force: false,
        };
        drop(client.containers().remove(request).await);
    }
    Ok(ended)
}
