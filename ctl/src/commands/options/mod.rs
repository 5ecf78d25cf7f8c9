//! What a container is to be: the flags that `run` and `create` share.
//!
//! Owns: the flags by subject, and the spec made of them. Does not: send it.
//! Start reading at [`ContainerOptions::spec`].

mod identity;
mod network;
mod process;
mod resources;
mod security;
mod storage;
#[cfg(test)]
mod tests;

use clap::{Args, ValueEnum};
use proto::agent::ContainerSpec;

use crate::error::CommandError;
use crate::terminal;

/// When the image is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PullWhen {
    /// When it is not here
    Missing,
    /// Each time
    Always,
    /// Not at all
    Never,
}

/// Where the image comes from.
#[derive(Debug, Args)]
pub(super) struct ImageOptions {
    /// Fetch the image
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pub(super) pull: PullWhen,

    /// Fetch for OS/ARCHITECTURE[/VARIANT] in place of this machine
    #[arg(long)]
    pub(super) platform: Option<String>,

    /// Show nothing of the fetching
    #[arg(short, long)]
    pub(super) quiet: bool,
}

/// What a container is to be.
#[derive(Debug, Args)]
pub(super) struct ContainerOptions {
    #[command(flatten)]
    pub(super) identity: identity::Identity,

    #[command(flatten)]
    pub(super) image: ImageOptions,

    #[command(flatten)]
    pub(super) process: process::Process,

    #[command(flatten)]
    network: network::Network,

    #[command(flatten)]
    storage: storage::Storage,

    #[command(flatten)]
    resources: resources::Limits,

    #[command(flatten)]
    security: security::Security,

    /// Print help
    #[arg(long, action = clap::ArgAction::HelpShort)]
    help: Option<bool>,

    /// The image, and the program to run in place of the image's
    #[arg(
        required = true,
        num_args = 1..,
        trailing_var_arg = true,
        value_names = ["IMAGE", "COMMAND"],
        hide = true
    )]
    words: Vec<String>,
}

impl ContainerOptions {
    /// Returns the image as it was typed.
    pub(super) fn image_name(&self) -> &str {
        self.words.first().map_or("", String::as_str)
    }

    /// Returns what the agent is asked to make.
    pub(super) fn spec(&self) -> Result<ContainerSpec, CommandError> {
        let mut spec = ContainerSpec {
            image: self.image_name().to_owned(),
            command: self.words.get(1..).unwrap_or_default().to_vec(),
            ..Default::default()
        };
        self.identity.fill(&mut spec)?;
        self.process.fill(&mut spec)?;
        self.network.fill(&mut spec);
        self.storage.fill(&mut spec);
        self.resources.fill(&mut spec);
        self.security.fill(&mut spec)?;
        spec.terminal_size = terminal::size().filter(|_| spec.terminal);
        Ok(spec)
    }
}
