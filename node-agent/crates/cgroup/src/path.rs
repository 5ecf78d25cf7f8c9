//! Paths of cgroups, checked once so that no other code has to.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest path accepted, in bytes; the kernel's own limit is `PATH_MAX` with the mount point in front.
const MAX_LENGTH: usize = 2048;
/// Longest component, in bytes: `NAME_MAX`.
const MAX_COMPONENT: usize = 255;

/// Why a string is not the path of a cgroup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Not absolute, or the root itself.
    #[error("cgroup path {path:?} is not an absolute path below the root")]
    NotBelowRoot {
        /// The refused text, cut to 200 characters.
        path: String,
    },
    /// A component is empty, `.`, `..`, too long, or has a character that no cgroup may have.
    #[error("cgroup path {path:?} has the component {component:?}")]
    Component {
        /// The refused text, cut to 200 characters.
        path: String,
        /// The offending part, cut to 200 characters.
        component: String,
    },
    /// Not a slice, where systemd makes cgroups.
    #[error("cgroup path {path:?} is not a slice, such as kubepods-burstable.slice")]
    NotASlice {
        /// The refused text, cut to 200 characters.
        path: String,
    },
    /// More than 2048 bytes.
    #[error("cgroup path has {length} bytes, more than {MAX_LENGTH}")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
}

impl agent_types::Classify for PathError {
    fn kind(&self) -> agent_types::ErrorKind {
        agent_types::ErrorKind::InvalidArgument
    }
}

/// An absolute, clean path below the root of every hierarchy, such as `/kubepods/burstable/pod1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CgroupPath(String);

fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Names that are interface files' prefix on v2, where a directory of that name could hide one.
fn is_component(component: &str) -> bool {
    !component.is_empty()
        && component != "."
        && component != ".."
        && component.len() <= MAX_COMPONENT
        && !component.starts_with("cgroup.")
        && component
            .bytes()
            .all(|b| b.is_ascii_graphic() && b != b'/' && b != b'\\')
}

impl CgroupPath {
    /// Returns where the cgroup of a slice of systemd's lies, by the slice's name.
    pub fn of_slice(name: &str) -> Result<Self, PathError> {
        crate::systemd::path_of_slice(name)
    }

    /// Returns the path as text, with the leading slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the path without the leading slash, as `openat` below a mount point wants it.
    pub(crate) fn relative(&self) -> &str {
        &self.0[1..]
    }

    /// Returns this path with `name`, one component, added.
    pub fn join(&self, name: &str) -> Result<Self, PathError> {
        format!("{}/{name}", self.0).parse()
    }

    /// Returns the path one level up, or `None` for a cgroup directly below the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        match self.0.rsplit_once('/') {
            Some(("", _)) | None => None,
            Some((parent, _)) => Some(Self(parent.to_owned())),
        }
    }

    /// Returns the last component.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// Says whether this is `other` or lies below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.0
            .strip_prefix(&other.0)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Returns this path and those above it, the outermost first.
    pub(crate) fn levels(&self) -> Vec<Self> {
        let ends = self.0.match_indices('/').map(|(at, _)| at).skip(1);
        ends.chain([self.0.len()])
            .map(|end| Self(self.0[..end].to_owned()))
            .collect()
    }
}

impl FromStr for CgroupPath {
    type Err = PathError;

    fn from_str(path: &str) -> Result<Self, PathError> {
        path.to_owned().try_into()
    }
}

impl TryFrom<String> for CgroupPath {
    type Error = PathError;

    fn try_from(path: String) -> Result<Self, PathError> {
        if path.len() > MAX_LENGTH {
            return Err(PathError::TooLong { length: path.len() });
        }
        let Some(relative) = path.strip_prefix('/').filter(|rest| !rest.is_empty()) else {
            return Err(PathError::NotBelowRoot { path: shown(&path) });
        };
        if let Some(component) = relative.split('/').find(|part| !is_component(part)) {
            return Err(PathError::Component {
                path: shown(&path),
                component: shown(component),
            });
        }
        Ok(Self(path))
    }
}

impl From<CgroupPath> for String {
    fn from(path: CgroupPath) -> Self {
        path.0
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_that_leave_or_confuse_are_refused() {
        for bad in [
            "",
            "/",
            "a",
            "a/b",
            "//a",
            "/a//b",
            "/a/",
            "/../a",
            "/a/..",
            "/./a",
            "/a/./b",
            "/a b",
            "/a\nb",
            "/a\0b",
            "/cgroup.procs",
            "/é",
            "/a\\b",
        ] {
            assert!(bad.parse::<CgroupPath>().is_err(), "{bad:?}");
        }
        assert!("/".to_owned().try_into_path().is_err());
        assert!(
            format!("/{}", "x".repeat(256))
                .parse::<CgroupPath>()
                .is_err()
        );
    }

    trait IntoPath {
        fn try_into_path(self) -> Result<CgroupPath, PathError>;
    }
    impl IntoPath for String {
        fn try_into_path(self) -> Result<CgroupPath, PathError> {
            self.try_into()
        }
    }

    #[test]
    fn levels_run_from_the_outside_in() {
        let path: CgroupPath = "/kubepods/burstable/pod1".parse().unwrap();
        let levels: Vec<_> = path
            .levels()
            .iter()
            .map(|p| p.as_str().to_owned())
            .collect();
        assert_eq!(
            levels,
            [
                "/kubepods",
                "/kubepods/burstable",
                "/kubepods/burstable/pod1"
            ]
        );
        assert_eq!(path.parent().unwrap().as_str(), "/kubepods/burstable");
        assert_eq!(path.name(), "pod1");
        assert!("/a".parse::<CgroupPath>().unwrap().parent().is_none());
    }

    #[test]
    fn within_stops_at_component_borders() {
        let parent: CgroupPath = "/node-agent".parse().unwrap();
        assert!(
            "/node-agent/x"
                .parse::<CgroupPath>()
                .unwrap()
                .is_within(&parent)
        );
        assert!(parent.is_within(&parent));
        assert!(
            !"/node-agent2/x"
                .parse::<CgroupPath>()
                .unwrap()
                .is_within(&parent)
        );
    }

    proptest! {
        #[test]
        fn an_accepted_path_is_clean(text in "[/.a-z]{0,30}") {
            if let Ok(path) = text.parse::<CgroupPath>() {
                prop_assert!(!path.relative().starts_with('/'));
                prop_assert!(path.relative().split('/').all(|c| !matches!(c, "" | "." | "..")));
                let levels = path.levels();
                prop_assert_eq!(levels.last(), Some(&path));
            }
        }
    }
}
