//! Which devices a container may open and make.
//!
//! The rule of the house is the kernel's of v1: everything is denied, then rules are applied in
//! order. On v2 the same rules become a program, see [`program`].

mod program;
mod rule;

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use crate::file;

pub use rule::{Access, DeviceKind, DeviceRule, DeviceRuleError};

/// Rules applied in order to a cgroup in which everything is denied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceRules {
    rules: Vec<DeviceRule>,
}

/// Character devices every container has: null, zero, full, random, urandom, tty, console, ptmx.
const DEFAULT_CHAR: [(u32, u32); 8] = [
    (1, 3),
    (1, 5),
    (1, 7),
    (1, 8),
    (1, 9),
    (5, 0),
    (5, 1),
    (5, 2),
];
/// Major number of the pseudo terminals under `/dev/pts`.
const PTS: u32 = 136;

impl DeviceRules {
    /// Returns the rules of an unprivileged container: any node may be made, few may be opened.
    #[must_use]
    pub fn container_default() -> Self {
        let char_device = |major, minor| DeviceRule {
            allow: true,
            kind: DeviceKind::Char,
            major: Some(major),
            minor,
            access: Access::ALL,
        };
        let make = |kind| DeviceRule {
            allow: true,
            kind,
            major: None,
            minor: None,
            access: Access::MKNOD,
        };
        let mut rules = vec![make(DeviceKind::Char), make(DeviceKind::Block)];
        rules.extend(DEFAULT_CHAR.map(|(major, minor)| char_device(major, Some(minor))));
        rules.push(char_device(PTS, None));
        Self { rules }
    }

    /// Parses allowing rules in the kernel's words, to be applied in order.
    pub fn from_spec<S: AsRef<str>>(lines: &[S]) -> Result<Self, DeviceRuleError> {
        let rules: Result<Vec<_>, _> = lines.iter().map(|line| line.as_ref().parse()).collect();
        Ok(Self { rules: rules? })
    }

    /// Returns the rules of a privileged container: everything.
    #[must_use]
    pub fn all() -> Self {
        Self {
            rules: vec![DeviceRule {
                allow: true,
                kind: DeviceKind::All,
                major: None,
                minor: None,
                access: Access::ALL,
            }],
        }
    }

    /// Adds a rule that is applied after those before it.
    #[must_use]
    pub fn with(mut self, rule: DeviceRule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Returns the rules in order.
    #[must_use]
    pub fn rules(&self) -> &[DeviceRule] {
        &self.rules
    }

    /// Writes the rules to a new cgroup of v1.
    pub(crate) fn apply_v1(&self, directory: BorrowedFd<'_>) -> Result<(), Errno> {
        let everything = Self::all().rules;
        if self.rules == everything {
            return file::write(directory, "devices.allow", "a");
        }
        file::write(directory, "devices.deny", "a")?;
        let allow = file::open_for_writing(directory, "devices.allow")?;
        for rule in &self.rules {
            let line = rule.to_string();
            if rule.allow {
                file::write_value(allow.as_fd(), &line)?;
            } else {
                file::write(directory, "devices.deny", &line)?;
            }
        }
        Ok(())
    }

    /// Puts a program that decides by these rules on a cgroup of v2.
    pub(crate) fn apply_v2(&self, directory: BorrowedFd<'_>) -> Result<(), Errno> {
        let program = program::of(&self.rules);
        let loaded = agent_sys::bpf::load_device_program(&program)?;
        agent_sys::bpf::attach_device_program(directory, loaded.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rules_read_as_the_kernel_writes_them() {
        for text in ["c 1:3 rwm", "b *:* m", "a *:* rwm", "c 136:* rw", "b 8:0 r"] {
            assert_eq!(text.parse::<DeviceRule>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "c",
            "c 1:3",
            "c 1:3 x",
            "c 1:3 rr",
            "c 1 r",
            "d 1:3 r",
            "c 1:3 r ",
            "c +1:3 r",
            "c 1:3 rwm\na *:* rwm",
            "c  1:3 r",
        ] {
            assert!(bad.parse::<DeviceRule>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_default_opens_no_disk() {
        let rules = DeviceRules::container_default();
        let opens_block = |rule: &&DeviceRule| {
            rule.kind != DeviceKind::Char && (rule.access.read || rule.access.write)
        };
        assert!(rules.rules().iter().find(opens_block).is_none());
        assert_eq!(rules.rules().len(), 11);
    }

    proptest! {
        #[test]
        fn text_round_trips(
            kind in prop_oneof![Just("a"), Just("b"), Just("c")],
            major in proptest::option::of(any::<u32>()),
            minor in proptest::option::of(any::<u32>()),
            access in prop_oneof![Just("r"), Just("rw"), Just("rwm"), Just("m"), Just("wm")],
        ) {
            let number = |n: Option<u32>| n.map_or("*".to_owned(), |n| n.to_string());
            let text = format!("{kind} {}:{} {access}", number(major), number(minor));
            prop_assert_eq!(text.parse::<DeviceRule>().unwrap().to_string(), text);
        }
    }
}
