//! A further process in a running container.

use oci_spec::runtime::{Process, User};
use std::path::PathBuf;

use crate::build::{console_size, to_user};
use crate::capability::{self, Set};
use crate::environment::Environment;
use crate::error::PlanError;
use crate::{command, path, user};

/// What to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecPlan {
    /// Program and arguments.
    pub arguments: Vec<String>,
    /// Added to the container's.
    pub env: Vec<(String, Vec<u8>)>,
    /// Replaces the container's.
    pub working_directory: Option<String>,
    /// `user[:group]`; replaces the container's.
    pub user: Option<String>,
    /// Gives it a terminal.
    pub terminal: bool,
    /// Rows and columns of the terminal.
    pub terminal_size: Option<(u16, u16)>,
    /// Gives it every capability.
    pub privileged: bool,
    /// The highest capability the kernel knows.
    pub last_capability: u8,
}

/// A process ready to be run.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecProcess {
    /// Its part of a specification.
    pub process: Process,
    /// `user[:group]` for the shim to look up; `None`: the container's.
    pub user: Option<String>,
    /// The capabilities it has: a bit for each number.
    pub capabilities: u64,
}

/// Makes a process like the container's first one, but for what the plan says.
pub fn process_for_exec(container: &Process, plan: &ExecPlan) -> Result<ExecProcess, PlanError> {
    let mut environment = Environment::of(container.env().as_deref().unwrap_or_default());
    if plan.terminal && !environment.has("TERM") {
        environment.add_image(&["TERM=xterm".to_owned()])?;
    }
    environment.add_request(&plan.env)?;
    let mut process = container.clone();
    let user = plan.user.as_deref().map(user::parse).transpose()?;
    if let Some(user) = &user {
        // The container's further groups belong to its user.
        process.set_user(to_user(user, &[]));
    } else {
        process.set_user(without_name(container.user()));
    }
    let set = if plan.privileged {
        Set::all(plan.last_capability)
    } else {
        let bounding = container
            .capabilities()
            .as_ref()
            .and_then(|c| c.bounding().as_ref());
        Set::of_spec(bounding)
    };
    if plan.privileged {
        process.set_capabilities(Some(capability::to_spec(set, Set::default())));
    }
    let container_directory = container.cwd().to_string_lossy();
    let directory =
        path::working_directory(plan.working_directory.as_deref(), &container_directory)?;
    process
        .set_args(Some(command::checked(plan.arguments.clone())?))
        .set_env(Some(environment.into_texts()))
        .set_cwd(PathBuf::from(directory))
        .set_terminal(Some(plan.terminal))
        .set_console_size(console_size(plan.terminal_size));
    Ok(ExecProcess {
        process,
        user: user.map(|user| user.text),
        capabilities: set.0,
    })
}

/// Returns the user without a name, which only the first process's own record may carry.
fn without_name(user: &User) -> User {
    let mut user = user.clone();
    user.set_username(None);
    user
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ContainerPlan, ImageDefaults, build};

    fn container() -> Process {
        let plan = ContainerPlan {
            image: ImageDefaults {
                env: vec!["A=1".into()],
                ..ImageDefaults::default()
            },
            arguments: vec!["sleep".into()],
            user: Some("1000:1000".into()),
            supplemental_groups: vec![7],
            working_directory: Some("/srv".into()),
            no_new_privileges: true,
            last_capability: 40,
            ..ContainerPlan::default()
        };
        build(&plan).unwrap().spec.process().clone().unwrap()
    }

    fn exec(plan: ExecPlan) -> ExecProcess {
        let plan = ExecPlan {
            arguments: vec!["id".into()],
            last_capability: 40,
            ..plan
        };
        process_for_exec(&container(), &plan).unwrap()
    }

    #[test]
    fn it_inherits_what_is_not_replaced() {
        let made = exec(ExecPlan::default());
        assert_eq!(made.user, None);
        assert_eq!(made.process.cwd().to_str(), Some("/srv"));
        assert_eq!(
            made.process.user().additional_gids().as_deref(),
            Some(&[7][..])
        );
        assert_eq!(made.process.no_new_privileges(), Some(true));
        assert_eq!(made.capabilities, 0xa804_25fb);
        assert_eq!(made.process.args().as_deref(), Some(&["id".to_owned()][..]));
        assert!(made.process.env().as_ref().unwrap().contains(&"A=1".into()));
    }

    #[test]
    fn it_replaces_what_is_given() {
        let made = exec(ExecPlan {
            env: vec![("A".into(), b"2".to_vec())],
            user: Some("root".into()),
            working_directory: Some("/".into()),
            terminal: true,
            terminal_size: Some((24, 80)),
            ..ExecPlan::default()
        });
        assert_eq!(made.user.as_deref(), Some("root"));
        assert!(made.process.user().additional_gids().is_none());
        let env = made.process.env().clone().unwrap();
        assert!(env.contains(&"A=2".into()) && env.contains(&"TERM=xterm".into()));
        assert_eq!(made.process.console_size().unwrap().width(), 80);
    }

    #[test]
    fn hostile_09_a_privileged_one_inherits_nothing() {
        let made = exec(ExecPlan {
            privileged: true,
            ..ExecPlan::default()
        });
        assert_eq!(made.capabilities, (1 << 41) - 1);
        let capabilities = made.process.capabilities().clone().unwrap();
        assert!(capabilities.inheritable().as_ref().unwrap().is_empty());
        assert!(capabilities.ambient().as_ref().unwrap().is_empty());
    }

    #[test]
    fn hostile_18_its_user_is_checked_too() {
        let plan = ExecPlan {
            arguments: vec!["id".into()],
            user: Some("-1".into()),
            ..ExecPlan::default()
        };
        assert!(process_for_exec(&container(), &plan).is_err());
        let plan = ExecPlan {
            user: None,
            ..ExecPlan::default()
        };
        assert_eq!(
            process_for_exec(&container(), &plan),
            Err(PlanError::NoCommand)
        );
    }
}
