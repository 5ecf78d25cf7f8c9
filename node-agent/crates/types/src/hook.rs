//! Points of a container's life at which further programs may be run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// When a hook is run; the names of the OCI runtime specification, in the order of a container's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HookStage {
    /// Its namespaces and mounts stand; on the host. The older name of the next.
    Prestart,
    /// Its namespaces and mounts stand; on the host.
    CreateRuntime,
    /// After those; a program of the host's, in the container's namespaces.
    CreateContainer,
    /// Just before its program; a program of its own, as that one's user.
    StartContainer,
    /// Its program runs; on the host.
    Poststart,
    /// It is gone; on the host.
    Poststop,
}

impl HookStage {
    /// Every stage.
    pub const ALL: [Self; 6] = [
        Self::Prestart,
        Self::CreateRuntime,
        Self::CreateContainer,
        Self::StartContainer,
        Self::Poststart,
        Self::Poststop,
    ];

    /// Returns its name in specifications.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }
}

impl fmt::Display for HookStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Not the name of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "hooks are run at prestart, createRuntime, createContainer, startContainer, poststart or poststop"
)]
pub struct HookStageError;

impl FromStr for HookStage {
    type Err = HookStageError;

    fn from_str(text: &str) -> Result<Self, HookStageError> {
        let mut all = Self::ALL.into_iter();
        all.find(|stage| stage.name() == text).ok_or(HookStageError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_has_one_name_everywhere() {
        for stage in HookStage::ALL {
            assert_eq!(stage.name().parse(), Ok(stage));
            let json = serde_json::to_string(&stage).unwrap();
            assert_eq!(json, format!("\"{stage}\""));
        }
        assert_eq!("prestop".parse::<HookStage>(), Err(HookStageError));
    }

    #[test]
    fn stages_are_in_the_order_of_life() {
        assert!(HookStage::ALL.is_sorted());
    }
}
