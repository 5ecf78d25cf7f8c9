use std::path::PathBuf;

use clap::{Args, ValueEnum};
use proto::agent::ContainerSpec;

use crate::error::CommandError;
use crate::parse::key_value;
use crate::session::Streams;

/// A standard stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::commands) enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

/// What runs in the container.
#[derive(Debug, Args)]
#[command(next_help_heading = "Process")]
pub(in crate::commands) struct Process {
    /// Join only these streams: stdin, stdout, stderr
    #[arg(
        short,
        long,
        value_name = "STREAM",
        hide_possible_values = true,
        ignore_case = true
    )]
    attach: Vec<Stream>,

    /// Keep its stdin open, and send it what comes from ctl's
    #[arg(short, long)]
    interactive: bool,

    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,

    /// Set NAME=value in its environment; NAME alone takes the value from outside
    #[arg(short, long, value_name = "NAME[=VALUE]", allow_hyphen_values = true)]
    env: Vec<String>,

    /// Read the environment from a file, a NAME=value on each line
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,

    /// Program to run in place of the image's entrypoint; empty: no entrypoint
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,

    /// Directory of the container to run it in
    #[arg(short, long, value_name = "DIRECTORY")]
    workdir: Option<String>,

    /// Run it as USER[:GROUP], by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,

    /// Further group for its user, by name or number
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,

    /// Run an init before it that forwards signals and reaps
    #[arg(long)]
    init: bool,

    /// Signal that asks it to end
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,

    /// Seconds from that signal to SIGKILL
    #[arg(long, value_name = "SECONDS")]
    stop_timeout: Option<u32>,
}

impl Process {
    /// Tells whether the process has a terminal.
    pub(in crate::commands) fn has_terminal(&self) -> bool {
        self.tty
    }

    /// Tells whether streams were named that are to be joined.
    pub(in crate::commands) fn names_streams(&self) -> bool {
        !self.attach.is_empty()
    }

    /// Returns the streams that are joined in the foreground.
    pub(in crate::commands) fn streams(&self) -> Streams {
        let named = |stream| self.attach.is_empty() || self.attach.contains(&stream);
        Streams {
            stdin: self.interactive && named(Stream::Stdin),
            stdout: named(Stream::Stdout),
            stderr: named(Stream::Stderr),
        }
    }

    pub(super) fn fill(&self, spec: &mut ContainerSpec) -> Result<(), CommandError> {
        // An empty entrypoint clears the image's.
        spec.clear_entrypoint = self.entrypoint.as_deref() == Some("");
        spec.entrypoint = self
            .entrypoint
            .iter()
            .filter(|program| !program.is_empty())
            .cloned()
            .collect();
        spec.env = key_value::environment(&self.env_file, &self.env)
            .map_err(CommandError::option("the environment"))?;
        spec.working_dir = self.workdir.clone().unwrap_or_default();
        spec.user = self.user.clone().unwrap_or_default();
        spec.group_add.clone_from(&self.group_add);
        spec.terminal = self.tty;
        spec.stdin = self.interactive;
        spec.init = self.init;
        spec.stop_signal = self.stop_signal.clone().unwrap_or_default();
        spec.stop_timeout = self.stop_timeout;
        Ok(())
    }
}
