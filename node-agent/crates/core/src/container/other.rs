//! Other runtimes: what they are told that the one built in gets in another way.

use agent_cgroup::Limits;
use agent_oci::Built;
use agent_seccomp::{Capabilities, KernelVersion};
use agent_shim_client::OtherRuntime;
use serde_json::{Value, json};

use super::error::{SpecError, StepError};
use super::set_up::profile;
use super::spec::ContainerSpec;
use crate::handler::RuntimeHandler;
use crate::sandbox::spec::SandboxRecord;
use crate::services::Services;

/// Returns the runtime that a sandbox's handler names; `None`: ours.
pub(super) fn find(
    services: &Services,
    sandbox: &SandboxRecord,
) -> Result<Option<OtherRuntime>, StepError> {
    let program = handler(services, sandbox)?.program;
    Ok(program.map(|program| OtherRuntime { program }))
}

fn handler(services: &Services, sandbox: &SandboxRecord) -> Result<RuntimeHandler, SpecError> {
    let name = &sandbox.spec.runtime_handler;
    let found = services.settings.handlers.get(name);
    found.ok_or_else(|| SpecError::Handler {
        handler: name.clone(),
    })
}

/// Adds the annotations that the sandbox's runtime, or a hook, is allowed to see to a specification.
pub(super) fn tell_annotations(
    services: &Services,
    sandbox: &SandboxRecord,
    spec: &ContainerSpec,
    built: &mut Built,
) -> Result<(), SpecError> {
    let told = handler(services, sandbox)?.told(&sandbox.spec.annotations, &spec.annotations);
    built.spec.set_annotations(Some(told.into_iter().collect()));
    Ok(())
}

/// Adds limits, the seccomp profile and the annotations that it is allowed to see to a specification.
pub(super) fn complete(
    services: &Services,
    sandbox: &SandboxRecord,
    spec: &ContainerSpec,
    built: &mut Built,
) -> Result<(), StepError> {
    tell_annotations(services, sandbox, spec, built)?;
    let mut linux = built.spec.linux().clone().unwrap_or_default();
    let mut resources = serde_json::to_value(linux.resources())?;
    add_limits(&mut resources, &spec.limits);
    linux.set_resources(serde_json::from_value(resources)?);
    if let Some(profile) = profile(spec)? {
        let capabilities = Capabilities::from_bits(built.capabilities);
        let seccomp = profile.to_oci(capabilities, KernelVersion::running());
        linux.set_seccomp(Some(serde_json::from_value(seccomp)?));
    }
    built.spec.set_linux(Some(linux));
    Ok(())
}

/// Adds a container's limits to its resources. They hold already, but some runtimes take off what
/// they are not told of.
fn add_limits(resources: &mut Value, limits: &Limits) {
    let hugepages: Vec<_> = limits
        .hugepages
        .iter()
        .map(|(size, bytes)| json!({"pageSize": size, "limit": bytes}))
        .collect();
    let sections = [
        (
            "memory",
            json!({"limit": limits.memory, "swap": limits.memory_swap}),
        ),
        (
            "cpu",
            json!({
                "shares": limits.cpu_shares,
                "quota": limits.cpu_quota,
                "period": limits.cpu_period,
                "cpus": limits.cpuset_cpus,
                "mems": limits.cpuset_mems,
            }),
        ),
        ("pids", json!({"limit": limits.pids})),
    ];
    for (name, section) in sections {
        let Value::Object(mut section) = section else {
            continue;
        };
        section.retain(|_, value| !value.is_null());
        if !section.is_empty() {
            resources[name] = Value::Object(section);
        }
    }
    if !hugepages.is_empty() {
        resources["hugepageLimits"] = Value::Array(hugepages);
    }
    if !limits.unified.is_empty() {
        resources["unified"] = json!(limits.unified);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_told_and_what_is_not_limited_is_left_out() {
        let limits = Limits {
            memory: Some(16 << 20),
            cpu_quota: Some(50_000),
            cpuset_cpus: Some("0-1".to_owned()),
            hugepages: [("2MB".to_owned(), 4096)].into(),
            ..Limits::default()
        };
        let mut resources = json!({"devices": []});
        add_limits(&mut resources, &limits);
        let wanted = json!({
            "devices": [],
            "memory": {"limit": 16 << 20},
            "cpu": {"quota": 50_000, "cpus": "0-1"},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 4096}],
        });
        assert_eq!(resources, wanted);
    }
}
