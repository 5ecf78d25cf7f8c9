//! Ids as newtypes: a checked constructor each, so that no id can be a path.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest id accepted, in bytes; leaves room below `NAME_MAX` for suffixes.
pub const MAX_ID_LENGTH: usize = 128;

/// Why a string is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Nothing was given.
    #[error("{what} is empty")]
    Empty {
        /// The noun the id is for.
        what: &'static str,
    },
    /// More than [`MAX_ID_LENGTH`] bytes.
    #[error("{what} has {length} bytes, more than {MAX_ID_LENGTH}")]
    TooLong {
        /// The noun the id is for.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
    },
    /// A byte outside `[a-zA-Z0-9_.-]`, or a first byte that is no letter or digit.
    #[error("{what} {value:?} has a character that ids cannot have")]
    Character {
        /// The noun the id is for.
        what: &'static str,
        /// The refused text.
        value: String,
    },
}

/// Checks that `value` is one path component made of `[a-zA-Z0-9_.-]`, first byte alphanumeric.
fn check(what: &'static str, value: &str) -> Result<(), IdError> {
    let Some(first) = value.bytes().next() else {
        return Err(IdError::Empty { what });
    };
    if value.len() > MAX_ID_LENGTH {
        return Err(IdError::TooLong {
            what,
            length: value.len(),
        });
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if !first.is_ascii_alphanumeric() || !value.bytes().all(allowed) {
        return Err(IdError::Character {
            what,
            value: value.to_owned(),
        });
    }
    Ok(())
}

/// Lower-case hex of 32 bytes, the shape of every id this node makes.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// Returns the id that 32 random bytes spell in hex.
            #[must_use]
            pub fn from_random(bytes: [u8; 32]) -> Self {
                Self(hex(&bytes).into_boxed_str())
            }

            /// Returns the id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Returns the first twelve characters, as people see it.
            #[must_use]
            pub fn short(&self) -> &str {
                self.0.get(..12).unwrap_or(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(value: &str) -> Result<Self, IdError> {
                check($what, value)?;
                Ok(Self(value.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(value: String) -> Result<Self, IdError> {
                check($what, &value)?;
                Ok(Self(value.into_boxed_str()))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.into_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

id!(
    /// Names a sandbox: a group of containers that share namespaces.
    SandboxId,
    "sandbox id"
);
id!(
    /// Names a container.
    ContainerId,
    "container id"
);
id!(
    /// Names one exec session inside a container.
    ExecId,
    "exec id"
);
id!(
    /// Names a snapshot of a file system: a container's writable one.
    SnapshotKey,
    "snapshot key"
);

/// A person's container and the sandbox made for it go by one id.
impl From<&SandboxId> for ContainerId {
    fn from(id: &SandboxId) -> Self {
        Self(id.0.clone())
    }
}

impl From<&ContainerId> for SnapshotKey {
    fn from(id: &ContainerId) -> Self {
        Self(id.0.clone())
    }
}

/// Names an image by the digest of its config.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageId(pub crate::Digest);

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who a sandbox belongs to. A kubelet sees only [`Owner::Cri`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// Made by a kubelet through CRI.
    Cri,
    /// Made by a person or by automation through `agent.v1`.
    Local,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn path_like_ids_are_refused() {
        for bad in ["", ".", "..", "a/b", "../x", "a\0b", "-a", "a b", "é"] {
            assert!(bad.parse::<SandboxId>().is_err(), "{bad:?}");
        }
        assert!("x".repeat(129).parse::<ContainerId>().is_err());
    }

    #[test]
    fn random_ids_are_sixty_four_hex_digits() {
        let id = ContainerId::from_random([0xab; 32]);
        assert_eq!(id.as_str(), "ab".repeat(32));
        assert_eq!(id.short(), "abababababab");
    }

    #[test]
    fn a_stored_bad_id_does_not_load() {
        assert!(serde_json::from_str::<SandboxId>("\"../../etc\"").is_err());
    }

    proptest! {
        #[test]
        fn an_accepted_id_is_one_path_component(text in ".{0,140}") {
            if let Ok(id) = text.parse::<SandboxId>() {
                prop_assert!(!id.as_str().contains('/'));
                prop_assert!(id.as_str() != "." && id.as_str() != "..");
            }
        }
    }
}
