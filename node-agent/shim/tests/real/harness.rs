//! A launcher, shims and containers made for real, and the cgroups and directories they live in.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use agent_shim_client::{
    CgroupDirectories, ContainerPid, ContainerStdio, CreateContainer, Created, Events, Exec,
    ExecExit, ExecSession, ExecStdio, ExecStreams, ExitReport, LaunchSpec, Launcher,
    LauncherConfig, Log, Namespace, Network, Ready, RequestError, Root, Rotation, SandboxPid, Shim,
    ShimEvent, Stdin, User,
};
use agent_types::ContainerId;
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tokio::net::unix::pipe;

/// Longest that anything here may take; a test that waits so long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Hierarchies that the containers' cgroups are made in.
const HIERARCHIES: [&str; 3] = ["memory", "pids", "freezer"];

const APPLETS: [&str; 18] = [
    "sh", "cat", "echo", "true", "sleep", "dd", "yes", "head", "hostname", "mount", "stty", "seq",
    "kill", "tty", "ls", "wc", "setsid", "tr",
];

/// What a node agent would have: directories, cgroups, a launcher.
pub(crate) struct Node {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) launcher: Launcher,
    // In this order they are dropped: without its shim a container ends only with its cgroup.
    shims: Shims,
    cgroup: Cgroups,
}

/// Every shim of a node; those that a test left, by plan or by failing, end with it.
#[derive(Default)]
struct Shims(Mutex<Vec<OwnedFd>>);

impl Drop for Shims {
    fn drop(&mut self) {
        for pidfd in self.0.lock().unwrap().iter() {
            let _ = rustix::process::pidfd_send_signal(pidfd, Signal::KILL);
            wait_for(pidfd);
        }
    }
}

static COUNTER: AtomicU32 = AtomicU32::new(0);

fn unique() -> String {
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{}-{number}", std::process::id())
}

impl Node {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["root", "state", "logs", "root/base"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        fill(&directory.path().join("root/base"));
        let cgroup = Cgroups::make();
        let launcher = Launcher::start(LauncherConfig {
            binary: binary(),
            root: directory.path().join("root"),
            state: directory.path().join("state"),
            cgroup_directories: Vec::new(),
        })
        .await
        .unwrap();
        Self {
            directory,
            launcher,
            shims: Shims::default(),
            cgroup,
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn spec(&self) -> LaunchSpec {
        let id = format!("s{}", unique());
        let directory = self.path("state").join(&id);
        fs::create_dir(&directory).unwrap();
        LaunchSpec {
            id: id.parse().unwrap(),
            directory,
            network: Network::Sandbox,
            ipc: Namespace::Sandbox,
            uts: Namespace::Sandbox,
            pid: SandboxPid::PerContainer,
            user: None,
            hostname: "inside".into(),
            domainname: String::new(),
            sysctls: [("net.ipv4.ip_unprivileged_port_start".into(), "7".into())].into(),
            shm_size: 1 << 20,
            mount_label: None,
        }
    }

    pub(crate) async fn sandbox(&self) -> Sandbox<'_> {
        self.launch(self.spec()).await
    }

    pub(crate) async fn launch(&self, spec: LaunchSpec) -> Sandbox<'_> {
        let (shim, ready) = self.launcher.launch(&spec).await.unwrap();
        let pidfd = ready.pidfd.try_clone().unwrap();
        self.shims.0.lock().unwrap().push(pidfd);
        Sandbox {
            node: self,
            events: shim.events().unwrap(),
            shim,
            ready,
            directory: spec.directory,
        }
    }

    /// A container that runs `script`.
    pub(crate) fn container(&self, script: &str) -> Plan {
        Plan {
            id: format!("c{}", unique()).parse().unwrap(),
            args: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            pid: ContainerPid::Own,
            stdio: ContainerStdio::Pipes { stdin: Stdin::None },
            rotation: None,
        }
    }

    /// What the container logged to one stream, as a kubelet puts it together.
    pub(crate) fn log(&self, id: &ContainerId, stream: &str) -> String {
        payload(&self.path("logs").join(format!("{id}.log")), stream)
    }

    /// The cgroup of this node's containers in one hierarchy.
    pub(crate) fn cgroup(&self, hierarchy: &str) -> PathBuf {
        self.cgroup.path(hierarchy)
    }
}

/// The binary under test; another one, such as a release build, where measurements are taken.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("NODE_AGENT_SHIM").map_or_else(
        || env!("CARGO_BIN_EXE_node-agent-shim").into(),
        PathBuf::from,
    )
}

