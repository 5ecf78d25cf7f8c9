//! What pods are asked to be, as an API server or a directory of manifests would say it.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// What happens to containers that have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    Always,
    OnFailure,
    Never,
}

/// Where a pod comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The API server.
    Api,
    /// A file of the node: a static pod, critical to it.
    File,
}

/// Which containers of a pod one is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to its end before the next starts.
    Init,
    /// An init container that is always restarted: the next starts once it runs.
    Sidecar,
    Main,
}

/// A container of a pod.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// A line for the shell.
    pub(crate) line: String,
    /// A line that is run in it many times a second.
    pub(crate) probe: Option<String>,
    /// Most memory, in bytes; 0: any.
    pub(crate) memory: i64,
}

/// A pod.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) restart: Restart,
    pub(crate) source: Source,
    /// Init containers and sidecars in their order, then the main ones.
    pub(crate) containers: Vec<Container>,
    /// Time its containers get to end.
    pub(crate) grace: Duration,
}

impl Pod {
    pub(crate) fn new(name: &str, uid: &str, restart: Restart) -> Self {
        Self {
            name: name.to_owned(),
            uid: uid.to_owned(),
            restart,
            source: Source::Api,
            containers: Vec::new(),
            grace: Duration::from_secs(5),
        }
    }

    /// Adds a container.
    pub(crate) fn with(mut self, role: Role, name: &str, line: &str) -> Self {
        self.containers.push(Container {
            name: name.to_owned(),
            role,
            line: line.to_owned(),
            probe: None,
            memory: 0,
        });
        self
    }

    /// Makes it a static pod.
    pub(crate) fn of_file(mut self) -> Self {
        self.source = Source::File;
        self
    }

    /// Has its last container probed.
    pub(crate) fn probed(mut self, line: &str) -> Self {
        if let Some(last) = self.containers.last_mut() {
            last.probe = Some(line.to_owned());
        }
        self
    }

    /// Limits the memory of its last container.
    pub(crate) fn limited(mut self, bytes: i64) -> Self {
        if let Some(last) = self.containers.last_mut() {
            last.memory = bytes;
        }
        self
    }

    /// Returns where its logs lie.
    pub(crate) fn logs(&self, below: &Path) -> PathBuf {
        below.join(format!("default_{}_{}", self.name, self.uid))
    }
}
