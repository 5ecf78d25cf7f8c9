//! What an agent has on the machine: everything that carries its names, one line each, without
//! anything that differs from run to run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::cgroup;
use crate::command;
use crate::process::{self, Process};
use crate::settings;
use crate::slot::Names;

/// What was found.
pub type Traces = BTreeSet<String>;

/// Where to look.
#[derive(Clone, Debug)]
pub struct Scope {
    /// The names that only this agent uses.
    pub names: Names,
    /// The directory that holds its root and its state.
    pub directory: PathBuf,
    /// The daemon, if it runs.
    pub daemon: Option<u32>,
}

impl Scope {
    /// Looks for mounts, links, tables, cgroups and processes.
    pub fn traces(&self) -> Result<Traces> {
        let mut found = self.mounts();
        found.extend(
            links(&self.names)?
                .iter()
                .map(|link| format!("link {link}")),
        );
        found.extend(
            tables(&self.names)?
                .iter()
                .map(|table| format!("table {table}")),
        );
        let cgroups = cgroup::directories(&self.names.cgroup);
        found.extend(
            cgroups
                .iter()
                .map(|path| format!("cgroup {}", path.display())),
        );
        found.extend(self.processes()?);
        Ok(found)
    }

    /// Returns which of the traces belong to sandboxes, given those of an idle agent.
    ///
    /// A daemon keeps one network ready for the next sandbox once it had one: a link more is one of
    /// a sandbox.
    #[must_use]
    pub fn of_sandboxes(&self, traces: &Traces, idle: &Traces) -> Traces {
        // Made with the first sandbox, and kept for the next.
        let bridge = format!("link {}", self.names.bridge);
        let shims = format!("/{}/_shims", self.names.cgroup);
        let kept = |line: &str| {
            line == bridge
                || line.starts_with("table ")
                || line.starts_with("cgroup ") && line.ends_with(&shims)
        };
        let mut ahead = self.daemon.is_some();
        traces
            .difference(idle)
            .filter(|line| !kept(line))
            .filter(|line| !(line.starts_with("link ") && std::mem::take(&mut ahead)))
            .cloned()
            .collect()
    }

    /// Returns the launcher and the shims, those of earlier daemons too, but not what a launcher
    /// keeps ready.
    pub fn helpers(&self) -> Result<Vec<Process>> {
        let mut helpers = self.own()?;
        helpers.retain(|one| one.name != "shim-spare");
        Ok(helpers)
    }

    /// Returns every process forked from the daemon's copy of the shim.
    fn own(&self) -> Result<Vec<Process>> {
        let directory = self.directory.display().to_string();
        let is_ours = |one: &Process| {
            one.command.contains("launcher --root ") && one.command.contains(&directory)
        };
        Ok(process::all()?
            .into_iter()
            .filter(|one| one.state != 'Z' && is_ours(one))
            .collect())
    }

    /// Removes everything; for the end of a test, whatever it left.
    pub fn clear(&self) -> Result<()> {
        process::end_all("an agent that was left behind is gone", || self.abandoned())?;
        process::end_all("the launcher and the shims are gone", || {
            Ok(self.own()?.iter().map(|one| one.pid).collect())
        })?;
        self.unpin();
        cgroup::clear(&self.names.cgroup)?;
        let turn = settings::turn()?;
        let changed = settings::noted(&self.names.bridge)?;
        for link in links(&self.names)? {
            // Its peer may have taken it along.
            let _ = command::output(Command::new("ip").args(["link", "delete", &link]));
        }
        for table in tables(&self.names)? {
            command::run(
                Command::new("nft")
                    .args(["delete", "table"])
                    .args(table.split(' ')),
            )?;
        }
        settings::put_back(&changed)?;
        drop(turn);
        Ok(())
    }

