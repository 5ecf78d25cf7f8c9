//! A container's rights, from CRI.

use std::path::PathBuf;

use agent_core::container::spec::{ApparmorSpec, HostNamespace, SeccompSpec};
use agent_core::sandbox::spec::NamespaceScope;
use agent_oci::CapabilityPlan;
use agent_selinux::LabelWish;
use proto::cri;
use tonic::Status;

use crate::status::invalid;

/// Text before a seccomp profile's path.
const PROFILE_READ: &str = "seccomp profile";

/// Text before the name of a profile of the host's.
const LOCALHOST: &str = "localhost/";

/// Largest seccomp profile read, in bytes.
const MAX_PROFILE: u64 = 1 << 20;

/// Returns the parts of the SELinux label asked for.
pub(super) fn selinux(options: Option<cri::SeLinuxOption>) -> LabelWish {
    let options = options.unwrap_or_default();
    LabelWish {
        user: options.user,
        role: options.role,
        kind: options.r#type,
        level: options.level,
    }
}

/// Returns the AppArmor profile asked for.
pub(super) fn apparmor(
    context: &cri::LinuxContainerSecurityContext,
) -> Result<ApparmorSpec, Status> {
    use cri::security_profile::ProfileType;
    let named = |name: &str| match name.strip_prefix(LOCALHOST).unwrap_or(name) {
        "" => Err(invalid("an AppArmor profile of the host's has no name")),
        name => Ok(ApparmorSpec::Profile(name.to_owned())),
    };
    match &context.apparmor {
        Some(profile) => match profile.profile_type() {
            ProfileType::RuntimeDefault => Ok(ApparmorSpec::Default),
            ProfileType::Unconfined => Ok(ApparmorSpec::Unconfined),
            ProfileType::Localhost => named(&profile.localhost_ref),
        },
        None => match context.apparmor_profile.as_str() {
            "" => Ok(ApparmorSpec::Unsaid),
            "runtime/default" => Ok(ApparmorSpec::Default),
            "unconfined" => Ok(ApparmorSpec::Unconfined),
            name if name.starts_with(LOCALHOST) => named(name),
            other => Err(invalid(format!(
                "AppArmor profile {other:?} is neither runtime/default nor unconfined nor {LOCALHOST}<name>"
            ))),
        },
    }
}

/// Returns whose PID namespace is asked for, and the container that is meant by "another's".
pub(super) fn pid(
    context: &cri::LinuxContainerSecurityContext,
) -> Result<(Option<NamespaceScope>, Option<String>), Status> {
    let Some(options) = &context.namespace_options else {
        return Ok((None, None));
    };
    match (options.pid(), options.target_id.as_str()) {
        (cri::NamespaceMode::Target, "") => {
            Err(invalid("pid namespace mode TARGET needs a target_id"))
        }
        (cri::NamespaceMode::Target, target) => Ok((None, Some(target.to_owned()))),
        (_, "") => Ok((Some(super::sandbox::scope(options.pid, "pid")?), None)),
        (_, target) => Err(invalid(format!(
            "target_id {target:?} is given without pid namespace mode TARGET"
        ))),
    }
}

/// Refuses rights of a sandbox's own processes that could not be. What they are beyond that tells
/// nothing: a sandbox has no process but a reaper, which has no rights at all.
pub(super) fn check_sandbox(context: &cri::LinuxSandboxSecurityContext) -> Result<(), Status> {
    let same = cri::LinuxContainerSecurityContext {
        run_as_user: context.run_as_user,
        run_as_group: context.run_as_group,
        supplemental_groups: context.supplemental_groups.clone(),
        privileged: context.privileged,
        seccomp: context.seccomp.clone(),
        seccomp_profile_path: context.seccomp_profile_path.clone(),
        apparmor: context.apparmor.clone(),
        ..cri::LinuxContainerSecurityContext::default()
    };
    user(&same)?;
    groups(&same.supplemental_groups)?;
    apparmor(&same)?;
    seccomp(&same).map(drop)
}

