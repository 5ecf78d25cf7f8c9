//! What the agent and its shims hold: memory and descriptors.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use harness::agent::Agent;
use harness::process;

/// Looks for one figure, and the pause between them: what is held for a moment is not counted, nor
/// what a pod costs that comes and goes every two seconds.
const LOOKS: usize = 60;
const PAUSE: Duration = Duration::from_millis(50);

/// Most that the agent may hold more after some time, in KiB and descriptors: what allocators and
/// channels keep for the next time.
const MORE_KIB: u64 = 6 << 10;
const MORE_DESCRIPTORS: usize = 8;

/// Most files of cgroups that the agent may hold more: it keeps those of whatever runs open to read
/// its use, 15 each, and a few pods more may be up at one look than at the other.
const MORE_CGROUP_FILES: usize = 8 * 15;

/// What a helper's share may grow by because others that it was shared with have ended, in KiB.
const SLACK_KIB: u64 = 64;

/// Most that one shim may hold, in KiB of its proportional share. A build with debug information is
/// not larger in memory.
const SHIM_KIB: u64 = 400;

/// Memory in KiB, and descriptors: those of cgroups' files, and all others; and how many processes
/// it looks after, each of which costs some.
#[derive(Clone, Copy, Debug)]
struct Held {
    pss: u64,
    cgroup_files: usize,
    descriptors: usize,
    children: usize,
}

impl Held {
    fn of(pid: u32) -> Option<Self> {
        let all = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let targets = all.map(|one| std::fs::read_link(one.ok()?.path()).ok());
        let (cgroup_files, others): (Vec<_>, Vec<_>) = targets.partition(|target| {
            let target = target.as_deref();
            target.is_some_and(|path| path.starts_with("/sys/fs/cgroup") && !path.is_dir())
        });
        Some(Self {
            pss: process::pss_kib(pid),
            cgroup_files: cgroup_files.len(),
            descriptors: others.len(),
            children: std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
                .map_or(0, |text| text.split_whitespace().count()),
        })
    }

    fn least(self, other: Self) -> Self {
        Self {
            pss: self.pss.min(other.pss),
            cgroup_files: self.cgroup_files.min(other.cgroup_files),
            descriptors: self.descriptors.min(other.descriptors),
            children: self.children.min(other.children),
        }
    }
}

/// What the agent and each of its helpers held at some time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    all: BTreeMap<u32, Held>,
    agent: u32,
}

impl Sample {
    /// Takes a sample.
    pub(crate) async fn take(agent: &Agent) -> Result<Self> {
        let mut sample = Self {
            all: BTreeMap::new(),
            agent: agent.pid(),
        };
        for _ in 0..LOOKS {
            let helpers = agent.helpers()?.into_iter().map(|one| one.pid);
            for pid in helpers.chain([sample.agent]) {
                if let Some(held) = Held::of(pid) {
                    let least = sample.all.get(&pid).map_or(held, |known| known.least(held));
                    sample.all.insert(pid, least);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(sample)
    }

    /// Fails where more is held than in an earlier sample of the same processes.
    pub(crate) fn has_not_grown(&self, earlier: &Self) -> Result<()> {
        for (pid, now) in &self.all {
            let Some(then) = earlier.all.get(pid) else {
                continue;
            };
            let agent = *pid == self.agent;
            let more = if agent { MORE_DESCRIPTORS } else { 0 };
            // A sidecar that ends now and then may have run at one look and not at the other.
            let comparable = agent || now.children == then.children;
            ensure!(
                !comparable || now.descriptors <= then.descriptors + more,
                "descriptors of process {pid} (agent: {agent}): {} and then {}",
                then.descriptors,
                now.descriptors
            );
            ensure!(
                now.cgroup_files <= then.cgroup_files + MORE_CGROUP_FILES,
                "cgroup files of process {pid} (agent: {agent}): {} and then {}",
                then.cgroup_files,
                now.cgroup_files
            );
            let most = if agent {
                then.pss + MORE_KIB
            } else {
                // The launcher, whose pages the shims share, is larger than they.
                SHIM_KIB.max(then.pss + SLACK_KIB)
            };
            ensure!(
                now.pss <= most,
                "memory of process {pid} (agent: {agent}): {} KiB and then {} KiB",
                then.pss,
                now.pss
            );
        }
        Ok(())
    }
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let agent = self.all.get(&self.agent);
        let helpers = self.all.iter().filter(|(pid, _)| **pid != self.agent);
        let helpers: Vec<_> = helpers
            .map(|(pid, held)| (pid, held.pss, held.descriptors, held.children))
            .collect();
        write!(
            f,
            "agent {agent:?}, {} helpers (pid, PSS in KiB, descriptors, children): {helpers:?}",
            helpers.len()
        )
    }
}
