//! The commands once more, by what they are about: `ctl container ls` is `ctl ps`.

use clap::{Args, Subcommand};

use super::{
    Command, attach, create, events, exec, images, info, inspect, kill, logs, port, ps, pull,
    restart, rm, rmi, run, start, stop, tag, wait,
};
use crate::error::ExitCodes;

/// Commands about containers
#[derive(Debug, Args)]
pub(crate) struct ContainerGroup {
    #[command(subcommand)]
    command: ContainerCommand,
}

#[derive(Debug, Subcommand)]
enum ContainerCommand {
    Run(Box<run::Run>),
    Create(Box<create::Create>),
    Start(start::Start),
    Stop(stop::Stop),
    Restart(restart::Restart),
    Kill(kill::Kill),
    #[command(visible_alias = "remove")]
    Rm(rm::Rm),
    #[command(visible_aliases = ["list", "ps"])]
    Ls(ps::Ps),
    Logs(logs::Logs),
    Exec(exec::Exec),
    Attach(attach::Attach),
    Wait(wait::Wait),
    Port(port::Port),
    Inspect(inspect::InspectContainer),
}

impl ContainerGroup {
    /// Returns the command that is meant.
    pub(super) fn command(self) -> Command {
        match self.command {
            ContainerCommand::Run(args) => Command::Run(args),
            ContainerCommand::Create(args) => Command::Create(args),
            ContainerCommand::Start(args) => Command::Start(args),
            ContainerCommand::Stop(args) => Command::Stop(args),
            ContainerCommand::Restart(args) => Command::Restart(args),
            ContainerCommand::Kill(args) => Command::Kill(args),
            ContainerCommand::Rm(args) => Command::Rm(args),
            ContainerCommand::Ls(args) => Command::Ps(args),
            ContainerCommand::Logs(args) => Command::Logs(args),
            ContainerCommand::Exec(args) => Command::Exec(args),
            ContainerCommand::Attach(args) => Command::Attach(args),
            ContainerCommand::Wait(args) => Command::Wait(args),
            ContainerCommand::Port(args) => Command::Port(args),
            ContainerCommand::Inspect(args) => Command::Inspect(args.into()),
        }
    }

    /// Returns the codes the meant command's failures have.
    pub(super) fn exit_codes(&self) -> ExitCodes {
        match self.command {
            ContainerCommand::Run(_) | ContainerCommand::Exec(_) => ExitCodes::Process,
            ContainerCommand::Create(_) => ExitCodes::Create,
            _ => ExitCodes::Plain,
        }
    }
}

/// Commands about images
#[derive(Debug, Args)]
pub(crate) struct ImageGroup {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    Pull(pull::Pull),
    #[command(visible_alias = "list")]
    Ls(images::Images),
    #[command(visible_alias = "remove")]
    Rm(rmi::Rmi),
    Tag(tag::Tag),
    Inspect(inspect::InspectImage),
}

impl ImageGroup {
    /// Returns the command that is meant.
    pub(super) fn command(self) -> Command {
        match self.command {
            ImageCommand::Pull(args) => Command::Pull(args),
            ImageCommand::Ls(args) => Command::Images(args),
            ImageCommand::Rm(args) => Command::Rmi(args),
            ImageCommand::Tag(args) => Command::Tag(args),
            ImageCommand::Inspect(args) => Command::Inspect(args.into()),
        }
    }
}

/// Commands about the node
#[derive(Debug, Args)]
pub(crate) struct SystemGroup {
    #[command(subcommand)]
    command: SystemCommand,
}

#[derive(Debug, Subcommand)]
enum SystemCommand {
    Events(events::Events),
    Info(info::Info),
}

impl SystemGroup {
    /// Returns the command that is meant.
    pub(super) fn command(self) -> Command {
        match self.command {
            SystemCommand::Events(args) => Command::Events(args),
            SystemCommand::Info(args) => Command::Info(args),
        }
    }
}
