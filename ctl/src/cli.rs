//! The command line: what all commands share, and how its mistakes are reported.

use std::ffi::OsString;

use clap::builder::BoolishValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser};

use crate::commands::Command;
use crate::error::{ExitCodes, ExitStatus};
use crate::output::Output;
use crate::refused;

/// Run and look after containers on this node.
#[derive(Debug, Parser)]
#[command(name = "ctl", version, max_term_width = 100)]
#[command(after_help = "`ctl COMMAND --help` tells more about a command.")]
pub(crate) struct Invocation {
    /// Socket of the agent.
    #[arg(
        short = 'H',
        long,
        env = "NODE_AGENT_HOST",
        hide_env_values = true,
        default_value = "unix:///run/node-agent/node-agent.sock",
        value_name = "ADDRESS"
    )]
    pub(crate) host: String,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What keeps a command line from being run: a mistake in it, or a wish for help.
#[derive(Debug)]
pub(crate) struct Stop {
    error: clap::Error,
    codes: ExitCodes,
}

impl Invocation {
    /// Reads the command line.
    pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Self, Stop> {
        let arguments: Vec<_> = arguments.collect();
        let parsed = with_optional_values(Self::command())
            .try_get_matches_from(&arguments)
            .and_then(|matches| Self::from_arg_matches(&matches));
        parsed.map_err(|error| {
            let error = by_name(error, &arguments);
            // The help is better read without the `[=<BOOL>]` behind each switch.
            let plain = match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                    Self::command().try_get_matches_from(&arguments).err()
                }
                _ => None,
            };
            Stop {
                error: plain.unwrap_or(error),
                codes: codes_of(&arguments),
            }
        })
    }
}

/// Says of a flag of docker's why it is refused; any other mistake stays as it is.
fn by_name(error: clap::Error, arguments: &[OsString]) -> clap::Error {
    let flag = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) if error.kind() == ErrorKind::UnknownArgument => flag,
        _ => return error,
    };
    let refusal =
        command_of(arguments).and_then(|command| Some((command, refused::reason(command, flag)?)));
    let Some((command, reason)) = refusal else {
        return error;
    };
    let message = format!("docker's {flag} is not supported by ctl {command}: {reason}");
    let mut ctl = Invocation::command();
    ctl.build();
    let usage = ctl.find_subcommand_mut(command);
    clap::Error::raw(ErrorKind::UnknownArgument, message).format(match usage {
        Some(command) => command,
        None => &mut ctl,
    })
}

/// Makes every switch take `=true` and `=false` too, as docker's do.
fn with_optional_values(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| {
        if !matches!(arg.get_action(), ArgAction::SetTrue) {
            return arg;
        }
        arg.action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .value_parser(BoolishValueParser::new())
    });
    command.mut_subcommands(with_optional_values)
}

/// Returns the command of a command line that could not be read.
fn command_of(arguments: &[OsString]) -> Option<&str> {
    let mut words = arguments.iter().skip(1).filter_map(|word| word.to_str());
    let mut group = None;
    while let Some(word) = words.next() {
        match word {
            "-H" | "--host" => drop(words.next()),
            "container" | "image" => group = Some(word),
            _ if word.starts_with('-') => {}
            _ => {
                return Some(match (group, word) {
                    (Some("container"), "ls" | "list") => "ps",
                    (Some("image"), "ls" | "list") => "images",
                    (Some("image"), "rm" | "remove") => "rmi",
                    (Some("container"), "remove") => "rm",
                    _ => word,
                });
            }
        }
    }
    None
}

/// Tells which codes a command line has that could not be read.
fn codes_of(arguments: &[OsString]) -> ExitCodes {
    match command_of(arguments) {
        Some("run" | "exec") => ExitCodes::Process,
        Some("create") => ExitCodes::Create,
        _ => ExitCodes::Plain,
    }
}

impl Stop {
    /// Shows the help or the mistake, and returns the code to end with.
    pub(crate) fn report(self, out: &mut Output) -> ExitStatus {
        let text = self.error.render();
        if !self.error.use_stderr() {
            let shown = out.help(&text).and_then(|()| out.flush());
            return match shown {
                Err(error) if error.is_broken_pipe() => ExitStatus::BROKEN_PIPE,
                Err(_) => ExitStatus::FAILED,
                Ok(()) => ExitStatus::DONE,
            };
        }
        out.usage(&text);
        match self.codes {
            ExitCodes::Plain => ExitStatus::USAGE,
            ExitCodes::Create | ExitCodes::Process => ExitStatus::AGENT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(line: &str) -> ExitCodes {
        codes_of(&line.split(' ').map(Into::into).collect::<Vec<_>>())
    }

    #[test]
    fn the_definition_is_sound() {
        Invocation::command().debug_assert();
        with_optional_values(Invocation::command()).debug_assert();
    }

    #[test]
    fn mistakes_have_the_codes_of_their_command() {
        assert_eq!(codes("ctl run --frob"), ExitCodes::Process);
        assert_eq!(codes("ctl -H unix:///x exec --frob"), ExitCodes::Process);
        assert_eq!(
            codes("ctl --host=unix:///x container run --frob"),
            ExitCodes::Process
        );
        assert_eq!(codes("ctl create --frob"), ExitCodes::Create);
        assert_eq!(codes("ctl stop run"), ExitCodes::Plain);
        assert_eq!(codes("ctl ps --frob"), ExitCodes::Plain);
    }
}
