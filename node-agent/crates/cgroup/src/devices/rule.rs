//! One device rule, and its text in the kernel's words.

use std::fmt;
use std::str::FromStr;

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
