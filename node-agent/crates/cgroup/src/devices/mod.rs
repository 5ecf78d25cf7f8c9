//! Which devices a container may open and make.
//!
//! The rule of the house is the kernel's of v1: everything is denied, then rules are applied in
//! order. On v2 the same rules become a program, see [`program`].

mod program;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::str::FromStr;

use rustix::io::Errno;

use crate::file;

/// What kind of device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// Character and block devices.
    All,
    /// Character devices.
    Char,
    /// Block devices.
    Block,
}

/// What may be done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Access {
    /// Open for reading.
    pub read: bool,
    /// Open for writing.
    pub write: bool,
    /// Make a node for it.
    pub mknod: bool,
}

impl Access {
    /// Everything.
    pub const ALL: Self = Self {
        read: true,
        write: true,
        mknod: true,
    };
    /// Making nodes only.
    pub const MKNOD: Self = Self {
        read: false,
        write: false,
        mknod: true,
    };
}

/// One rule; `None` stands for every number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceRule {
    /// Whether the access is granted or taken away.
    pub allow: bool,
    /// Which devices.
    pub kind: DeviceKind,
    /// Major number.
    pub major: Option<u32>,
    /// Minor number.
    pub minor: Option<u32>,
    /// Which access.
    pub access: Access,
}

/// Why a string is not a device rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("device rule {rule:?} is not like \"c 1:3 rwm\"")]
pub struct DeviceRuleError {
    /// The refused text, cut to 200 characters.
    pub rule: String,
}

impl agent_types::Classify for DeviceRuleError {
    fn kind(&self) -> agent_types::ErrorKind {
        agent_types::ErrorKind::InvalidArgument
    }
}

impl FromStr for DeviceRule {
    type Err = DeviceRuleError;

    /// Parses an allowing rule in the kernel's words.
    fn from_str(rule: &str) -> Result<Self, DeviceRuleError> {
        parse(rule).ok_or_else(|| DeviceRuleError {
            rule: rule.chars().take(200).collect(),
        })
    }
}

fn parse(rule: &str) -> Option<DeviceRule> {
    let mut words = rule.split(' ');
    let kind = match words.next()? {
        "a" => DeviceKind::All,
        "c" => DeviceKind::Char,
        "b" => DeviceKind::Block,
        _ => return None,
    };
    let (major, minor) = words.next()?.split_once(':')?;
    let access = parse_access(words.next()?)?;
    if words.next().is_some() {
        return None;
    }
    Some(DeviceRule {
        allow: true,
        kind,
        major: parse_number(major)?,
        minor: parse_number(minor)?,
        access,
    })
}

/// Returns `Some(None)` for `*`, `Some(Some(n))` for a number.
fn parse_number(text: &str) -> Option<Option<u32>> {
    if text == "*" {
        return Some(None);
    }
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok().map(Some))?
}

fn parse_access(letters: &str) -> Option<Access> {
    let once = |letter| letters.matches(letter).count() <= 1;
    let known = letters.bytes().all(|b| matches!(b, b'r' | b'w' | b'm'));
    if letters.is_empty() || !known || !['r', 'w', 'm'].into_iter().all(once) {
        return None;
    }
    Some(Access {
        read: letters.contains('r'),
        write: letters.contains('w'),
        mknod: letters.contains('m'),
    })
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            DeviceKind::All => "a",
            DeviceKind::Char => "c",
            DeviceKind::Block => "b",
        })?;
        for (separator, number) in [(' ', self.major), (':', self.minor)] {
            match number {
                Some(number) => write!(f, "{separator}{number}")?,
                None => write!(f, "{separator}*")?,
            }
        }
        f.write_str(" ")?;
        let letters = [
            (self.access.read, "r"),
            (self.access.write, "w"),
            (self.access.mknod, "m"),
        ];
        letters
            .into_iter()
            .filter(|(granted, _)| *granted)
            .try_for_each(|(_, letter)| f.write_str(letter))
    }
}

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
