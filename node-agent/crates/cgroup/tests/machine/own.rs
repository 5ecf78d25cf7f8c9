//! A tree of the test's own, and programs that run in it.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use agent_cgroup::{CgroupPath, CgroupTree, Config, Detection, DeviceRules, Limits};
use agent_types::SandboxId;

/// A tree with a parent of its own, taken away again.
pub(crate) struct Own {
    pub(crate) tree: CgroupTree,
    pub(crate) extra: Vec<CgroupPath>,
}

impl Own {
    pub(crate) fn new() -> Self {
        Self::detected(Detection::Auto)
    }

    pub(crate) fn detected(detection: Detection) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "/node-agent-test-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let tree = CgroupTree::open(Config {
            detection,
            ..Config::with_parent(name.parse().unwrap())
        });
        Self {
            tree: tree.unwrap(),
            extra: Vec::new(),
        }
    }

    pub(crate) fn pod(&self) -> agent_cgroup::PodCgroup {
        let path = self
            .tree
            .pod_path(None, &SandboxId::from_random([1; 32]))
            .unwrap();
        self.tree.create_pod(&path).unwrap()
    }

    pub(crate) fn container(&self, limits: &Limits) -> agent_cgroup::Cgroup {
        let path = self.pod().path.join("container").unwrap();
        self.tree
            .create(&path, limits, &DeviceRules::container_default())
            .unwrap()
            .settle()
            .unwrap()
    }

    /// Says in how many hierarchies a directory exists.
    pub(crate) fn present(&self, path: &CgroupPath) -> usize {
        let there =
            |h: &&agent_cgroup::Hierarchy| h.mount_point().join(&path.as_str()[1..]).exists();
        self.tree.hierarchies().iter().filter(there).count()
    }

    pub(crate) fn read(&self, controller: &str, path: &CgroupPath, file: &str) -> String {
        let all = self.tree.hierarchies();
        let hierarchy = all.iter().find(|h| h.has(controller)).unwrap();
        let file = hierarchy.mount_point().join(&path.as_str()[1..]).join(file);
        std::fs::read_to_string(file).unwrap().trim().to_owned()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let listed = self.tree.list_ours().unwrap_or_default();
        for path in listed.iter().map(|own| &own.path).chain(&self.extra) {
            if let Ok(Some(cgroup)) = self.tree.open_cgroup(path) {
                let _ = cgroup.thaw();
                let _ = cgroup.remove();
            }
        }
        let gone = self.tree.remove_parent();
        if !std::thread::panicking() {
            assert!(gone, "the test's own cgroups are gone");
        }
    }
}

/// Starts a program that puts itself into the cgroup first, as a container's first process does.
pub(crate) fn run_in(cgroup: &agent_cgroup::Cgroup, script: &str) -> Child {
    let directories = cgroup.attach_directories().unwrap();
    let mut shell = String::from("set -e\n");
    for directory in &directories {
        let path = std::fs::read_link(format!(
            "/proc/self/fd/{}",
            std::os::fd::AsRawFd::as_raw_fd(directory)
        ));
        let path = path.unwrap();
        let tasks = path.join("tasks");
        let file = if tasks.exists() {
            tasks
        } else {
            path.join("cgroup.procs")
        };
        shell.push_str(&format!("echo 0 > {}\n", file.display()));
    }
    shell.push_str(script);
    Command::new("sh")
        .args(["-c", &shell])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits until `holds`; fails after ten seconds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "timed out: {what}");
        std::thread::yield_now();
    }
}
