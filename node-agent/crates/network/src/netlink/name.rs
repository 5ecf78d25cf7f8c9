//! Names of the host's ends of our links.

use agent_types::SandboxId;

/// Digits that are lower case letters and numbers, without those that people confuse.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Returns what every link of the agent with this bridge starts with: five characters.
///
/// It depends on the bridge, so that two agents on a machine never touch each other's links.
pub(crate) fn interface_prefix(bridge: &str) -> String {
    format!("na{}", digits(hash(bridge.as_bytes()), 3))
}

/// Returns the name of a sandbox's link: the prefix and ten characters of the id's hash.
pub(crate) fn interface_name(bridge: &str, sandbox: &SandboxId) -> String {
    format!(
        "{}{}",
        interface_prefix(bridge),
        digits(hash(sandbox.as_str().as_bytes()), 10)
    )
}

/// FNV-1a with a final mixing, stable across versions because the names outlive the agent.
fn hash(bytes: &[u8]) -> u64 {
    let mut value = 0xcbf2_9ce4_8422_2325_u64;
    for byte in bytes {
        value = (value ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    value ^= value >> 32;
    value = value.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    value ^ (value >> 29)
}

fn digits(mut value: u64, count: usize) -> String {
    let mut text = String::with_capacity(count);
    for _ in 0..count {
        let index = usize::from(value.to_le_bytes()[0] & 31);
        text.push(char::from(DIGITS[index]));
        value >>= 5;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_fit_and_differ_by_sandbox_and_bridge() {
        let names: HashSet<String> = (0..10_000)
            .map(|n| interface_name("nodeagent0", &format!("sandbox-{n}").parse().unwrap()))
            .collect();
        assert_eq!(names.len(), 10_000);
        assert!(names.iter().all(|name| name.len() == 15));
        assert!(
            names
                .iter()
                .all(|name| name.starts_with(&interface_prefix("nodeagent0")))
        );
        assert_ne!(
            interface_prefix("nodeagent0"),
            interface_prefix("nodeagent1")
        );
    }

    #[test]
    fn names_never_change_between_versions() {
        let id: SandboxId = "0".repeat(64).parse().unwrap();
        assert_eq!(interface_name("nodeagent0", &id), "nahjh22v41e7w20");
    }
}