/// Reads a log file back.
pub(crate) fn payload(path: &Path, stream: &str) -> String {
    let log = fs::read_to_string(path).unwrap();
    assert!(log.is_empty() || log.ends_with('\n'), "{log:?}");
    let mut text = String::new();
    // Not `lines`: it would take a terminal's carriage returns away.
    for record in log.split_terminator('\n') {
        let mut fields = record.splitn(4, ' ');
        let mut next = || fields.next().unwrap();
        let (time, name, tag, bytes) = (next(), next(), next(), next());
        assert!(time.ends_with('Z') && time.len() == 30, "{record}");
        if name == stream {
            text.push_str(bytes);
            text.push_str(if tag == "F" { "\n" } else { "" });
        }
    }
    text
}

fn fill(layer: &Path) {
    for name in ["bin", "etc", "proc", "dev", "sys", "tmp"] {
        fs::create_dir(layer.join(name)).unwrap();
    }
    fs::copy("/bin/busybox", layer.join("bin/busybox")).unwrap();
    for applet in APPLETS {
        symlink("busybox", layer.join("bin").join(applet)).unwrap();
    }
    fs::write(layer.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n").unwrap();
    fs::write(layer.join("etc/group"), "root:x:0:\n").unwrap();
    fs::write(layer.join("etc/not-executable"), "text\n").unwrap();
}

/// A container to run.
pub(crate) struct Plan {
    pub(crate) id: ContainerId,
    pub(crate) args: Vec<String>,
    pub(crate) pid: ContainerPid,
    pub(crate) stdio: ContainerStdio,
    pub(crate) rotation: Option<Rotation>,
}

/// One shim.
pub(crate) struct Sandbox<'a> {
    pub(crate) node: &'a Node,
    pub(crate) shim: Shim,
    pub(crate) ready: Ready,
    pub(crate) events: Events,
    pub(crate) directory: PathBuf,
}

