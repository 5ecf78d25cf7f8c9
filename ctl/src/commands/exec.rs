use std::path::PathBuf;

use clap::Args;
use proto::agent::ExecStart;

use crate::client::Client;
use crate::error::{CommandError, ExitStatus};
use crate::output::Output;
use crate::parse::key_value;
use crate::session::{Broken, Connection, End, Foreground, Pump, Signals};
use crate::terminal::{self, DetachKeys, RawTerminal};

/// Run a further process in a running container
#[derive(Debug, Args)]
#[command(
    after_help = "ctl ends with the code of the process: 126 if it cannot be executed, 127 if it or its working directory does not exist, 125 if the request fails."
)]
#[command(override_usage = "ctl exec [OPTIONS] CONTAINER COMMAND [ARG...]")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of docker's")]
pub(crate) struct Exec {
    /// Let it run in the background
    #[arg(short, long)]
    detach: bool,

    /// Keys that leave the process running [default: ctrl-p,ctrl-q]
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<DetachKeys>,

    /// Set NAME=value in its environment; NAME alone takes the value from outside
    #[arg(short, long, value_name = "NAME[=VALUE]", allow_hyphen_values = true)]
    env: Vec<String>,

    /// Read the environment from a file, a NAME=value on each line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,

    /// Send it what comes from stdin
    #[arg(short, long)]
    interactive: bool,

    /// Give it all capabilities
    #[arg(long)]
    privileged: bool,

    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,

    /// Run it as USER[:GROUP], by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,

    /// Run it in this directory of the container
    #[arg(short, long, value_name = "DIRECTORY")]
    workdir: Option<String>,

    /// The container, the program and its arguments
    #[arg(
        required = true,
        num_args = 2..,
        trailing_var_arg = true,
        value_names = ["CONTAINER", "COMMAND"],
        hide = true
    )]
    words: Vec<String>,
}

/// Runs `ctl exec`.
pub(super) async fn run(
    args: Exec,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    let foreground_input = args.interactive && !args.detach;
    Foreground::check_terminal(args.tty, foreground_input)?;
    // Caught before the process starts, lest one ends ctl and not the process.
    let signals = (!args.tty && !args.detach)
        .then(Signals::to_pass_on)
        .transpose()?;
    let connection = Connection::exec(client, start(&args)?).await?;
    if args.detach {
        return Ok(ExitStatus::DONE);
    }
    let mut pump = Pump::new(connection);
    let mut raw = None;
    if args.tty && args.interactive {
        raw = Some(RawTerminal::enter()?);
        pump = pump
            .with_keys(args.detach_keys.unwrap_or_default())
            .with_orderly_end()?;
    }
    if let Some(signals) = signals {
        pump = pump.with_signals_to_process(signals);
    }
    if args.tty {
        pump = pump.with_resizes()?;
    }
    if args.interactive {
        pump = pump.with_stdin()?;
    }
    let end = Box::pin(pump.run(out)).await;
    let was_raw = raw.take().is_some();
    let failed = |status| client.failed("the process's streams are lost", status);
    match end {
        Ok(End::Exited(code)) => Ok(ExitStatus::of_process(code)),
        Ok(End::Signalled(number)) => Ok(ExitStatus::of_signal(number)),
        Ok(End::Detached) => {
            if was_raw {
                out.message("");
            }
            Ok(ExitStatus::DONE)
        }
        Ok(End::Closed) => Err(CommandError::Incomplete { what: "exit code" }),
        Err(Broken::Agent(status)) => Err(failed(status)),
        Err(Broken::Output(error)) => Err(error.into()),
    }
}

fn start(args: &Exec) -> Result<ExecStart, CommandError> {
    let (container, command) = match args.words.split_first() {
        Some((container, command)) => (container.clone(), command.to_vec()),
        None => (String::new(), Vec::new()),
    };
    let env = key_value::environment(&args.env_file, &args.env)
        .map_err(CommandError::option("the environment"))?;
    Ok(ExecStart {
        container,
        command,
        env,
        working_dir: args.workdir.clone().unwrap_or_default(),
        user: args.user.clone().unwrap_or_default(),
        terminal: args.tty,
        terminal_size: terminal::size().filter(|_| args.tty),
        stdin: args.interactive && !args.detach,
        privileged: args.privileged,
        detach: args.detach,
    })
}
