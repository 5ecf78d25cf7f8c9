//! A profile in the OCI specification's form, for runtimes that compile it themselves.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::profile::{Action, Comparison, Condition, Definition, Rule};
use crate::{Capabilities, KernelVersion};

/// Returns the `linux.seccomp` object with the rules that hold.
pub(crate) fn to_oci(
    definition: &Definition,
    capabilities: Capabilities,
    kernel: KernelVersion,
) -> Value {
    let mut settled = HashSet::new();
    let mut syscalls = Vec::new();
    let held = definition
        .rules
        .iter()
        .filter(|rule| rule.holds(capabilities, kernel));
    for rule in held {
        // Of two rules about a call as a whole the earlier counts; runtimes refuse the later.
        let names = rule.names.iter().map(AsRef::as_ref);
        let names: Vec<&str> = names.filter(|name| !settled.contains(*name)).collect();
        if names.is_empty() {
            continue;
        }
        syscalls.push(syscall(rule, &names));
        if rule.conditions.is_empty() {
            settled.extend(names);
        }
    }
    let architectures: Vec<_> = definition
        .architectures()
        .map(|arch| arch.profile)
        .collect();
    let mut seccomp = object("defaultAction", "defaultErrnoRet", definition.default);
    seccomp.insert("architectures".to_owned(), json!(architectures));
    seccomp.insert("syscalls".to_owned(), Value::Array(syscalls));
    Value::Object(seccomp)
}

fn syscall(rule: &Rule, names: &[&str]) -> Value {
    let mut syscall = object("action", "errnoRet", rule.action);
    syscall.insert("names".to_owned(), json!(names));
    if !rule.conditions.is_empty() {
        let conditions: Vec<_> = rule.conditions.iter().map(condition).collect();
        syscall.insert("args".to_owned(), Value::Array(conditions));
    }
    Value::Object(syscall)
}

fn object(name: &str, number_name: &str, action: Action) -> Map<String, Value> {
    let (word, number) = match action {
        Action::Allow => ("SCMP_ACT_ALLOW", None),
        Action::Log => ("SCMP_ACT_LOG", None),
        Action::Errno(number) => ("SCMP_ACT_ERRNO", Some(number)),
        Action::Trace(number) => ("SCMP_ACT_TRACE", Some(number)),
        Action::Trap => ("SCMP_ACT_TRAP", None),
        Action::KillThread => ("SCMP_ACT_KILL_THREAD", None),
        Action::KillProcess => ("SCMP_ACT_KILL_PROCESS", None),
    };
    let mut object = Map::new();
    object.insert(name.to_owned(), json!(word));
    if let Some(number) = number {
        object.insert(number_name.to_owned(), json!(number));
    }
    object
}

fn condition(condition: &Condition) -> Value {
    let (word, value, second) = match condition.comparison {
        Comparison::NotEqual => ("SCMP_CMP_NE", condition.value, 0),
        Comparison::Less => ("SCMP_CMP_LT", condition.value, 0),
        Comparison::LessOrEqual => ("SCMP_CMP_LE", condition.value, 0),
        Comparison::Equal => ("SCMP_CMP_EQ", condition.value, 0),
        Comparison::GreaterOrEqual => ("SCMP_CMP_GE", condition.value, 0),
        Comparison::Greater => ("SCMP_CMP_GT", condition.value, 0),
        Comparison::Masked { mask } => ("SCMP_CMP_MASKED_EQ", mask, condition.value),
    };
    json!({"index": condition.index, "op": word, "value": value, "valueTwo": second})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Profile;

    #[test]
    fn what_is_told_says_the_same_as_what_was_read() {
        let text = br#"{
            "defaultAction": "SCMP_ACT_ERRNO",
            "defaultErrnoRet": 38,
            "syscalls": [
                {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["write", "mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5},
                {"names": ["clone"], "action": "SCMP_ACT_ALLOW",
                 "args": [{"index": 0, "value": 2114060288, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
                 "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
                {"names": ["bpf"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}}
            ]
        }"#;
        let kernel = KernelVersion { major: 6, minor: 1 };
        let profile = Profile::from_json(text).unwrap();
        let told = profile.to_oci(Capabilities::default(), kernel);
        assert_eq!(told["defaultAction"], "SCMP_ACT_ERRNO");
        assert_eq!(told["defaultErrnoRet"], 38);
        let calls = told["syscalls"].as_array().unwrap();
        assert_eq!(calls.len(), 3, "{told}");
        assert_eq!(calls[1]["names"], json!(["mount"]));
        assert_eq!(calls[1]["errnoRet"], 5);
        assert_eq!(calls[2]["args"][0]["value"], 2_114_060_288_u64);
        assert_eq!(calls[2]["args"][0]["op"], "SCMP_CMP_MASKED_EQ");
        let again = Profile::from_json(told.to_string().as_bytes()).unwrap();
        assert_eq!(
            again.to_oci(Capabilities::default(), kernel)["syscalls"],
            told["syscalls"]
        );
    }

    #[test]
    fn the_default_profile_can_be_told() {
        let kernel = KernelVersion::running();
        let told = Profile::default_profile().to_oci(Capabilities::default(), kernel);
        assert!(told["syscalls"].as_array().unwrap().len() > 1, "{told}");
        assert!(Profile::from_json(told.to_string().as_bytes()).is_ok());
    }
}
