//! A container's hooks: what they are told, and where each is run.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent_types::HookStage;
use oci_spec::runtime::Hook;
use rustix::thread::{
    LinkNameSpaceType, ThreadNameSpaceType as Namespace, move_into_link_name_space,
    move_into_thread_name_spaces,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::run;
use crate::error::CreateError;
use crate::failure::Failure;
use crate::init::Step;
use crate::visit;

/// Beside what the hooks may take: what a container's own process may be silent for, and a moment.
pub(super) const MARGIN: Duration = Duration::from_secs(35);

/// How long a hook may take that does not say.
const UNSAID: Duration = Duration::from_secs(10);

/// The part of a specification that is about hooks.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Told {
    oci_version: String,
    #[serde(default)]
    hooks: BTreeMap<HookStage, Vec<Hook>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

/// The hooks of a container, and what they are told of it.
#[derive(Debug)]
pub struct Hooked {
    hooks: BTreeMap<HookStage, Vec<Hook>>,
    version: String,
    annotations: BTreeMap<String, String>,
    id: String,
    bundle: PathBuf,
    mounts: OwnedFd,
}

impl Hooked {
    /// Reads the hooks of a specification. `bundle` is a directory of the container's, which is
    /// there, and `mounts` the host's mount namespace.
    ///
    /// # Errors
    /// The specification cannot be read.
    pub fn read(
        spec: &[u8],
        id: &str,
        bundle: &Path,
        mounts: OwnedFd,
    ) -> Result<Arc<Self>, CreateError> {
        let told: Told = serde_json::from_slice(spec).map_err(|error| {
            let failure = Failure::invalid("read", "the container's hooks", "");
            CreateError::Step(failure.because(error.to_string()))
        })?;
        Ok(Arc::new(Self {
            hooks: told.hooks,
            version: told.oci_version,
            annotations: told.annotations.unwrap_or_default(),
            id: id.to_owned(),
            bundle: bundle.to_owned(),
            mounts,
        }))
    }

    /// Returns how long all the hooks of these stages may take.
    #[must_use]
    pub fn patience(&self, stages: &[HookStage]) -> Duration {
        let hooks = stages.iter().filter_map(|stage| self.hooks.get(stage));
        hooks.flatten().map(limit).sum()
    }

    /// Returns how long a start with its hooks may take.
    pub(crate) fn patience_of_start(&self) -> Duration {
        MARGIN * 2 + self.patience(&[HookStage::StartContainer, HookStage::Poststart])
    }

    pub(crate) fn bundle(&self) -> &Path {
        &self.bundle
    }

    pub(crate) fn mounts(&self) -> BorrowedFd<'_> {
        self.mounts.as_fd()
    }

    pub(crate) fn has(&self, stage: HookStage) -> bool {
        self.hooks
            .get(&stage)
            .is_some_and(|hooks| !hooks.is_empty())
    }

    fn of(&self, stage: HookStage) -> impl Iterator<Item = &Hook> {
        self.hooks.get(&stage).into_iter().flatten()
    }

    /// Writes the specification for hooks to read, with the place of the container's root in it.
    pub(crate) fn write_bundle(&self, spec: &[u8]) -> Step<()> {
        let path = self.bundle.join("config.json");
        let failed = |error| Failure::io("write", path.display().to_string(), error);
        let mut spec: Value = serde_json::from_slice(spec).map_err(|error| failed(error.into()))?;
        spec["root"]["path"] = json!(self.root());
        let bytes = serde_json::to_vec(&spec).map_err(|error| failed(error.into()))?;
        std::fs::write(&path, bytes).map_err(failed)
    }

    /// Returns where the container's root is mounted until it is entered.
    pub(crate) fn root(&self) -> PathBuf {
        self.bundle.join("rootfs")
    }

    /// Returns what a hook reads: the container's state.
    fn state(&self, status: &str, pid: Option<i32>) -> Vec<u8> {
        let mut state = json!({
            "ociVersion": self.version,
            "id": self.id,
            "status": status,
            "bundle": self.bundle,
            "annotations": self.annotations,
        });
        if let Some(pid) = pid {
            state["pid"] = json!(pid);
        }
        state.to_string().into_bytes()
    }

    /// Runs what is to be run when the container's namespaces and mounts stand. Its first process,
    /// or the one that makes that, waits before it enters its root.
    pub(crate) fn before_root(&self, pid: i32, pidfd: BorrowedFd<'_>, own_pid: bool) -> Step<()> {
        let state = self.state("creating", Some(pid));
        for stage in [HookStage::Prestart, HookStage::CreateRuntime] {
            for hook in self.of(stage) {
                run::run(stage, hook, &state, || self.go_to_host())?;
            }
        }
        if !self.has(HookStage::CreateContainer) {
            return Ok(());
        }
        // As the container sees it.
        let state = self.state("creating", Some(if own_pid { 1 } else { pid }));
        for hook in self.of(HookStage::CreateContainer) {
            self.run_inside(hook, &state, pidfd, own_pid)?;
        }
        Ok(())
    }

    fn run_inside(
        &self,
        hook: &Hook,
        state: &[u8],
        pidfd: BorrowedFd<'_>,
        own_pid: bool,
    ) -> Step<()> {
        let stage = HookStage::CreateContainer;
        let inside = Namespace::MOUNT
            | Namespace::NETWORK
            | Namespace::INTER_PROCESS_COMMUNICATION
            | Namespace::HOST_NAME_AND_NIS_DOMAIN_NAME
            | Namespace::CONTROL_GROUP;
        let enter = || {
            be_spared_no_more();
            move_into_thread_name_spaces(pidfd, inside)?;
            rustix::process::chdir(&self.bundle)
        };
        if !own_pid {
            return run::run(stage, hook, state, enter);
        }
        let us = rustix::process::getpid();
        let home = rustix::process::pidfd_open(us, rustix::process::PidfdFlags::empty())
            .map_err(|error| Failure::io("open", "the caller's process", error))?;
        visit::join(pidfd, Namespace::PROCESS_ID)?;
        let ran = run::run(stage, hook, state, enter);
        let back = visit::join(home.as_fd(), Namespace::PROCESS_ID);
        ran.and(back)
    }

    /// Runs what is to be run in the container before its program; its first process calls this.
    pub(crate) fn before_program(&self) -> Step<()> {
        let stage = HookStage::StartContainer;
        if !self.has(stage) {
            return Ok(());
        }
        let us = rustix::process::getpid().as_raw_nonzero().get();
        let state = self.state("created", Some(us));
        for hook in self.of(stage) {
            run::run(stage, hook, &state, || Ok(()))?;
        }
        Ok(())
    }

    /// Runs what is to be run when the container's program runs; returns what went wrong.
    pub(crate) fn after_start(&self, pid: i32) -> Vec<Failure> {
        self.run_all(HookStage::Poststart, &self.state("running", Some(pid)))
    }

    /// Runs what is to be run when the container is gone; returns what went wrong.
    pub(crate) fn after_end(&self) -> Vec<Failure> {
        self.run_all(HookStage::Poststop, &self.state("stopped", None))
    }

    fn run_all(&self, stage: HookStage, state: &[u8]) -> Vec<Failure> {
        let run = |hook| run::run(stage, hook, state, || self.go_to_host()).err();
        self.of(stage).filter_map(run).collect()
    }

    /// Enters the host's mounts: the caller's own are few.
    fn go_to_host(&self) -> rustix::io::Result<()> {
        be_spared_no_more();
        move_into_link_name_space(self.mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
        rustix::process::chdir(&self.bundle)
    }

    /// Removes what hooks were given to read.
    pub(crate) fn remove_bundle(&self) {
        // What is left of it goes with the sandbox's directory.
        let _ = std::fs::remove_dir_all(&self.bundle);
    }
}

/// The caller's process is spared by the OOM killer; where this is refused, it is not.
fn be_spared_no_more() {
    let _ = std::fs::write("/proc/self/oom_score_adj", "0");
}

/// Returns how long a hook may take.
pub(super) fn limit(hook: &Hook) -> Duration {
    let seconds = hook
        .timeout()
        .and_then(|seconds| u64::try_from(seconds).ok());
    seconds.map_or(UNSAID, Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hooked(spec: &Value) -> Arc<Hooked> {
        let null = std::fs::File::open("/dev/null").unwrap();
        let spec = serde_json::to_vec(spec).unwrap();
        Hooked::read(&spec, "c1", Path::new("/bundle"), null.into()).unwrap()
    }

    #[test]
    fn hooks_and_their_limits_are_read() {
        let spec = json!({
            "ociVersion": "1.1.0",
            "annotations": {"a": "b"},
            "hooks": {
                "createContainer": [{"path": "/a", "timeout": 3}, {"path": "/b"}],
                "poststop": [{"path": "/c", "timeout": 7}],
                "poststart": [],
            },
        });
        let hooked = hooked(&spec);
        assert!(hooked.has(HookStage::Poststop) && !hooked.has(HookStage::Poststart));
        assert_eq!(hooked.patience(&HookStage::ALL).as_secs(), 20);
        assert_eq!(hooked.patience(&[HookStage::Prestart]).as_secs(), 0);
        let state: Value = serde_json::from_slice(&hooked.state("creating", Some(7))).unwrap();
        let expected = json!({
            "ociVersion": "1.1.0", "id": "c1", "status": "creating", "pid": 7,
            "bundle": "/bundle", "annotations": {"a": "b"},
        });
        assert_eq!(state, expected);
        let state: Value = serde_json::from_slice(&hooked.state("stopped", None)).unwrap();
        assert!(state.get("pid").is_none());
    }

    #[test]
    fn what_is_no_specification_is_refused() {
        let null = std::fs::File::open("/dev/null").unwrap();
        let read = Hooked::read(b"{\"ociVersion\":1}", "c1", Path::new("/b"), null.into());
        assert!(read.unwrap_err().to_string().contains("hooks"));
    }
}
