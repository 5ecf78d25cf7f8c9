//! Profiles in docker's and OCI's JSON. Unknown keys and words are refused: a rule that is not
//! understood must not be a rule that is not there.

use serde::Deserialize;

use crate::arch;
use crate::error::{ProfileError, shown};
use crate::profile::{Action, Comparison, Condition, Definition, Filter, Rule};
use crate::{Capabilities, KernelVersion};

/// Most bytes that are read; docker's default profile has 13 000.
const LIMIT: usize = 1024 * 1024;
/// Largest errno the kernel passes on.
const LARGEST_ERRNO: u32 = 4095;
const EPERM: u16 = 1;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawProfile {
    default_action: RawAction,
    default_errno_ret: Option<u32>,
    /// The number's name, which some writers add.
    #[serde(rename = "defaultErrno")]
    _default_errno: Option<String>,
    architectures: Option<Vec<String>>,
    arch_map: Option<Vec<RawArchitecture>>,
    flags: Option<Vec<RawFlag>>,
    listener_path: Option<String>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<RawRule>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawArchitecture {
    architecture: String,
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawRule {
    names: Option<Vec<String>>,
    name: Option<String>,
    action: RawAction,
    errno_ret: Option<u32>,
    #[serde(rename = "errno")]
    _errno: Option<String>,
    args: Option<Vec<RawCondition>>,
    #[serde(rename = "comment")]
    _comment: Option<String>,
    includes: Option<RawFilter>,
    excludes: Option<RawFilter>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawCondition {
    index: u32,
    value: u64,
    value_two: Option<u64>,
    op: RawComparison,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawFilter {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<String>,
}

#[derive(Deserialize, Clone, Copy)]
enum RawAction {
    #[serde(rename = "SCMP_ACT_ALLOW")]
    Allow,
    #[serde(rename = "SCMP_ACT_LOG")]
    Log,
    #[serde(rename = "SCMP_ACT_ERRNO")]
    Errno,
    #[serde(rename = "SCMP_ACT_TRACE")]
    Trace,
    #[serde(rename = "SCMP_ACT_TRAP")]
    Trap,
    #[serde(rename = "SCMP_ACT_KILL", alias = "SCMP_ACT_KILL_THREAD")]
    KillThread,
    #[serde(rename = "SCMP_ACT_KILL_PROCESS")]
    KillProcess,
    #[serde(rename = "SCMP_ACT_NOTIFY")]
    Notify,
}

#[derive(Deserialize)]
enum RawComparison {
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    Masked,
}

/// Flags of loading. Those known are without meaning here: the loader has one thread, violations
/// are not logged, and a mitigation is never switched off.
#[derive(Deserialize, PartialEq)]
enum RawFlag {
    #[serde(rename = "SECCOMP_FILTER_FLAG_TSYNC")]
    Sync,
    #[serde(rename = "SECCOMP_FILTER_FLAG_LOG")]
    Log,
    #[serde(rename = "SECCOMP_FILTER_FLAG_SPEC_ALLOW")]
    SpecAllow,
    #[serde(rename = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV")]
    WaitKillable,
}

/// Reads a profile.
pub(crate) fn parse(bytes: &[u8]) -> Result<Definition, ProfileError> {
    if bytes.len() > LIMIT {
        return Err(ProfileError::TooLarge {
            length: bytes.len(),
            limit: LIMIT,
        });
    }
    let raw: RawProfile =
        serde_json::from_slice(bytes).map_err(|source| ProfileError::Json { source })?;
    let notifies = raw.listener_path.is_some()
        || raw.listener_metadata.is_some()
        || raw
            .flags
            .iter()
            .flatten()
            .any(|flag| *flag == RawFlag::WaitKillable);
    if notifies {
        return Err(ProfileError::Unsupported {
            what: "a notification listener",
        });
    }
    let rules: Result<Vec<_>, _> = raw.syscalls.iter().flatten().map(rule).collect();
    Ok(Definition {
        default: action(raw.default_action, raw.default_errno_ret)?,
        others: others(&raw),
        rules: rules?,
    })
}

/// Returns the architectures of this machine that the profile lists. Those of other machines
/// are passed over: the kernel never reports them.
fn others(raw: &RawProfile) -> Vec<arch::Arch> {
    let machine = arch::of_machine();
    let native = machine[0].profile;
    let mapped = raw
        .arch_map
        .iter()
        .flatten()
        .filter(|entry| entry.architecture == native);
    let mapped = mapped.flat_map(|entry| entry.sub_architectures.iter().flatten());
    let listed: Vec<_> = raw.architectures.iter().flatten().chain(mapped).collect();
    let is_listed = |arch: &&arch::Arch| listed.iter().any(|name| *name == arch.profile);
    machine[1..].iter().filter(is_listed).copied().collect()
}

fn action(raw: RawAction, errno: Option<u32>) -> Result<Action, ProfileError> {
    let errno = match errno {
        None => EPERM,
        Some(errno) => u16::try_from(errno)
            .ok()
            .filter(|small| u32::from(*small) <= LARGEST_ERRNO)
            .ok_or(ProfileError::Errno { errno })?,
    };
    Ok(match raw {
        RawAction::Allow => Action::Allow,
        RawAction::Log => Action::Log,
        RawAction::Errno => Action::Errno(errno),
        RawAction::Trace => Action::Trace(errno),
        RawAction::Trap => Action::Trap,
        RawAction::KillThread => Action::KillThread,
        RawAction::KillProcess => Action::KillProcess,
        RawAction::Notify => {
            return Err(ProfileError::Unsupported {
                what: "notifications (SCMP_ACT_NOTIFY)",
            });
        }
    })
}

fn rule(raw: &RawRule) -> Result<Rule, ProfileError> {
    let names: Vec<_> = match (&raw.names, &raw.name) {
        (Some(names), None) => names.iter().map(|name| name.clone().into()).collect(),
        (None, Some(name)) => vec![name.clone().into()],
        _ => return Err(ProfileError::Names),
    };
    let first = names.first().map_or("", AsRef::as_ref);
    let conditions = raw.args.iter().flatten().map(|raw| condition(raw, first));
    Ok(Rule {
        action: action(raw.action, raw.errno_ret)?,
        conditions: conditions.collect::<Result<_, _>>()?,
        includes: filter(raw.includes.as_ref())?,
        excludes: filter(raw.excludes.as_ref())?,
        names,
    })
}

fn condition(raw: &RawCondition, name: &str) -> Result<Condition, ProfileError> {
    if raw.index > 5 {
        return Err(ProfileError::Argument {
            index: raw.index,
            name: shown(name),
        });
    }
    let comparison = match raw.op {
        RawComparison::NotEqual => Comparison::NotEqual,
        RawComparison::Less => Comparison::Less,
        RawComparison::LessOrEqual => Comparison::LessOrEqual,
        RawComparison::Equal => Comparison::Equal,
        RawComparison::GreaterOrEqual => Comparison::GreaterOrEqual,
        RawComparison::Greater => Comparison::Greater,
        RawComparison::Masked => {
            // The first value is the mask, the second what must be left.
            return Ok(Condition {
                index: raw.index,
                comparison: Comparison::Masked { mask: raw.value },
                value: raw.value_two.unwrap_or(0),
            });
        }
    };
    Ok(Condition {
        index: raw.index,
        comparison,
        value: raw.value,
    })
}

fn filter(raw: Option<&RawFilter>) -> Result<Filter, ProfileError> {
    let Some(raw) = raw else {
        return Ok(Filter::default());
    };
    let mut capabilities = Capabilities::default();
    for name in raw.caps.iter().flatten() {
        let one = Capabilities::named(name)
            .ok_or_else(|| ProfileError::Capability { name: shown(name) })?;
        capabilities = capabilities.with(one);
    }
    let kernel = raw.min_kernel.as_deref().filter(|text| !text.is_empty());
    Ok(Filter {
        capabilities,
        arches: raw
            .arches
            .iter()
            .flatten()
            .map(|name| name.clone().into())
            .collect(),
        kernel: kernel.map(str::parse::<KernelVersion>).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_part_of_a_profile_is_read() {
        let definition = parse(
            br#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"defaultErrno":"ENOSYS",
                "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]},
                           {"architecture":"SCMP_ARCH_AARCH64","subArchitectures":["SCMP_ARCH_ARM"]},
                           {"architecture":"SCMP_ARCH_RISCV64","subArchitectures":null}],
                "flags":["SECCOMP_FILTER_FLAG_LOG"],
                "syscalls":[{"names":["clone"],"action":"SCMP_ACT_ALLOW","comment":"x","errno":"",
                  "args":[{"index":0,"value":2114060288,"valueTwo":7,"op":"SCMP_CMP_MASKED_EQ"}],
                  "includes":{"minKernel":"4.8","arches":["amd64"]},"excludes":{"caps":["CAP_SYS_ADMIN"]}},
                 {"name":"read","action":"SCMP_ACT_ERRNO","errnoRet":13,"args":null}]}"#,
        )
        .unwrap();
        assert_eq!(definition.default, Action::Errno(38));
        assert_eq!(definition.others.len(), 1);
        let clone = &definition.rules[0];
        assert_eq!(
            clone.conditions[0].comparison,
            Comparison::Masked {
                mask: 2_114_060_288
            }
        );
        assert_eq!(clone.conditions[0].value, 7);
        assert_eq!(
            clone.includes.kernel,
            Some(KernelVersion { major: 4, minor: 8 })
        );
        assert_eq!(
            clone.excludes.capabilities,
            Capabilities::named("SYS_ADMIN").unwrap()
        );
        assert_eq!(definition.rules[1].action, Action::Errno(13));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in [
            "",
            "{}",
            "[]",
            r#"{"defaultAction":"ALLOW"}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","extra":1}"#,
            r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#,
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4096}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x"}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["X"]}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"action":"SCMP_ACT_ALLOW"}]}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["x"],"name":"y","action":"SCMP_ACT_ALLOW"}]}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["x"],"action":"SCMP_ACT_ALLOW","arg":[]}]}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["x"],"action":"SCMP_ACT_ALLOW","args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}]}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["x"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["NOPE"]}}]}"#,
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["x"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4"}}]}"#,
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(matches!(
            parse(&vec![b' '; LIMIT + 1]),
            Err(ProfileError::TooLarge { .. })
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail_badly(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