    /// Returns daemons with this cgroup parent. Their test was killed, or the slot were not ours:
    /// each would take what the next agent makes there for its own.
    fn abandoned(&self) -> Result<Vec<u32>> {
        let parent = format!("parent = \"/{}\"", self.names.cgroup);
        let has_it = |one: &Process| {
            let mut words = one.command.split(' ');
            let file = words.find(|word| *word == "--config").and(words.next());
            let text = file.and_then(|file| std::fs::read_to_string(file).ok());
            text.is_some_and(|text| text.lines().any(|line| line == parent))
        };
        let mut all = process::all()?;
        all.retain(|one| one.state != 'Z' && self.daemon != Some(one.pid) && has_it(one));
        Ok(all.iter().map(|one| one.pid).collect())
    }

    /// Lets network namespaces go that are pinned below the directory.
    fn unpin(&self) {
        let needle = self.directory.join("state/netns");
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(1));
        for point in points
            .map(Path::new)
            .filter(|point| point.starts_with(&needle))
        {
            // Somebody else may have been faster.
            let _ = nix::mount::umount2(point, nix::mount::MntFlags::MNT_DETACH);
        }
    }

    /// Returns the mounts below the directory in any mount namespace, without their ids.
    fn mounts(&self) -> Traces {
        let needle = self.directory.display().to_string();
        let mut found = Traces::new();
        let mut namespaces = BTreeSet::new();
        for one in process::all().unwrap_or_default() {
            let namespace = std::fs::read_link(format!("/proc/{}/ns/mnt", one.pid));
            if namespace.is_ok_and(|link| !namespaces.insert(link)) {
                continue;
            }
            let text =
                std::fs::read_to_string(format!("/proc/{}/mountinfo", one.pid)).unwrap_or_default();
            for line in text.lines().filter(|line| line.contains(&needle)) {
                let fields: Vec<&str> = line.split(' ').collect();
                let place = fields.get(3..5).unwrap_or_default().join(" ");
                let kind = line.split(" - ").nth(1).unwrap_or_default();
                found.insert(format!("mount {place} {kind}"));
            }
        }
        found
    }

    /// Returns the helpers, the processes in the cgroups, and those that stand or run below the directory.
    fn processes(&self) -> Result<Traces> {
        let inside = cgroup::processes(&self.names.cgroup);
        let helpers = self.own()?;
        let below = |pid: u32, link: &str| {
            std::fs::read_link(format!("/proc/{pid}/{link}"))
                .is_ok_and(|target| target.starts_with(&self.directory))
        };
        let mut found: Traces = helpers
            .iter()
            .map(|one| self.role(one).to_owned())
            .collect();
        for one in process::all()?.iter().filter(|one| one.state != 'Z') {
            let known = helpers.iter().any(|helper| helper.pid == one.pid);
            if !known
                && (inside.contains(&one.pid) || below(one.pid, "cwd") || below(one.pid, "exe"))
            {
                found.insert(format!("process {} {}", one.name, one.command));
            }
        }
        Ok(found)
    }

    fn role(&self, helper: &Process) -> &'static str {
        if self.daemon == Some(helper.parent) {
            "launcher"
        } else if helper.name == "shim-spare" {
            "spare"
        } else {
            "shim"
        }
    }
}

/// Returns what the kernel says of each link of this network namespace.
pub(crate) fn all_links() -> Result<Vec<Value>> {
    let text = command::run(Command::new("ip").args(["-json", "link", "show"]))?;
    serde_json::from_str(&text).context("read the list of links")
}

fn links(names: &Names) -> Result<Vec<String>> {
    let all = all_links()?;
    let ours = all
        .iter()
        .filter(|link| link["ifname"] == *names.bridge || link["master"] == *names.bridge);
    Ok(ours
        .filter_map(|link| link["ifname"].as_str().map(str::to_owned))
        .collect())
}

fn tables(names: &Names) -> Result<Vec<String>> {
    let text = command::run(Command::new("nft").args(["list", "tables"]))?;
    let ours = text.lines().filter_map(|line| line.strip_prefix("table "));
    Ok(ours
        .filter(|table| table.split(' ').nth(1) == Some(&names.table))
        .map(str::to_owned)
        .collect())
}
