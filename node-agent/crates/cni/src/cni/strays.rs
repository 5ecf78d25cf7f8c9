//! Strays: plugins that an agent which was killed has left running.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::Cni;

/// How long all that were killed may take to end.
const PATIENCE: Timespec = Timespec {
    tv_sec: 2,
    tv_nsec: 0,
};

/// Times that they are looked for: one may start another while it is killed.
const ROUNDS: u32 = 5;

impl Cni {
    /// Ends plugins that work on network namespaces of this node though nobody waits for them any
    /// more; to be called before any is run. Returns how many there were.
    ///
    /// Such a plugin would go on making what is released at the same time.
    pub async fn end_strays(&self) -> usize {
        let inner = Arc::clone(&self.inner);
        let ended = tokio::task::spawn_blocking(move || end(&inner.config.netns_directory));
        ended.await.unwrap_or_default()
    }
}

fn end(netns_directory: &Path) -> usize {
    let mut ended = 0;
    for _ in 0..ROUNDS {
        let found = find(netns_directory);
        if found.is_empty() {
            break;
        }
        ended += found.len();
        for process in &found {
            // One that has ended meanwhile is none of our business any more.
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
        for process in &found {
            let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&PATIENCE));
        }
    }
    ended
}

/// Returns handles on the processes whose environment is that of a plugin of this node.
fn find(netns_directory: &Path) -> Vec<OwnedFd> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid: i32| {
        let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        // Read after the handle was taken, so that it is the same process.
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        is_plugin(&environment, netns_directory).then_some(process)
    })
    .collect()
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
}
