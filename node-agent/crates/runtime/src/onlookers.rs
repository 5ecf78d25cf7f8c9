//! Who may look into a process that appears beside others.

use oci_spec::runtime::{Capability, LinuxCapabilities, Process};
use serde::Deserialize;

/// What the processes of a PID namespace may do to another one that they see in it.
///
/// Without `CAP_SYS_PTRACE`, `CAP_PERFMON` or `CAP_SYS_ADMIN` they cannot look into one that is not dumpable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Onlookers {
    /// Any of them may have a capability to look into it.
    Tracers,
    /// None of them was ever granted it.
    Bystanders,
}

/// Capabilities to look into a process that is not dumpable: all of it with the first; its maps,
/// environment and auxiliary vector with any (`may_access_mm` in the kernel's `kernel/fork.c`, since
/// Linux 6.15; `CAP_SYS_ADMIN` holds what `CAP_PERFMON` does).
const REACHING: [Capability; 3] = [
    Capability::SysPtrace,
    Capability::Perfmon,
    Capability::SysAdmin,
];

/// The part of a specification that grants capabilities.
#[derive(Debug, Deserialize)]
struct Granting {
    process: Option<Process>,
}

impl Onlookers {
    /// Returns what the processes of a container with this specification are; what cannot be read may be anything.
    pub(crate) fn of_spec(spec: &[u8]) -> Self {
        let granting = serde_json::from_slice::<Granting>(spec).ok();
        Self::of(granting.and_then(|granting| granting.process).as_ref())
    }

    /// Returns what a session with this `process` object adds.
    pub(crate) fn of_process(process: &[u8]) -> Self {
        Self::of(serde_json::from_slice(process).ok().as_ref())
    }

    fn of(process: Option<&Process>) -> Self {
        let Some(process) = process else {
            return Self::Tracers;
        };
        let may_trace = |sets: &LinuxCapabilities| {
            let all = [
                sets.bounding(),
                sets.effective(),
                sets.permitted(),
                sets.inheritable(),
                sets.ambient(),
            ];
            all.into_iter()
                .flatten()
                .any(|set| REACHING.iter().any(|one| set.contains(one)))
        };
        match process.capabilities() {
            Some(sets) if may_trace(sets) => Self::Tracers,
            _ => Self::Bystanders,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn process(capabilities: &Value) -> Value {
        json!({"cwd": "/", "args": ["x"], "user": {"uid": 0, "gid": 0}, "capabilities": capabilities})
    }

    fn both(process: &Value) -> [Onlookers; 2] {
        let spec = json!({"ociVersion": "1.0.2", "process": process, "mounts": []});
        [
            Onlookers::of_process(&serde_json::to_vec(process).unwrap()),
            Onlookers::of_spec(&serde_json::to_vec(&spec).unwrap()),
        ]
    }

    #[test]
    fn whoever_is_granted_it_in_any_set_may_trace() {
        for set in [
            "bounding",
            "effective",
            "permitted",
            "inheritable",
            "ambient",
        ] {
            for capability in ["CAP_SYS_PTRACE", "CAP_PERFMON", "CAP_SYS_ADMIN"] {
                let granted = process(&json!({set: ["CAP_CHOWN", capability]}));
                let seen = both(&granted);
                assert_eq!(seen, [Onlookers::Tracers; 2], "{set} {capability}");
            }
        }
        let others = process(&json!({"bounding": ["CAP_NET_ADMIN"], "effective": []}));
        assert_eq!(both(&others), [Onlookers::Bystanders; 2]);
        assert_eq!(both(&process(&Value::Null)), [Onlookers::Bystanders; 2]);
    }

    #[test]
    fn what_cannot_be_read_may_trace() {
        assert_eq!(Onlookers::of_process(b"{"), Onlookers::Tracers);
        assert_eq!(Onlookers::of_spec(b"{}"), Onlookers::Tracers);
        assert_eq!(Onlookers::of_spec(b"[]"), Onlookers::Tracers);
    }
}
