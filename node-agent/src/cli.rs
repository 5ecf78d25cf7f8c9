//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Container service for cluster nodes.
#[derive(Debug, Parser)]
#[command(name = "node-agent", version, about)]
pub(crate) struct Cli {
    /// Configuration file; without one every default holds.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,

    /// Directory for images, records and writable layers.
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) root: Option<PathBuf>,

    /// Directory for what a reboot ends.
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) state: Option<PathBuf>,

    /// Address to serve on, such as unix:///run/node-agent/node-agent.sock; may be repeated.
    #[arg(long, value_name = "URL", global = true)]
    pub(crate) listen: Vec<String>,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every setting with its default.
    Default,
    /// Check the configuration and say what is wrong with it.
    Check,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
