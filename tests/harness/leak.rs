//! What an agent left behind: everything on the machine that carries its names.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::command;
use crate::process;
use crate::slot::Names;
use crate::wait;

/// What was found, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Mounts below the agent's directories, in any process's mount namespace.
    pub mounts: Vec<String>,
    /// The bridge, and links that are attached to it.
    pub links: Vec<String>,
    /// nftables tables.
    pub tables: Vec<String>,
    /// cgroup directories, the parent left out.
    pub cgroups: Vec<PathBuf>,
    /// Processes in those cgroups, or whose working directory or program is below the agent's directories.
    pub processes: Vec<String>,
    /// Sockets and other files in the state directory that belong to a sandbox.
    pub sandboxes: Vec<PathBuf>,
}

impl Leftovers {
    /// Returns whether nothing was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Looks for everything that carries the names.
pub fn snapshot(names: &Names, directory: &Path) -> Result<Leftovers> {
    let cgroups = cgroups(names);
    Ok(Leftovers {
        mounts: mounts(directory),
        links: links(names)?,
        tables: tables(names)?,
        processes: processes(&cgroups, directory)?,
        cgroups: cgroups
            .into_iter()
            .filter(|path| !path.ends_with(&names.cgroup))
            .collect(),
        sandboxes: Vec::new(),
    })
}

/// Removes everything that carries the names; for the end of a test, whatever it left.
pub fn clear(names: &Names) -> Result<()> {
    for directory in cgroups(names) {
        for pid in members(&directory) {
            // It may have ended meanwhile.
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
    }
    for directory in cgroups(names) {
        wait::until("a cgroup is removed", || {
            match std::fs::remove_dir(&directory) {
                Ok(()) => Ok(Some(())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Some(())),
                Err(error) => Err(error).with_context(|| format!("remove {}", directory.display())),
            }
        })?;
    }
    for link in links(names)? {
        // Its peer may have taken it along.
        let _ = command::output(Command::new("ip").args(["link", "delete", &link]));
    }
    for table in tables(names)? {
        let mut delete = Command::new("nft");
        command::run(delete.arg("delete").arg("table").args(table.split(' ')))?;
    }
    Ok(())
}

fn mounts(directory: &Path) -> Vec<String> {
    let needle = directory.display().to_string();
    let mut found: Vec<String> = process::all()
        .unwrap_or_default()
        .iter()
        .filter_map(|one| std::fs::read_to_string(format!("/proc/{}/mountinfo", one.pid)).ok())
        .flat_map(|text| {
            text.lines()
                .filter(|line| line.contains(&needle))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

fn links(names: &Names) -> Result<Vec<String>> {
    let text = command::run(Command::new("ip").args(["-json", "link", "show"]))?;
    let all: Vec<Value> = serde_json::from_str(&text).context("read the list of links")?;
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

/// Returns the cgroup directories of a slot in every hierarchy, the deepest first.
fn cgroups(names: &Names) -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let mut open: Vec<PathBuf> = std::iter::once(root.to_owned())
        .chain(directories(root))
        .map(|hierarchy| hierarchy.join(&names.cgroup))
        .filter(|path| path.is_dir())
        .collect();
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        open.extend(directories(&directory));
        found.push(directory);
    }
    found.reverse();
    found
}

fn directories(of: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(of).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn members(directory: &Path) -> Vec<u32> {
    let text = std::fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

fn processes(cgroups: &[PathBuf], directory: &Path) -> Result<Vec<String>> {
    let inside: Vec<u32> = cgroups.iter().flat_map(|cgroup| members(cgroup)).collect();
    let all = process::all()?;
    let below = |pid: u32, link: &str| {
        std::fs::read_link(format!("/proc/{pid}/{link}"))
            .is_ok_and(|target| target.starts_with(directory))
    };
    let ours = all.iter().filter(|one| one.state != 'Z');
    let ours = ours
        .filter(|one| inside.contains(&one.pid) || below(one.pid, "cwd") || below(one.pid, "exe"));
    Ok(ours
        .map(|one| format!("{} {} {}", one.pid, one.name, one.command))
        .collect())
}