/// Returns the host's namespaces that a container says it is in, beside that of its processes.
pub(super) fn host_namespaces(
    context: &cri::LinuxContainerSecurityContext,
) -> Result<Vec<HostNamespace>, Status> {
    let options = context.namespace_options.clone().unwrap_or_default();
    let mut found = Vec::new();
    for (mode, name, namespace) in [
        (options.network, "network", HostNamespace::Network),
        (options.ipc, "ipc", HostNamespace::Ipc),
    ] {
        if mode == i32::from(cri::NamespaceMode::Target) {
            return Err(invalid(format!(
                "{name} namespace mode TARGET is not supported: a pod's containers share one"
            )));
        }
        if super::sandbox::scope(mode, name)? == NamespaceScope::Host {
            found.push(namespace);
        }
    }
    Ok(found)
}

/// Returns `user[:group]`; `None`: the image's.
pub(super) fn user(context: &cri::LinuxContainerSecurityContext) -> Result<Option<String>, Status> {
    let id = |value: &Option<cri::Int64Value>, name: &str| {
        value
            .as_ref()
            .map(|value| {
                u32::try_from(value.value)
                    .map_err(|_| invalid(format!("{name} {} is out of range", value.value)))
            })
            .transpose()
    };
    let uid = id(&context.run_as_user, "run_as_user")?;
    let gid = id(&context.run_as_group, "run_as_group")?;
    let user = match (uid, context.run_as_username.as_str()) {
        (Some(_), name) if !name.is_empty() => {
            return Err(invalid("run_as_user and run_as_username are both given"));
        }
        (Some(uid), _) => Some(uid.to_string()),
        (None, "") => None,
        (None, name) => Some(name.to_owned()),
    };
    match (user, gid) {
        (Some(user), Some(gid)) => Ok(Some(format!("{user}:{gid}"))),
        (None, Some(_)) => Err(invalid(
            "run_as_group is given without run_as_user or run_as_username",
        )),
        (user, None) => Ok(user),
    }
}

/// Returns further groups.
pub(super) fn groups(groups: &[i64]) -> Result<Vec<u32>, Status> {
    groups
        .iter()
        .map(|group| {
            u32::try_from(*group)
                .map_err(|_| invalid(format!("supplemental group {group} is out of range")))
        })
        .collect()
}

/// Returns the capabilities beside the default ones.
pub(super) fn capabilities(message: cri::Capability) -> CapabilityPlan {
    CapabilityPlan {
        add: message.add_capabilities,
        drop: message.drop_capabilities,
        ambient: message.add_ambient_capabilities,
    }
}

/// Returns the filter asked for. A container that names none is unconfined, as CRI says, and so
/// is a privileged one.
pub(super) fn seccomp(context: &cri::LinuxContainerSecurityContext) -> Result<SeccompSpec, Status> {
    use cri::security_profile::ProfileType;
    if context.privileged {
        return Ok(SeccompSpec::Unconfined);
    }
    let localhost = |path: &str| read_profile(path).map(SeccompSpec::Profile);
    match &context.seccomp {
        Some(profile) => match profile.profile_type() {
            ProfileType::RuntimeDefault => Ok(SeccompSpec::Default),
            ProfileType::Unconfined => Ok(SeccompSpec::Unconfined),
            ProfileType::Localhost => localhost(&profile.localhost_ref),
        },
        None => match context.seccomp_profile_path.as_str() {
            "" | "unconfined" => Ok(SeccompSpec::Unconfined),
            "runtime/default" | "docker/default" => Ok(SeccompSpec::Default),
            path => localhost(path.strip_prefix(LOCALHOST).unwrap_or(path)),
        },
    }
}

fn read_profile(path: &str) -> Result<String, Status> {
    let refused = |why: String| invalid(format!("{PROFILE_READ} {path:?} {why}"));
    let path = PathBuf::from(path);
    if !path.is_absolute() {
        return Err(refused("is not an absolute path".to_owned()));
    }
    let metadata =
        std::fs::metadata(&path).map_err(|error| refused(format!("cannot be read: {error}")))?;
    if !metadata.is_file() || metadata.len() > MAX_PROFILE {
        return Err(refused("is no file of at most 1 MiB".to_owned()));
    }
    std::fs::read_to_string(&path).map_err(|error| refused(format!("cannot be read: {error}")))
}
