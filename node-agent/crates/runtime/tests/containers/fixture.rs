//! A root file system made of busybox, cgroups of the case's own, and the way a shim would use the runtime.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use agent_runtime::{
    CgroupAttach, CreateError, CreateRequest, Created, Durability, GroupFile, ImageMount, MountApi,
    Namespaces, Onlookers, PidMode, Reaper, Root, SharedMount, StartError, Stdio, UserRequest,
    VolumeMount,
};

use crate::spec::spec;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use serde_json::{Value, json};

const APPLETS: [&str; 29] = [
    "sh", "cat", "ls", "id", "echo", "true", "false", "pwd", "mount", "touch", "stat", "readlink",
    "grep", "test", "sleep", "tty", "ps", "env", "mkdir", "dd", "kill", "head", "hostname", "wc",
    "stty", "uname", "mv", "cut", "tr",
];

/// Hierarchies of cgroup v1 that a case makes cgroups in.
const HIERARCHIES: [&str; 3] = ["memory", "pids", "freezer"];

/// Everything a case's containers need on the host.
pub(crate) struct Fixture {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) lower: Vec<String>,
    cgroups: Vec<PathBuf>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let fixture = Self {
            directory,
            lower: vec!["base".to_owned()],
            cgroups: cgroups(),
        };
        let bin = fixture.layer().join("bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy("/bin/busybox", bin.join("busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        let etc = fixture.layer().join("etc");
        fs::create_dir(&etc).unwrap();
        fs::write(
            etc.join("passwd"),
            "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/www:/bin/sh\n",
        )
        .unwrap();
        fs::write(etc.join("group"), "root:x:0:\nweb:x:34:\nlogs:x:50:web\n").unwrap();
        fixture
    }

    pub(crate) fn base(&self) -> &Path {
        self.directory.path()
    }

    /// The directory of the one layer.
    pub(crate) fn layer(&self) -> PathBuf {
        self.base().join("base")
    }

    pub(crate) fn container(&self) -> Container<'_> {
        Container::new(self)
    }

    pub(crate) fn cgroup_fds(&self) -> Vec<OwnedFd> {
        self.cgroups
            .iter()
            .map(|path| File::open(path).unwrap().into())
            .collect()
    }

    /// Processes in the case's cgroup.
    pub(crate) fn cgroup_members(&self) -> String {
        fs::read_to_string(self.cgroups[0].join("cgroup.procs")).unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.end_members();
        }
        for path in &self.cgroups {
            let removed = fs::remove_dir(path);
            assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
        }
    }
}

impl Fixture {
    /// Kills what a failed case left behind, and waits for it.
    fn end_members(&self) {
        let Some(first) = self.cgroups.first() else {
            return;
        };
        let members = fs::read_to_string(first.join("cgroup.procs")).unwrap_or_default();
        for pid in members.lines().filter_map(|pid| pid.parse().ok()) {
            let Some(pid) = rustix::process::Pid::from_raw(pid) else {
                continue;
            };
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        while let Ok(Some(_)) = rustix::process::wait(rustix::process::WaitOptions::empty()) {}
    }
}

/// Returns whether the machine has the unified tree only.
pub(crate) fn is_unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Returns what a process in a cgroup namespace of its own sees of its cgroup, or of one of them.
pub(crate) fn own_cgroup_line() -> String {
    if is_unified() {
        return "0::/".to_owned();
    }
    let text = fs::read_to_string("/proc/self/cgroup").unwrap();
    let line = text.lines().find(|line| line.contains(":memory:")).unwrap();
    format!("{}:/", line.rsplit_once(':').unwrap().0)
}

/// Makes the case's cgroups.
fn cgroups() -> Vec<PathBuf> {
    let name = format!("node-agent-test-{}", std::process::id());
    let top = Path::new("/sys/fs/cgroup");
    let parents = if is_unified() {
        vec![top.to_owned()]
    } else {
        HIERARCHIES.map(|hierarchy| top.join(hierarchy)).into()
    };
    let made: Vec<PathBuf> = parents.iter().map(|parent| parent.join(&name)).collect();
    made.iter().for_each(|path| fs::create_dir(path).unwrap());
    made
}

/// A container to be run; fields are public so that a case changes what it is about.
pub(crate) struct Container<'a> {
    pub(crate) fixture: &'a Fixture,
    pub(crate) spec: Value,
    pub(crate) user: &'a str,
    pub(crate) groups: Vec<u32>,
    pub(crate) group_file: GroupFile,
    pub(crate) seccomp: Vec<u8>,
    pub(crate) pid: PidMode<'a>,
    pub(crate) network: Option<BorrowedFd<'a>>,
    pub(crate) uts: Option<BorrowedFd<'a>>,
    pub(crate) shm: Option<&'a SharedMount>,
    pub(crate) volumes: Vec<VolumeMount<'a>>,
    pub(crate) images: Vec<ImageMount<'a>>,
    pub(crate) own_volumes: Vec<String>,
    pub(crate) terminal: bool,
    pub(crate) lower: Vec<String>,
    pub(crate) writable: bool,
    pub(crate) mount_api: MountApi,
    /// A cgroup v2 directory to be born in, in place of the case's own cgroups.
    pub(crate) cgroup2: Option<BorrowedFd<'a>>,
}

