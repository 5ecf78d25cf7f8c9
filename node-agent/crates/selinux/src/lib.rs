//! SELinux: whether the kernel has a policy, the labels of pods and containers, and files that get them.
//!
//! Owns: what a label is put together from, the categories that keep pods apart, and whether the
//! policy knows a label. Does not: label a process or a mount, which the runtime does as it makes
//! them. Start reading at [`Selinux`].
#![forbid(unsafe_code)]

mod contexts;
mod error;
mod kernel;
mod label;
mod level;
mod relabel;

use std::path::PathBuf;

pub use error::{LabelError, RelabelError};
pub use label::{LabelWish, Labels};
pub use relabel::{label_file, relabel};

use contexts::Contexts;
use label::Label;

/// SELinux on this machine.
#[derive(Debug)]
pub struct Selinux {
    /// Where the kernel is asked.
    filesystem: PathBuf,
    /// Where the policy's files are.
    configuration: PathBuf,
    /// Whether the kernel has a policy, which only another start of the machine changes.
    enabled: bool,
}

impl Default for Selinux {
    fn default() -> Self {
        Self::at("/sys/fs/selinux".into(), "/etc/selinux".into())
    }
}

impl Selinux {
    fn at(filesystem: PathBuf, configuration: PathBuf) -> Self {
        Self {
            enabled: kernel::has_policy(&filesystem),
            filesystem,
            configuration,
        }
    }

    /// Says whether the running kernel has a policy.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Returns the type that containers run with where nobody asks for another; `None` where there is
    /// none: the policy has no file of the labels of containers.
    #[must_use]
    pub fn default_type(&self) -> Option<String> {
        let contexts = self.enabled.then(|| Contexts::read(&self.configuration));
        let contexts = contexts?.ok().flatten()?;
        Some(contexts.process.kind)
    }

    /// Returns the labels of a pod: what is asked for, the rest as the policy has it for containers,
    /// and a level that no other pod has. `None`: it has none, because the kernel has no policy, or
    /// that names no labels for containers, and nobody asks.
    ///
    /// # Errors
    /// Refuses a label where there is no policy, where a part of it is said by nobody, and one that the
    /// policy does not know.
    pub fn for_pod(
        &self,
        wish: &LabelWish,
        is_taken: impl Fn(&str) -> bool,
    ) -> Result<Option<Labels>, LabelError> {
        wish.check()?;
        if !self.enabled {
            return match wish.is_empty() {
                true => Ok(None),
                false => Err(LabelError::Absent {
                    label: wish.to_string(),
                }),
            };
        }
        let contexts = Contexts::read(&self.configuration)?;
        if wish.is_empty() && contexts.is_none() {
            return Ok(None);
        }
        let process = contexts.as_ref().map(|contexts| &contexts.process);
        let level = match (&process, wish.level.as_str()) {
            _ if !kernel::has_levels(&self.filesystem) => None,
            (process, "") => Some(level::unused(
                process.and_then(|label| label.level.as_deref()),
                is_taken,
            )?),
            (_, level) => Some(level.to_owned()),
        };
        let process = wish.over(process)?.with_level(level);
        let file = contexts.map(|contexts| contexts.file);
        self.known(&process, file, wish).map(Some)
    }

    /// Returns the labels of a container: what is asked for, the rest as its pod has it.
    ///
    /// # Errors
    /// As [`Selinux::for_pod`].
    pub fn for_container(
        &self,
        wish: &LabelWish,
        pod: Option<&Labels>,
        is_taken: impl Fn(&str) -> bool,
    ) -> Result<Option<Labels>, LabelError> {
        let Some(pod) = pod.filter(|_| self.enabled) else {
            return self.for_pod(wish, is_taken);
        };
        if wish.is_empty() {
            return Ok(Some(pod.clone()));
        }
        wish.check()?;
        let of_pod = Label::parse(&pod.process);
        let level = match wish.level.as_str() {
            "" => of_pod.as_ref().and_then(|label| label.level.clone()),
            level => Some(level.to_owned()),
        };
        let level = level.filter(|_| kernel::has_levels(&self.filesystem));
        let process = wish.over(of_pod.as_ref())?.with_level(level);
        let file = pod.mount.as_deref().and_then(Label::parse);
        self.known(&process, file, wish).map(Some)
    }

    /// Returns labels that the policy knows.
    fn known(
        &self,
        process: &Label,
        file: Option<Label>,
        wish: &LabelWish,
    ) -> Result<Labels, LabelError> {
        kernel::check(&self.filesystem, process)?;
        let mount = file.map(|file| Label {
            // A user that is asked for owns the files as well.
            user: match wish.user.as_str() {
                "" => file.user,
                user => user.to_owned(),
            },
            level: process.level.clone(),
            ..file
        });
        if let Some(mount) = &mount {
            kernel::check(&self.filesystem, mount)?;
        }
        Ok(Labels {
            process: process.to_string(),
            mount: mount.map(|label| label.to_string()),
            level: process.level.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
