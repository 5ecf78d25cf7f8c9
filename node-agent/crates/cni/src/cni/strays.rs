//! Strays: plugins that an agent which was killed has left running.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::Cni;

/// How long all that were killed may take to end.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the whole search may take: the agent serves nobody meanwhile, and what a process was
/// started with cannot be read while the kernel is busy with its memory.
const LIMIT: Duration = Duration::from_secs(10);

/// Times that they are looked for: one may start another while it is killed.
const ROUNDS: u32 = 5;

impl Cni {
    /// Ends plugins that work on network namespaces of this node though nobody waits for them any
    /// more; to be called before any is run. Returns how many there were.
    ///
    /// Such a plugin would go on making what is released at the same time. What one has left behind
    /// on purpose, such as a name server, lives on.
    pub async fn end_strays(&self) -> usize {
        let inner = Arc::clone(&self.inner);
        let deadline = Instant::now() + LIMIT;
        let ended =
            tokio::task::spawn_blocking(move || end(&inner.config.netns_directory, deadline));
        let Ok(ended) = tokio::time::timeout_at(deadline.into(), ended).await else {
            tracing::warn!("network plugins of the agent before not all looked for");
            return 0;
        };
        ended.unwrap_or_default()
    }
}

/// A process of a plugin, and the leader of its group.
struct Stray {
    process: OwnedFd,
    leader: i32,
}

fn end(netns_directory: &Path, deadline: Instant) -> usize {
    let mut ended = 0;
    let mut groups = Vec::new();
    for _ in 0..ROUNDS {
        let found = find(netns_directory, &groups);
        // What is found later may be run by this agent.
        if found.is_empty() || Instant::now() >= deadline {
            break;
        }
        ended += found.len();
        for stray in &found {
            // One that has ended meanwhile is none of our business any more.
            let _ = pidfd_send_signal(&stray.process, Signal::KILL);
            groups.push(stray.leader);
        }
        let patience = (Instant::now() + PATIENCE).min(deadline);
        for stray in &found {
            wait_for(&stray.process, patience);
        }
    }
    ended
}

/// Waits for the end of a process, but no longer than until `deadline`.
fn wait_for(process: &OwnedFd, deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).unwrap_or_default();
    let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&left));
}

/// Returns the processes that are plugins of this node under way. `groups` are known to be.
fn find(netns_directory: &Path, groups: &[i32]) -> Vec<Stray> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let own_pids = pid_namespace("self");
    pids.filter_map(|pid: i32| {
        let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        // Read after the handle was taken, so that it is the same process.
        let leader = Membership::of(pid)?.leader_of_plugin(groups)?;
        // What runs in a container is the container's, whatever it calls itself.
        if pid_namespace(&pid.to_string()) != own_pids {
            return None;
        }
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        is_plugin(&environment, netns_directory).then_some(Stray { process, leader })
    })
    .collect()
}

fn pid_namespace(process: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{process}/ns/pid")).ok()
}

/// Where a process belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Membership {
    /// A zombie does not count.
    lives: bool,
    group: i32,
    session: i32,
}

impl Membership {
    fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        // The name, in brackets, may have spaces and brackets itself.
        let (_, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let state = fields.next()?;
        let _parent = fields.next()?;
        Some(Self {
            lives: !matches!(state, "Z" | "X"),
            group: fields.next()?.parse().ok()?,
            session: fields.next()?.parse().ok()?,
        })
    }

    /// Returns the leader of the group where the process may be a plugin under way: that leads its
    /// group, or is led in it, in the agent's session. What a plugin left behind on purpose has no
    /// leader any more, or a session of its own.
    fn leader_of_plugin(self, groups: &[i32]) -> Option<i32> {
        let leader = self.group;
        if leader == self.session || leader == 0 {
            return None;
        }
        let led = || Self::of(leader).is_some_and(|leader| leader.lives);
        (groups.contains(&leader) || led()).then_some(leader)
    }
}