/// What a container wrote and how it ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A container whose program runs.
pub(crate) struct Running {
    pub(crate) created: Created2,
    stdout: File,
    stderr: File,
}

/// What is left of `Created` once its gate is open.
pub(crate) struct Created2 {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) onlookers: Onlookers,
    pub(crate) terminal: Option<OwnedFd>,
}

impl<'a> Container<'a> {
    fn new(fixture: &'a Fixture) -> Self {
        Self {
            fixture,
            spec: spec(),
            user: "",
            groups: Vec::new(),
            group_file: GroupFile::Merge,
            seccomp: Vec::new(),
            pid: PidMode::New,
            network: None,
            uts: None,
            shm: None,
            volumes: Vec::new(),
            images: Vec::new(),
            own_volumes: Vec::new(),
            terminal: false,
            lower: fixture.lower.clone(),
            writable: true,
            mount_api: MountApi::Newest,
            cgroup2: None,
        }
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.spec["process"]["args"] = json!(args);
        self
    }

    pub(crate) fn shell(self, script: &str) -> Self {
        self.args(&["/bin/sh", "-c", script])
    }

    pub(crate) fn mount(mut self, mount: Value) -> Self {
        self.spec["mounts"].as_array_mut().unwrap().push(mount);
        self
    }

    /// Creates it; returns the reading ends of its streams too.
    pub(crate) fn create(&self) -> Result<(Created, File, File), CreateError> {
        let spec = serde_json::to_vec(&self.spec).unwrap();
        let (stdout, stdout_end) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (stderr, stderr_end) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let stdio = if self.terminal {
            Stdio::Terminal {
                rows: 33,
                columns: 99,
            }
        } else {
            Stdio::Pipes {
                stdin: None,
                stdout: stdout_end,
                stderr: stderr_end,
            }
        };
        let cgroups = self.fixture.cgroup_fds();
        let cgroups: Vec<_> = cgroups.iter().map(AsFd::as_fd).collect();
        // A volatile upper directory is never mounted again.
        let [upper, work] =
            [(); 2].map(|()| tempfile::tempdir_in(self.fixture.base()).unwrap().keep());
        let created = agent_runtime::create(CreateRequest {
            spec: &spec,
            root: Root {
                base: self.fixture.base(),
                lower: &self.lower,
                upper: self.writable.then_some(upper.as_path()),
                work: self.writable.then_some(work.as_path()),
                durability: Durability::Volatile,
                mount_api: self.mount_api,
                label: None,
            },
            namespaces: Namespaces {
                network: self.network,
                ipc: None,
                uts: self.uts,
                pid: self.pid,
                user: None,
            },
            shm: self.shm,
            cgroup: self.cgroup2.map_or(attach(&cgroups), CgroupAttach::V2),
            user: UserRequest {
                text: self.user,
                supplemental_groups: &self.groups,
                group_names: &[],
                group_file: self.group_file,
            },
            seccomp: &self.seccomp,
            mounts: &self.volumes,
            images: &self.images,
            own_volumes: &self.own_volumes,
            stdio,
            hooks: None,
        })?;
        Ok((created, stdout.into(), stderr.into()))
    }

