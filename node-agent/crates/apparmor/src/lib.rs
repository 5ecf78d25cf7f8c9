//! AppArmor: whether the kernel has it, which profiles are loaded, and a default one of the node's own.
//!
//! Owns: the default profile's text and its way into the kernel. Does not: put a process under a
//! profile, which the runtime does as it executes a program. Start reading at [`Apparmor`].
#![forbid(unsafe_code)]

mod error;
mod kernel;
mod parser;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

pub use error::{LoadError, ProfileError};

/// The name of the node's own profile.
pub const DEFAULT_PROFILE: &str = "node-agent-default";

/// Its text.
const DEFAULT_TEXT: &str = include_str!("default.profile");

/// AppArmor on this machine.
#[derive(Debug)]
pub struct Apparmor {
    /// Where sysfs is.
    sysfs: PathBuf,
    /// Whether the kernel confines by it, which only another start of the machine changes.
    enabled: bool,
    /// Where the program is looked for that compiles and loads profiles.
    directories: Vec<PathBuf>,
    /// Whether the node's own profile is loaded, once somebody wanted to know.
    default: OnceLock<Result<(), Arc<LoadError>>>,
}

impl Default for Apparmor {
    fn default() -> Self {
        let directories = ["/usr/sbin", "/sbin", "/usr/local/sbin"];
        Self::at(PathBuf::from("/sys"), directories.map(PathBuf::from).into())
    }
}

impl Apparmor {
    fn at(sysfs: PathBuf, directories: Vec<PathBuf>) -> Self {
        Self {
            enabled: kernel::is_enabled(&sysfs),
            sysfs,
            directories,
            default: OnceLock::new(),
        }
    }

    /// Says whether the running kernel confines by AppArmor.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Returns the name of the node's own profile; `None` where the kernel has no AppArmor. The first call loads it, and waits
    /// for the program that does so, a minute at most.
    ///
    /// # Errors
    /// Says why it is not loaded. It stays so until the node starts again.
    pub fn default_profile(&self) -> Result<Option<&'static str>, ProfileError> {
        if !self.enabled {
            return Ok(None);
        }
        let load = || parser::load(&self.directories, DEFAULT_TEXT).map_err(Arc::new);
        match self.default.get_or_init(load) {
            Ok(()) => Ok(Some(DEFAULT_PROFILE)),
            Err(source) => Err(ProfileError::Default {
                source: Arc::clone(source),
            }),
        }
    }

    /// Makes sure that a program can be put under a profile.
    ///
    /// # Errors
    /// The kernel has no AppArmor, or no such profile is loaded.
    pub fn check(&self, name: &str) -> Result<(), ProfileError> {
        if !self.enabled {
            return Err(ProfileError::Absent {
                name: name.to_owned(),
            });
        }
        if kernel::is_loaded(&self.sysfs, name)? {
            return Ok(());
        }
        Err(ProfileError::NotLoaded {
            name: name.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests;
