//! From a plan to a specification.

use std::collections::HashMap;
use std::path::PathBuf;

use oci_spec::runtime::{
    Box as ConsoleSize, BoxBuilder, Linux, LinuxDevice, LinuxNamespace, LinuxNamespaceType,
    LinuxResources, Process, Root, Spec, User,
};

use crate::environment::Environment;
use crate::error::{PlanError, without_nul};
use crate::user::UserText;
use crate::{
    ContainerPlan, Namespace, capability, command, device, hook, mount, path, rlimit, sysctl, user,
};

/// The version of the OCI runtime specification that is written.
const SPEC_VERSION: &str = "1.1.0";

/// A container ready to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Built {
    /// The specification.
    pub spec: Spec,
    /// `user[:group]` for the shim to look up inside the container's root; `0` when nobody said.
    pub user: String,
    /// The capabilities it has: a bit for each number.
    pub capabilities: u64,
    /// Device rules as the kernel writes them, to be applied in order where nothing is allowed.
    pub device_rules: Vec<String>,
}

/// Makes the specification, or refuses what cannot be.
pub fn build(plan: &ContainerPlan) -> Result<Built, PlanError> {
    for (field, text) in [
        ("hostname", &plan.hostname),
        ("domainname", &plan.domainname),
    ] {
        without_nul(field, text)?;
    }
    let user = user::parse(plan.user.as_deref().unwrap_or(&plan.image.user))?;
    let (set, ambient) =
        capability::granted(&plan.capabilities, plan.privileged, plan.last_capability)?;
    let nodes = device::nodes(&plan.devices)?;
    let device_rules = device::rules(plan)?;
    let mut process = process(plan, &user)?;
    process.set_capabilities(Some(capability::to_spec(set, ambient)));

    let mut root = Root::default();
    root.set_path(PathBuf::from("rootfs"))
        .set_readonly(Some(plan.readonly_root));
    let mut spec = Spec::default();
    spec.set_version(SPEC_VERSION.to_owned())
        .set_root(Some(root))
        .set_process(Some(process))
        .set_mounts(Some(mount::to_spec(plan)?))
        .set_linux(Some(linux(plan, nodes, &device_rules)?))
        .set_hooks(hook::to_spec(&plan.hooks)?)
        .set_annotations(Some(plan.annotations.clone().into_iter().collect()))
        .set_hostname(None)
        .set_domainname(None);
    if plan.namespaces.uts != Namespace::Host {
        let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        spec.set_hostname(given(&plan.hostname))
            .set_domainname(given(&plan.domainname));
    }
    Ok(Built {
        spec,
        user: user.text,
        capabilities: set.0,
        device_rules,
    })
}

fn process(plan: &ContainerPlan, user: &UserText) -> Result<Process, PlanError> {
    let mut environment = Environment::with_defaults(&plan.hostname, plan.terminal);
    environment.add_image(&plan.image.env)?;
    environment.add_request(&plan.env)?;
    let directory = path::working_directory(
        plan.working_directory.as_deref(),
        &plan.image.working_directory,
    )?;
    let mut process = Process::default();
    process
        .set_args(Some(command::arguments(plan)?))
        .set_env(Some(environment.into_texts()))
        .set_cwd(PathBuf::from(directory))
        .set_user(to_user(user, &plan.supplemental_groups))
        .set_terminal(Some(plan.terminal))
        .set_console_size(console_size(plan.terminal_size))
        .set_no_new_privileges(Some(plan.no_new_privileges))
        .set_apparmor_profile(plan.apparmor_profile.clone())
        .set_selinux_label(plan.selinux_label.clone())
        .set_rlimits(Some(rlimit::to_spec(&plan.rlimits)?))
        .set_oom_score_adj(plan.oom_score_adj);
    Ok(process)
}

/// Returns the numbers as far as they are known; the shim corrects them.
pub(crate) fn to_user(user: &UserText, groups: &[u32]) -> User {
    let mut spec = User::default();
    spec.set_uid(user.uid).set_gid(user.gid);
    if !groups.is_empty() {
        spec.set_additional_gids(Some(groups.to_vec()));
    }
    spec
}

pub(crate) fn console_size(size: Option<(u16, u16)>) -> Option<ConsoleSize> {
    let (rows, columns) = size?;
    // A builder without checks of its own: it always builds.
    BoxBuilder::default()
        .height(u64::from(rows))
        .width(u64::from(columns))
        .build()
        .ok()
}

fn linux(
    plan: &ContainerPlan,
    nodes: Vec<LinuxDevice>,
    device_rules: &[String],
) -> Result<Linux, PlanError> {
    let mut resources = LinuxResources::default();
    resources.set_devices(Some(device::rules_to_spec(device_rules)?));
    let sysctls: HashMap<_, _> = sysctl::check_sysctls(&plan.sysctls, &plan.namespaces)?
        .into_iter()
        .collect();
    let (masked, readonly) = hidden(plan)?;
    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces(plan)?))
        .set_mount_label(plan.mount_label.clone())
        .set_resources(Some(resources))
        .set_devices(Some(nodes))
        .set_masked_paths(Some(masked))
        .set_readonly_paths(Some(readonly));
    if !sysctls.is_empty() {
        linux.set_sysctl(Some(sysctls));
    }
    if !plan.cgroup_path.is_empty() {
        linux.set_cgroups_path(Some(PathBuf::from(&plan.cgroup_path)));
    }
    Ok(linux)
}

/// Returns masked and read-only paths. A privileged container has none but those it asks for.
fn hidden(plan: &ContainerPlan) -> Result<(Vec<String>, Vec<String>), PlanError> {
    let masked = match &plan.masked_paths {
        Some(paths) => paths.clone(),
        None if plan.privileged => Vec::new(),
        None => {
            let mut paths = mount::masked_paths();
            paths.extend(plan.machine_masked_paths.iter().cloned());
            paths
        }
    };
    let readonly = match &plan.readonly_paths {
        Some(paths) => paths.clone(),
        None if plan.privileged => Vec::new(),
        None => mount::readonly_paths(),
    };
    Ok((
        mount::clean_paths("masked path", &masked)?,
        mount::clean_paths("read-only path", &readonly)?,
    ))
}

/// Returns the namespaces that are not the host's.
fn namespaces(plan: &ContainerPlan) -> Result<Vec<LinuxNamespace>, PlanError> {
    let of = &plan.namespaces;
    let all = [
        (LinuxNamespaceType::Mount, &Namespace::New),
        (LinuxNamespaceType::Network, &of.network),
        (LinuxNamespaceType::Ipc, &of.ipc),
        (LinuxNamespaceType::Uts, &of.uts),
        (LinuxNamespaceType::Pid, &of.pid),
        (LinuxNamespaceType::Cgroup, &of.cgroup),
    ];
    let mut namespaces = Vec::new();
    for (kind, wish) in all {
        let path = match wish {
            Namespace::Host => continue,
            Namespace::New | Namespace::Sandbox => None,
            Namespace::Join(path) => Some(PathBuf::from(path::clean("namespace path", path)?)),
        };
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(kind).set_path(path);
        namespaces.push(namespace);
    }
    Ok(namespaces)
}

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;