    /// Creates and starts it.
    pub(crate) fn start(&self) -> Result<Running, StartError> {
        let (created, stdout, stderr) = self
            .create()
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
        let Created {
            pid,
            pidfd,
            onlookers,
            gate,
            terminal,
            ..
        } = created;
        match gate.start() {
            Ok(_) => Ok(Running {
                created: Created2 {
                    pid,
                    pidfd,
                    onlookers,
                    terminal,
                },
                stdout,
                stderr,
            }),
            Err(error) => {
                exit_code(&pidfd);
                Err(error)
            }
        }
    }

    /// Runs it to its end.
    pub(crate) fn run(&self) -> Outcome {
        self.start()
            .unwrap_or_else(|error| panic!("{}", chain(&error)))
            .wait()
    }

    /// Runs it and returns what it wrote; it must succeed.
    pub(crate) fn output(&self) -> String {
        let outcome = self.run();
        assert_eq!(outcome.code, 0, "{outcome:?}");
        outcome.stdout
    }

    /// Returns why it cannot be created.
    pub(crate) fn refusal(&self) -> CreateError {
        match self.create() {
            Ok((created, ..)) => {
                drop(created.gate);
                exit_code(&created.pidfd);
                panic!("it was created");
            }
            Err(error) => error,
        }
    }
}

pub(crate) fn attach<'a>(cgroups: &'a [BorrowedFd<'a>]) -> CgroupAttach<'a> {
    match cgroups {
        [tree] if is_unified() => CgroupAttach::V2(*tree),
        hierarchies => CgroupAttach::V1(hierarchies),
    }
}

impl Running {
    pub(crate) fn wait(mut self) -> Outcome {
        let mut outcome = Outcome {
            code: 0,
            stdout: String::new(),
            stderr: String::new(),
        };
        match self.created.terminal.take() {
            Some(master) => {
                let mut bytes = Vec::new();
                // A terminal that nobody holds any more reads as an error.
                let _ = File::from(master).read_to_end(&mut bytes);
                outcome.stdout = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
            }
            None => {
                self.stdout.read_to_string(&mut outcome.stdout).unwrap();
                self.stderr.read_to_string(&mut outcome.stderr).unwrap();
            }
        }
        outcome.code = exit_code(&self.created.pidfd);
        outcome
    }

    /// Reads one line of its output.
    pub(crate) fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while self.stdout.read(&mut byte).unwrap() == 1 && byte != [b'\n'] {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    pub(crate) fn kill(&self) -> i32 {
        rustix::process::pidfd_send_signal(&self.created.pidfd, rustix::process::Signal::KILL)
            .unwrap();
        exit_code(&self.created.pidfd)
    }
}

/// Waits for a process; a signal counts 128 more.
pub(crate) fn exit_code(pidfd: &OwnedFd) -> i32 {
    let status = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED)
        .unwrap()
        .unwrap();
    status
        .exit_status()
        .unwrap_or_else(|| 128 + status.terminating_signal().unwrap())
}

/// An error and its sources, as a person would see them.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

/// Starts the first process of a shared PID namespace.
pub(crate) fn reaper(fixture: &Fixture) -> Reaper {
    let cgroups = fixture.cgroup_fds();
    let cgroups: Vec<_> = cgroups.iter().map(AsFd::as_fd).collect();
    agent_runtime::start_reaper(&agent_runtime::ReaperRequest {
        network: None,
        ipc: None,
        uts: None,
        user: None,
        cgroup: attach(&cgroups),
        seccomp: &[],
    })
    .unwrap_or_else(|error| panic!("{}", chain(&error)))
}

/// A bind mount of a specification, whose source is a descriptor.
pub(crate) fn bind(destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": "bind", "source": "/volume", "options": options})
}

/// A detached copy of what lies at a path, as the agent sends volumes.
pub(crate) fn detached(path: &Path) -> OwnedFd {
    agent_sys::mount::copy_of_path(path, agent_sys::mount::Depth::Tree).unwrap()
}

/// Puts the case into a mount namespace of its own, so that it may mount.
pub(crate) fn own_mounts() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
    let flags =
        rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).unwrap();
}
