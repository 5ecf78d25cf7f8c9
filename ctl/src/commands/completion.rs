use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Invocation;
use crate::error::{CommandError, ExitStatus};
use crate::output::Output;

/// Print what completes ctl's commands in a shell
#[derive(Debug, Args)]
#[command(after_help = "For bash: `ctl completion bash > /etc/bash_completion.d/ctl`")]
pub(crate) struct Completion {
    shell: Shell,
}

/// Runs `ctl completion`.
pub(super) fn run(args: Completion, out: &mut Output) -> Result<ExitStatus, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Invocation::command(), "ctl", &mut script);
    out.stdout(&script)?;
    Ok(ExitStatus::DONE)
}
