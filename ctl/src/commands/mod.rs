//! The commands, one file each.
//!
//! Owns: each command's flags and what it asks of the agent. Does not: format or
//! connect; `output` and `client` do. A command is added by its file, a line in
//! [`Command`] and an arm in [`run()`].
//! Start reading at `stop.rs` (a short one) or `run.rs` (the long one).

mod attach;
mod completion;
mod create;
mod each;
mod events;
mod exec;
mod filter;
mod group;
mod images;
mod info;
mod inspect;
mod kill;
mod logs;
mod options;
mod port;
mod port_forward;
mod ps;
mod ps_filter;
mod pull;
mod restart;
mod rm;
mod rmi;
mod run;
mod start;
mod stop;
mod tag;
mod version;
mod wait;

use clap::Subcommand;

use crate::client::Client;
use crate::error::{CommandError, ExitCodes, ExitStatus};
use crate::output::Output;

/// A command and its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(Box<run::Run>),
    Create(Box<create::Create>),
    Start(start::Start),
    Stop(stop::Stop),
    Restart(restart::Restart),
    Kill(kill::Kill),
    Rm(rm::Rm),
    Ps(ps::Ps),
    Logs(logs::Logs),
    Exec(exec::Exec),
    Attach(attach::Attach),
    Wait(wait::Wait),
    Port(port::Port),
    PortForward(port_forward::PortForward),
    Inspect(inspect::Inspect),
    Pull(pull::Pull),
    Images(images::Images),
    Rmi(rmi::Rmi),
    Tag(tag::Tag),
    Events(events::Events),
    Info(info::Info),
    Version(version::Version),
    Container(group::ContainerGroup),
    Image(group::ImageGroup),
    System(group::SystemGroup),
    Completion(completion::Completion),
}

impl Command {
    /// Returns the codes this command's failures have.
    pub(crate) fn exit_codes(&self) -> ExitCodes {
        match self {
            Self::Run(_) | Self::Exec(_) => ExitCodes::Process,
            Self::Create(_) => ExitCodes::Create,
            Self::Container(group) => group.exit_codes(),
            _ => ExitCodes::Plain,
        }
    }
}

/// Runs a command.
pub(crate) async fn run(
    command: Command,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    // A group's member is the same command under another name.
    let command = match command {
        Command::Container(group) => group.command(),
        Command::Image(group) => group.command(),
        Command::System(group) => group.command(),
        command => command,
    };
    match command {
        Command::Run(args) => Box::pin(run::run(*args, client, out)).await,
        Command::Create(args) => Box::pin(create::run(*args, client, out)).await,
        Command::Start(args) => Box::pin(start::run(args, client, out)).await,
        Command::Stop(args) => stop::run(args, client, out).await,
        Command::Restart(args) => restart::run(args, client, out).await,
        Command::Kill(args) => kill::run(args, client, out).await,
        Command::Rm(args) => rm::run(args, client, out).await,
        Command::Ps(args) => ps::run(args, client, out).await,
        Command::Logs(args) => logs::run(args, client, out).await,
        Command::Exec(args) => Box::pin(exec::run(args, client, out)).await,
        Command::Attach(args) => Box::pin(attach::run(args, client, out)).await,
        Command::Wait(args) => wait::run(args, client, out).await,
        Command::Port(args) => port::run(args, client, out).await,
        Command::PortForward(args) => port_forward::run(args, client, out).await,
        Command::Inspect(args) => inspect::run(args, client, out).await,
        Command::Pull(args) => pull::run(args, client, out).await,
        Command::Images(args) => images::run(args, client, out).await,
        Command::Rmi(args) => rmi::run(args, client, out).await,
        Command::Tag(args) => tag::run(args, client).await,
        Command::Events(args) => events::run(args, client, out).await,
        Command::Info(args) => info::run(args, client, out).await,
        Command::Version(args) => version::run(args, client, out).await,
        Command::Completion(args) => completion::run(args, out),
        Command::Container(_) | Command::Image(_) | Command::System(_) => Ok(ExitStatus::USAGE),
    }
}
