//! Further processes in a running container.
//!
//! Owns: what such a process inherits from its container, and the two ways to run one:
//! [`sync`] collects the output, [`session`] hands the streams out.
//! Does not: go through the sandbox's task; a process may be run while the container is being
//! stopped.

pub mod error;
pub mod session;
pub mod sync;

use agent_oci::{ExecPlan, spec::Process};
use agent_shim_client::{Exec, ExecStdio, TerminalSize, User};
use agent_types::{ContainerId, ExecId};

pub use error::ExecError;

use crate::container::set_up::filter;
use crate::container::spec::ContainerRecord;
use crate::sandbox::Live;
use crate::services::Services;

/// What processes of a container start from.
#[derive(Debug)]
pub struct Template {
    process: Process,
    user: String,
    supplemental_groups: Vec<u32>,
    group_names: Vec<String>,
    strict_groups: bool,
}

impl Template {
    pub(crate) fn new(built: &agent_oci::Built, record: &ContainerRecord) -> Self {
        let spec = &record.spec;
        Self {
            process: built.spec.process().clone().unwrap_or_default(),
            user: built.user.clone(),
            supplemental_groups: record.groups(),
            group_names: spec.group_names.clone(),
            strict_groups: spec.switches.strict_groups,
        }
    }

    /// Returns whom a process runs as: somebody of its own, or whoever the container does.
    fn user(&self, own: Option<String>) -> User {
        match own {
            Some(text) => User {
                text,
                ..User::default()
            },
            None => User {
                text: self.user.clone(),
                supplemental_groups: self.supplemental_groups.clone(),
                group_names: self.group_names.clone(),
                strict_groups: self.strict_groups,
            },
        }
    }
}

/// A process to run.
#[derive(Debug, Clone, Default)]
pub struct ExecSpec {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Added to the container's.
    pub env: Vec<(String, Vec<u8>)>,
    /// In place of the container's.
    pub working_directory: Option<String>,
    /// `user[:group]`, in place of the container's.
    pub user: Option<String>,
    /// A terminal of this many rows and columns, instead of pipes.
    pub terminal: Option<(u16, u16)>,
    /// Connect its input.
    pub stdin: bool,
    /// All capabilities.
    pub privileged: bool,
    /// Kill it after this long.
    pub timeout: Option<std::time::Duration>,
}

/// The container a process is to run in, as it is now.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) record: std::sync::Arc<ContainerRecord>,
    pub(crate) live: std::sync::Arc<Live>,
    pub(crate) template: std::sync::Arc<Template>,
}

/// Starts a process.
pub(crate) async fn start(
    services: &Services,
    target: &Target,
    spec: &ExecSpec,
) -> Result<(ExecId, agent_shim_client::ExecSession), ExecError> {
    let container = &target.record.id;
    let refused = |source| ExecError::Spec {
        container: container.clone(),
        source,
    };
    let plan = ExecPlan {
        arguments: spec.command.clone(),
        env: spec.env.clone(),
        working_directory: spec.working_directory.clone(),
        user: spec.user.clone(),
        terminal: spec.terminal.is_some(),
        terminal_size: spec.terminal,
        privileged: spec.privileged,
        last_capability: services.last_capability,
    };
    let built = agent_oci::process_for_exec(&target.template.process, &plan).map_err(&refused)?;
    let seccomp = if spec.privileged {
        None
    } else {
        filter(services, &target.record.spec, built.capabilities).map_err(|source| {
            ExecError::Filter {
                container: container.clone(),
                source: Box::new(source),
            }
        })?
    };
    let request = Exec {
        id: new_id(container)?,
        container: container.clone(),
        process: serde_json::to_vec(&built.process).map_err(|source| ExecError::Encode {
            container: container.clone(),
            source,
        })?,
        user: target.template.user(built.user),
        seccomp: seccomp.map(|bpf| bpf.to_vec()).unwrap_or_default(),
        stdio: match spec.terminal {
            Some((rows, columns)) => ExecStdio::Terminal(TerminalSize { rows, columns }),
            None => ExecStdio::Pipes { stdin: spec.stdin },
        },
        timeout: spec.timeout,
    };
    let id = request.id.clone();
    let started = target.live.shim.exec(request).await;
    started
        .map(|session| (id, session))
        .map_err(|source| ExecError::from_shim(container, source))
}

fn new_id(container: &ContainerId) -> Result<ExecId, ExecError> {
    crate::random::bytes()
        .map(ExecId::from_random)
        .map_err(|source| ExecError::Random {
            container: container.clone(),
            source,
        })
}
