//! The versions of the specification, and what each of them brought.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A version of the CNI specification that configurations and results are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum SpecVersion {
    /// 0.1.0: one address of each family.
    V0_1_0,
    /// 0.2.0: plugins tell their versions.
    V0_2_0,
    /// 0.3.0: lists of plugins; interfaces and any number of addresses.
    V0_3_0,
    /// 0.3.1: the same, with a mistake in the text mended.
    V0_3_1,
    /// 0.4.0: CHECK, and the result of ADD handed to DEL.
    V0_4_0,
    /// 1.0.0: addresses no longer name their family.
    V1_0_0,
    /// 1.1.0: STATUS and GC.
    V1_1_0,
}

/// Not a version of the specification that this node knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a version of the CNI specification that this node knows (0.1.0 to 1.1.0)")]
pub struct UnknownVersion {
    /// The refused text.
    pub text: String,
}

impl SpecVersion {
    /// Every version, the oldest first.
    pub const ALL: [Self; 7] = [
        Self::V0_1_0,
        Self::V0_2_0,
        Self::V0_3_0,
        Self::V0_3_1,
        Self::V0_4_0,
        Self::V1_0_0,
        Self::V1_1_0,
    ];

    /// Returns the version as it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V0_1_0 => "0.1.0",
            Self::V0_2_0 => "0.2.0",
            Self::V0_3_0 => "0.3.0",
            Self::V0_3_1 => "0.3.1",
            Self::V0_4_0 => "0.4.0",
            Self::V1_0_0 => "1.0.0",
            Self::V1_1_0 => "1.1.0",
        }
    }

    /// Reads a version; a text that is empty means the oldest.
    ///
    /// # Errors
    /// [`UnknownVersion`] for anything that is not one of [`Self::ALL`].
    pub fn parse(text: &str) -> Result<Self, UnknownVersion> {
        if text.is_empty() {
            return Ok(Self::V0_1_0);
        }
        let found = Self::ALL.into_iter().find(|one| one.as_str() == text);
        found.ok_or_else(|| UnknownVersion {
            text: text.chars().take(32).collect(),
        })
    }

    /// Says whether a plugin is given the result of the plugin before it.
    pub(crate) fn has_chains(self) -> bool {
        self >= Self::V0_3_0
    }

    /// Says whether DEL is given the result of ADD, and whether there is a CHECK.
    pub(crate) fn has_check(self) -> bool {
        self >= Self::V0_4_0
    }

    /// Says whether there are STATUS and GC.
    pub(crate) fn has_status_and_gc(self) -> bool {
        self >= Self::V1_1_0
    }
}

impl fmt::Display for SpecVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<SpecVersion> for &'static str {
    fn from(version: SpecVersion) -> Self {
        version.as_str()
    }
}

impl TryFrom<String> for SpecVersion {
    type Error = UnknownVersion;
    fn try_from(text: String) -> Result<Self, UnknownVersion> {
        Self::parse(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_reads_as_it_is_written() {
        for version in SpecVersion::ALL {
            assert_eq!(SpecVersion::parse(version.as_str()), Ok(version));
        }
        assert_eq!(SpecVersion::parse(""), Ok(SpecVersion::V0_1_0));
        for bad in ["1", "1.0", "2.0.0", "v1.0.0", "1.1.0 ", "0.4.1"] {
            assert!(SpecVersion::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn versions_are_ordered_and_know_what_they_brought() {
        assert!(SpecVersion::ALL.is_sorted());
        let brought: Vec<_> = SpecVersion::ALL
            .iter()
            .map(|v| (v.has_chains(), v.has_check(), v.has_status_and_gc()))
            .collect();
        assert_eq!(
            brought,
            [
                (false, false, false),
                (false, false, false),
                (true, false, false),
                (true, false, false),
                (true, true, false),
                (true, true, false),
                (true, true, true),
            ]
        );
    }
}