fn is_plugin(environment: &[u8], netns_directory: &Path) -> bool {
    let value = |name: &[u8]| {
        let mut variables = environment.split(|byte| *byte == 0);
        variables.find_map(|variable| variable.strip_prefix(name))
    };
    let is_ours = |netns: &[u8]| {
        let below = netns.strip_prefix(netns_directory.as_os_str().as_bytes());
        below.is_some_and(|rest| rest.starts_with(b"/"))
    };
    value(b"CNI_COMMAND=").is_some() && value(b"CNI_NETNS=").is_some_and(is_ours)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    use std::process::{Child, Command, Stdio};

    use super::*;

    #[test]
    fn only_plugins_of_this_node_are_meant() {
        let ours = Path::new("/run/agent/netns");
        let is_ours = |environment: &str| is_plugin(environment.as_bytes(), ours);
        assert!(is_ours(
            "PATH=/bin\0CNI_COMMAND=ADD\0CNI_NETNS=/run/agent/netns/abc\0"
        ));
        assert!(!is_ours(
            "CNI_COMMAND=ADD\0CNI_NETNS=/run/agent/netnsx/abc\0"
        ));
        assert!(!is_ours(
            "CNI_COMMAND=ADD\0CNI_NETNS=/run/other/netns/abc\0"
        ));
        assert!(!is_ours("CNI_NETNS=/run/agent/netns/abc\0"));
        assert!(!is_ours(""));
    }

    /// A plugin of a test's own node, which says the id of what it starts.
    fn plugin(netns_directory: &Path, script: &str) -> (Child, i32) {
        let netns = netns_directory.join("abc");
        let mut child = Command::new("/bin/sh")
            .args(["-c", script])
            .env("CNI_COMMAND", "ADD")
            .env("CNI_NETNS", netns)
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let said = child.stdout.take().unwrap();
        BufReader::new(said).read_line(&mut line).unwrap();
        (child, line.trim().parse().unwrap())
    }

    fn lives(pid: i32) -> bool {
        Membership::of(pid).is_some_and(|process| process.lives)
    }

    fn end_now(netns_directory: &Path) -> usize {
        end(netns_directory, Instant::now() + LIMIT)
    }

    #[test]
    fn a_plugin_under_way_is_ended_with_what_it_runs() {
        let ours = tempfile::tempdir().unwrap();
        let script = "sleep 1000 >/dev/null & echo $!; wait";
        let (mut leader, delegate) = plugin(ours.path(), script);
        assert!(lives(delegate));
        assert_eq!(end_now(&ours.path().join("other")), 0);
        assert_eq!(end_now(ours.path()), 2);
        assert_eq!(leader.wait().unwrap().signal(), Some(9));
        assert!(!lives(delegate));
        assert_eq!(end_now(ours.path()), 0);
    }

    #[test]
    fn what_a_plugin_left_behind_on_purpose_lives_on() {
        let ours = tempfile::tempdir().unwrap();
        for daemon in ["sleep 1000", "setsid sleep 1000"] {
            let script = format!("{daemon} >/dev/null & echo $!");
            let (mut leader, daemon) = plugin(ours.path(), &script);
            leader.wait().unwrap();
            let left = pidfd_open(Pid::from_raw(daemon).unwrap(), PidfdFlags::empty()).unwrap();
            let seen = (end_now(ours.path()), lives(daemon));
            let _ = pidfd_send_signal(&left, Signal::KILL);
            wait_for(&left, Instant::now() + LIMIT);
            assert_eq!(seen, (0, true), "{script}");
        }
    }

    #[test]
    fn a_process_found_too_late_is_left_alone() {
        let ours = tempfile::tempdir().unwrap();
        let (mut leader, _) = plugin(ours.path(), "echo $$; exec sleep 1000");
        assert_eq!(end(ours.path(), Instant::now()), 0);
        assert_eq!(end_now(ours.path()), 1);
        leader.wait().unwrap();
    }

    #[test]
    fn a_name_does_not_hide_where_a_process_belongs() {
        let found = Membership::parse("7 (a) S 1 2) b) R 1 30 40 0 -1").unwrap();
        assert_eq!((found.lives, found.group, found.session), (true, 30, 40));
        assert_eq!(found.leader_of_plugin(&[30]), Some(30));
        let kernel = Membership::parse("2 (kthreadd) S 0 0 0 0 -1").unwrap();
        assert_eq!(kernel.leader_of_plugin(&[]), None);
        assert!(!Membership::parse("7 (x) Z 1 30 40 0").unwrap().lives);
    }
}
