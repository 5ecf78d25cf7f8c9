//! What /proc says of processes: parents, programs, memory.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait;

/// One process, as /proc shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its parent's id.
    pub parent: u32,
    /// One letter: R, S, D, Z, ...
    pub state: char,
    /// The name the kernel shows.
    pub name: String,
    /// The program's path; empty where it cannot be read (a zombie).
    pub program: PathBuf,
    /// Device and inode of the program; processes of one memfd share them.
    pub program_inode: Option<(u64, u64)>,
    /// The command line, words joined by spaces.
    pub command: String,
}

/// Returns every process of the machine. Those that end meanwhile are left out.
pub fn all() -> Result<Vec<Process>> {
    let entries = std::fs::read_dir("/proc").context("list processes")?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(pids.filter_map(read).collect())
}

/// Returns a process, if it is there.
#[must_use]
pub fn read(pid: u32) -> Option<Process> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (head, tail) = stat.rsplit_once(')')?;
    let mut fields = tail.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let link = format!("/proc/{pid}/exe");
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    Some(Process {
        pid,
        parent,
        state,
        name: head.split_once('(')?.1.to_owned(),
        program: std::fs::read_link(&link).unwrap_or_default(),
        program_inode: std::fs::metadata(&link)
            .ok()
            .map(|data| (data.dev(), data.ino())),
        command: String::from_utf8_lossy(&command)
            .replace('\0', " ")
            .trim()
            .to_owned(),
    })
}

/// Returns the processes below these, themselves left out.
pub fn descendants(of: &[u32]) -> Result<Vec<Process>> {
    let mut children: BTreeMap<u32, Vec<Process>> = BTreeMap::new();
    for process in all()? {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut open = of.to_vec();
    while let Some(pid) = open.pop() {
        for child in children.remove(&pid).unwrap_or_default() {
            open.push(child.pid);
            found.push(child);
        }
    }
    Ok(found)
}

/// Kills what `find` names until it names nothing more: a process may have made another before it ended.
pub fn end_all(what: &str, find: impl Fn() -> Result<Vec<u32>>) -> Result<()> {
    wait::until(what, || {
        let left = find()?;
        for pid in &left {
            // It may have ended meanwhile.
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
        Ok(left.is_empty().then_some(()))
    })
}

/// Returns a process's proportional share of memory, in KiB; 0 once it has ended.
#[must_use]
pub fn pss_kib(pid: u32) -> u64 {
    field(pid, "smaps_rollup", "Pss:")
}

/// Returns a process's resident memory, in KiB; 0 once it has ended.
#[must_use]
pub fn rss_kib(pid: u32) -> u64 {
    field(pid, "status", "VmRSS:")
}

/// Returns the most memory a process ever had resident, in KiB; 0 once it has ended.
#[must_use]
pub fn peak_rss_kib(pid: u32) -> u64 {
    field(pid, "status", "VmHWM:")
}

/// Returns a variable of the environment a process was started with.
#[must_use]
pub fn variable(pid: u32, name: &str) -> Option<String> {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
    let prefix = format!("{name}=");
    environment
        .split(|byte| *byte == 0)
        .filter_map(|entry| std::str::from_utf8(entry).ok())
        .find_map(|entry| entry.strip_prefix(&prefix))
        .map(str::to_owned)
}

fn field(pid: u32, file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
