//! Versions of the kernel, for rules that begin with one.

use std::str::FromStr;

use crate::error::{ProfileError, shown};

/// Major and minor version, such as 6.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

impl KernelVersion {
    /// Returns the version of the kernel that runs this program; 0.0 if it has an unusual name.
    #[must_use]
    pub fn running() -> Self {
        let uname = rustix::system::uname();
        let release = uname.release().to_string_lossy();
        let numbers = release
            .split(['.', '-', '+'])
            .map(|part| part.parse().unwrap_or(0));
        let mut numbers = numbers.chain([0, 0]);
        Self {
            major: numbers.next().unwrap_or(0),
            minor: numbers.next().unwrap_or(0),
        }
    }
}

impl FromStr for KernelVersion {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Self, ProfileError> {
        let refused = || ProfileError::Kernel {
            version: shown(text),
        };
        let (major, minor) = text.split_once('.').ok_or_else(refused)?;
        Ok(Self {
            major: major.parse().map_err(|_| refused())?,
            minor: minor.parse().map_err(|_| refused())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_compared_as_numbers() {
        let version = |text: &str| text.parse::<KernelVersion>().unwrap();
        assert!(version("4.8") < version("4.18"));
        assert!(version("6.1") > version("5.15"));
        assert!("4".parse::<KernelVersion>().is_err() && "4.x".parse::<KernelVersion>().is_err());
        assert!(KernelVersion::running() > version("4.0"));
    }
}
