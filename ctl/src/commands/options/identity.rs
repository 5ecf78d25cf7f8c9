use std::path::PathBuf;

use clap::Args;
use proto::agent::{ContainerSpec, RestartKind, RestartPolicy};

use crate::error::CommandError;
use crate::parse::key_value;
use crate::parse::restart::restart;

/// What a container is called.
#[derive(Debug, Args)]
pub(in crate::commands) struct Identity {
    /// Name of the container; one is made up if none is given
    #[arg(long)]
    name: Option<String>,

    /// Write the container's id to a file, which must not exist
    #[arg(long, value_name = "FILE")]
    pub(in crate::commands) cidfile: Option<PathBuf>,

    /// Host name inside the container
    #[arg(short = 'h', long, value_name = "NAME")]
    hostname: Option<String>,

    /// NIS domain name inside the container
    #[arg(long, value_name = "NAME")]
    domainname: Option<String>,

    /// Label to keep with the container
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    label: Vec<String>,

    /// Read labels from a file, one on each line
    #[arg(long, value_name = "FILE")]
    label_file: Vec<PathBuf>,

    /// Remove the container once it has ended
    #[arg(long)]
    rm: bool,

    /// Start it again when it has ended: no, on-failure[:COUNT], always or unless-stopped
    #[arg(long, value_name = "POLICY", value_parser = restart)]
    restart: Option<RestartPolicy>,
}

impl Identity {
    pub(super) fn fill(&self, spec: &mut ContainerSpec) -> Result<(), CommandError> {
        spec.name = self.name.clone().unwrap_or_default();
        spec.hostname = self.hostname.clone().unwrap_or_default();
        spec.domainname = self.domainname.clone().unwrap_or_default();
        spec.labels = key_value::labels(&self.label_file, &self.label)
            .map_err(CommandError::option("--label"))?;
        spec.auto_remove = self.rm;
        spec.restart = self
            .restart
            .filter(|policy| policy.kind() != RestartKind::Unspecified);
        if self.rm && spec.restart.is_some() {
            return Err(CommandError::Usage {
                problem: "a container that is removed when it ends cannot be restarted",
                hint: "leave out either --rm or --restart",
            });
        }
        Ok(())
    }
}
