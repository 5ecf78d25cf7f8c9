//! Labels: user, role, type, and with most policies a level.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::LabelError;

/// Longest part of a label that is taken.
const MAX_PART: usize = 1024;

/// What somebody wants of a label; an empty part is the policy's to say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LabelWish {
    /// User of SELinux, not of the system.
    pub user: String,
    /// Role.
    pub role: String,
    /// Type.
    pub kind: String,
    /// Sensitivity and categories, such as `s0:c1,c2`.
    pub level: String,
}

/// The labels of a container, or those that a pod's containers get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Labels {
    /// Of its processes.
    pub process: String,
    /// Of the files it sees; `None`: the policy has none for containers.
    pub mount: Option<String>,
    /// The level of both.
    pub level: Option<String>,
}

impl Labels {
    /// Returns the label of files that all containers may use: that without categories.
    #[must_use]
    pub fn shared_mount(&self) -> Option<String> {
        let mount = self.mount.as_deref()?;
        let Some(level) = &self.level else {
            return Some(mount.to_owned());
        };
        let lowest = level.split([':', '-']).next()?;
        let label = mount.strip_suffix(level.as_str())?;
        Some(format!("{label}{lowest}"))
    }
}

/// A whole label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) user: String,
    pub(crate) role: String,
    pub(crate) kind: String,
    pub(crate) level: Option<String>,
}

impl Label {
    /// Reads `user:role:type[:level]`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ':').map(str::to_owned);
        let label = Self {
            user: parts.next()?,
            role: parts.next()?,
            kind: parts.next()?,
            level: parts.next(),
        };
        let words = [&label.user, &label.role, &label.kind];
        let whole = words
            .into_iter()
            .all(|word| !word.is_empty() && is_name(word));
        let level = label.level.as_deref().unwrap_or("s0");
        (whole && !level.is_empty() && is_level(level)).then_some(label)
    }

    pub(crate) fn with_level(self, level: Option<String>) -> Self {
        Self { level, ..self }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.user, self.role, self.kind)?;
        match &self.level {
            Some(level) => write!(f, ":{level}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for LabelWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.user, self.role, self.kind)?;
        match self.level.as_str() {
            "" => Ok(()),
            level => write!(f, ":{level}"),
        }
    }
}

impl LabelWish {
    /// Says whether nothing is wanted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses what no label has: it would get into the options of mounts.
    pub(crate) fn check(&self) -> Result<(), LabelError> {
        let check = |part: &'static str, text: &str, is_good: bool| {
            if text.len() <= MAX_PART && is_good {
                return Ok(());
            }
            let text = text.chars().take(80).collect();
            Err(LabelError::Part { part, text })
        };
        check("user", &self.user, is_name(&self.user))?;
        check("role", &self.role, is_name(&self.role))?;
        check("type", &self.kind, is_name(&self.kind))?;
        check("level", &self.level, is_level(&self.level))
    }

    /// Returns what is wanted, and where nothing is, what `default` has; without a level.
    pub(crate) fn over(&self, default: Option<&Label>) -> Result<Label, LabelError> {
        let part = |part: &'static str, own: &str, other: Option<&String>| match own {
            "" => other.cloned().ok_or(LabelError::Missing { part }),
            own => Ok(own.to_owned()),
        };
        Ok(Label {
            user: part("user", &self.user, default.map(|label| &label.user))?,
            role: part("role", &self.role, default.map(|label| &label.role))?,
            kind: part("type", &self.kind, default.map(|label| &label.kind))?,
            level: None,
        })
    }
}

fn is_name(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    text.bytes().all(good)
}

fn is_level(text: &str) -> bool {
    let good =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b':' | b',');
    text.bytes().all(good)
}