impl Sandbox<'_> {
    pub(crate) async fn create(&self, plan: &Plan) -> Result<Created, RequestError> {
        let logs = File::open(self.node.path("logs")).unwrap();
        self.create_with_logs_in(plan, logs.into()).await
    }

    async fn create_with_logs_in(
        &self,
        plan: &Plan,
        logs: OwnedFd,
    ) -> Result<Created, RequestError> {
        let node = self.node;
        let writable = tempfile::tempdir_in(node.path("root")).unwrap().keep();
        for name in ["upper", "work"] {
            fs::create_dir(writable.join(name)).unwrap();
        }
        let create = CreateContainer {
            id: plan.id.clone(),
            spec: serde_json::to_vec(&spec(plan)).unwrap(),
            root: Root {
                base: node.path("root"),
                lower: vec!["base".into()],
                upper: Some(writable.join("upper")),
                work: Some(writable.join("work")),
                volatile: true,
                label: None,
            },
            user: User::default(),
            seccomp: Vec::new(),
            mounts: Vec::new(),
            images: Vec::new(),
            own_volumes: Vec::new(),
            log: Some(Log {
                directory: logs,
                file_name: format!("{}.log", plan.id),
                rotation: plan.rotation,
            }),
            stdio: plan.stdio,
            pid: plan.pid.clone(),
            cgroup: node.cgroup.directories(),
            runtime: None,
            hooks: false,
            host_mounts: None,
        };
        self.shim.create_container(create).await
    }

    /// Creates and starts; returns the first process.
    pub(crate) async fn start(&self, plan: &Plan) -> u32 {
        let created = self.create(plan).await.unwrap();
        self.shim.start_container(&plan.id).await.unwrap();
        created.pid
    }

    pub(crate) async fn run(&mut self, plan: &Plan) -> ExitReport {
        self.start(plan).await;
        self.exited().await
    }

    pub(crate) async fn run_with_logs_in(&mut self, plan: &Plan, logs: OwnedFd) -> ExitReport {
        self.create_with_logs_in(plan, logs).await.unwrap();
        self.shim.start_container(&plan.id).await.unwrap();
        self.exited().await
    }

    pub(crate) async fn event(&mut self) -> ShimEvent {
        tokio::time::timeout(PATIENCE, self.events.next())
            .await
            .expect("an event comes in time")
            .expect("the connection stands")
    }

    pub(crate) async fn exited(&mut self) -> ExitReport {
        match self.event().await {
            ShimEvent::ContainerExited(report) => report,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn exec(&self, container: &ContainerId, script: &str) -> Exec {
        let mut process = process();
        process["args"] = json!(["/bin/sh", "-c", script]);
        Exec {
            id: format!("e{}", unique()).parse().unwrap(),
            container: container.clone(),
            process: serde_json::to_vec(&process).unwrap(),
            user: User::default(),
            seccomp: Vec::new(),
            timeout: None,
            stdio: ExecStdio::Pipes { stdin: false },
        }
    }

    /// Runs a script in a container to its end.
    pub(crate) async fn output(&self, container: &ContainerId, script: &str) -> (ExecExit, String) {
        let session = self.shim.exec(self.exec(container, script)).await.unwrap();
        finish(session).await
    }

    /// Ends the sandbox and checks that nothing of it is left.
    pub(crate) async fn end(self) {
        self.shim.shutdown().await.unwrap();
        assert!(!self.directory.join("shim.sock").exists());
        self.shim.gone().await;
        self.wait_for_end();
    }

    /// Waits until the shim's process is gone.
    pub(crate) fn wait_for_end(&self) {
        wait_for(&self.ready.pidfd);
    }

    pub(crate) fn kill_shim(&self) {
        rustix::process::pidfd_send_signal(&self.ready.pidfd, Signal::KILL).unwrap();
    }
}

/// Reads a session's output to its end, then its exit.
pub(crate) async fn finish(mut session: ExecSession) -> (ExecExit, String) {
    let ExecStreams::Pipes { stdout, .. } = session.streams else {
        panic!("a session with pipes");
    };
    let text = read_all(stdout).await;
    let exit = tokio::time::timeout(PATIENCE, session.exit.wait()).await;
    (exit.unwrap().unwrap(), text)
}

pub(crate) async fn read_all(pipe: OwnedFd) -> String {
    use tokio::io::AsyncReadExt as _;
    let mut bytes = Vec::new();
    let mut pipe = pipe::Receiver::from_owned_fd(pipe).unwrap();
    let read = tokio::time::timeout(PATIENCE, pipe.read_to_end(&mut bytes)).await;
    read.unwrap().unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Reads a file in an open directory.
pub(crate) fn read_in(directory: &OwnedFd, name: &str) -> String {
    use std::os::fd::AsRawFd as _;
    fs::read_to_string(format!("/proc/self/fd/{}/{name}", directory.as_raw_fd())).unwrap()
}

/// Waits until `happened` says so.
pub(crate) async fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !happened() {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn process() -> Value {
    let capabilities = ["CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID"];
    json!({
        "user": {"uid": 0, "gid": 0},
        "args": ["/bin/true"],
        "env": ["PATH=/bin"],
        "cwd": "/",
        "capabilities": {
            "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
        },
    })
}

fn spec(plan: &Plan) -> Value {
    let mut process = process();
    process["args"] = json!(plan.args);
    json!({
        "ociVersion": "1.2.0",
        "process": process,
        "root": {"path": "rootfs"},
        // As large as what an agent sends.
        "annotations": {"padding": "x".repeat(15_000)},
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
            {"destination": "/dev/pts", "type": "devpts", "source": "devpts",
             "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=64k"]},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
        ],
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
    })
}

/// Cgroups of one test, in the hierarchies that matter to a shim.
struct Cgroups {
    name: String,
}

impl Cgroups {
    fn make() -> Self {
        let cgroups = Self {
            name: format!("node-agent-test-shim-{}", unique()),
        };
        for hierarchy in HIERARCHIES {
            fs::create_dir(cgroups.path(hierarchy)).unwrap();
        }
        cgroups
    }

    fn path(&self, hierarchy: &str) -> PathBuf {
        Path::new("/sys/fs/cgroup").join(hierarchy).join(&self.name)
    }

    fn directories(&self) -> CgroupDirectories {
        let open = |hierarchy| File::open(self.path(hierarchy)).unwrap().into();
        CgroupDirectories {
            version: 1,
            directories: HIERARCHIES.map(open).into(),
        }
    }

    fn processes(&self) -> Vec<Pid> {
        let text =
            fs::read_to_string(self.path("freezer").join("cgroup.procs")).unwrap_or_default();
        let ids = text.lines().filter_map(|line| line.parse().ok());
        ids.filter_map(Pid::from_raw).collect()
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for _ in 0..100 {
            self.processes().into_iter().for_each(end);
            let left = HIERARCHIES
                .iter()
                .filter(|hierarchy| fs::remove_dir(self.path(hierarchy)).is_err())
                .filter(|hierarchy| self.path(hierarchy).exists());
            if left.count() == 0 {
                return;
            }
        }
        assert!(std::thread::panicking(), "a cgroup is left");
    }
}

/// Kills a process and waits until it is gone.
fn end(pid: Pid) {
    use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
    let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    wait_for(&pidfd);
}

/// Waits until a process is gone.
fn wait_for(pidfd: &OwnedFd) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let limit = Timespec {
        tv_sec: 20,
        tv_nsec: 0,
    };
    let mut polled = [PollFd::new(pidfd, PollFlags::IN)];
    let mut ended = poll(&mut polled, Some(&limit));
    while ended == Err(rustix::io::Errno::INTR) {
        ended = poll(&mut polled, Some(&limit));
    }
    assert!(ended == Ok(1) || std::thread::panicking(), "{ended:?}");
}
