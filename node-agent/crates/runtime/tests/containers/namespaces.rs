//! Which namespaces a container is in.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use agent_runtime::{ExecPid, FailureKind, PidMode};
use nix::sched::{CloneFlags, setns, unshare};
use serde_json::json;

use crate::Case;
use crate::fixture::{Fixture, exit_code, reaper};
use crate::session::Session;

pub(crate) const CASES: &[Case] = &[
    ("a_container_is_born_in_its_cgroup_v2", cgroup2),
    ("what_is_not_supported_is_refused", unsupported),
    ("containers_can_share_a_pid_namespace", shared_pid),
    ("orphans_of_a_shared_pid_namespace_are_reaped", orphans),
    ("a_container_can_be_in_the_hosts_pid_namespace", host_pid),
    ("network_and_uts_namespaces_are_joined", joined),
    ("a_uts_namespace_of_its_own_has_the_specs_name", own_uts),
    ("sysctls_are_written_through_a_private_procfs", sysctls),
];

fn shared_pid() {
    let fixture = Fixture::new();
    let reaper = reaper(&fixture);
    let mut first = fixture.container().shell("echo $$; exec sleep 61");
    first.pid = PidMode::Join(&reaper);
    let mut running = first.start().unwrap();
    let pid = running.line();
    assert_ne!(pid, "1");
    let mut second = fixture.container().shell("ps; readlink /proc/self/ns/pid");
    second.pid = PidMode::Join(&reaper);
    let seen = second.output();
    assert!(seen.contains("sleep 61"), "{seen}");
    let namespace = fs::read_link(format!("/proc/{}/ns/pid", reaper.pid)).unwrap();
    assert_eq!(
        seen.lines().last().unwrap(),
        namespace.display().to_string()
    );
    assert_eq!(
        Session::new(&fixture, &running, &["kill", "-9", &pid])
            .run()
            .code,
        0
    );
    assert_eq!(exit_code(&running.created.pidfd), 137);
    rustix::process::pidfd_send_signal(&reaper.pidfd, rustix::process::Signal::KILL).unwrap();
    assert_eq!(exit_code(&reaper.pidfd), 137);
}

fn orphans() {
    let fixture = Fixture::new();
    let reaper = reaper(&fixture);
    let mut container = fixture
        .container()
        .shell("(echo gone; sleep 0.1) & echo left; exit 0");
    container.pid = PidMode::Join(&reaper);
    // Its output ends when the orphan does.
    container.output();
    // The shell forks nothing that would be counted; an orphan whose output has ended may not have yet.
    let mut check = fixture.container().shell(
        "i=0; set -- /proc/[0-9]*; while [ $# -gt 2 ] && [ $i -lt 100000 ]; do \
         i=$((i + 1)); set -- /proc/[0-9]*; done; echo $#",
    );
    check.pid = PidMode::Join(&reaper);
    // The reaper and the shell.
    assert_eq!(check.output(), "2\n");
    rustix::process::pidfd_send_signal(&reaper.pidfd, rustix::process::Signal::KILL).unwrap();
    exit_code(&reaper.pidfd);
}

fn host_pid() {
    let fixture = Fixture::new();
    let own = fs::read_link("/proc/self/ns/pid")
        .unwrap()
        .display()
        .to_string();
    let mut container = fixture
        .container()
        .shell("echo $$; readlink /proc/self/ns/pid; sleep 60");
    container.pid = PidMode::Host;
    let mut running = container.start().unwrap();
    assert_eq!(running.line(), running.created.pid.to_string());
    assert_eq!(running.line(), own);
    let mut session = Session::new(&fixture, &running, &["readlink", "/proc/self/ns/pid"]);
    session.pid = ExecPid::Host;
    assert_eq!(session.output().trim(), own);
    running.kill();
}

fn joined() {
    let fixture = Fixture::new();
    let outside = fs::File::open("/proc/self/ns/net").unwrap();
    let outside_uts = fs::File::open("/proc/self/ns/uts").unwrap();
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS).unwrap();
    rustix::system::sethostname(b"sandbox").unwrap();
    let network = fs::File::open("/proc/self/ns/net").unwrap();
    let uts = fs::File::open("/proc/self/ns/uts").unwrap();
    let expected = fs::read_link("/proc/self/ns/net")
        .unwrap()
        .display()
        .to_string();
    setns(&outside, CloneFlags::CLONE_NEWNET).unwrap();
    setns(&outside_uts, CloneFlags::CLONE_NEWUTS).unwrap();
    let mut container = fixture
        .container()
        .shell("readlink /proc/self/ns/net; hostname; ls /sys/class/net");
    container.network = Some(network.as_fd());
    container.uts = Some(uts.as_fd());
    assert_eq!(container.output(), format!("{expected}\nsandbox\nlo\n"));
}

fn own_uts() {
    let fixture = Fixture::new();
    let before = rustix::system::uname().nodename().to_owned();
    let mut container = fixture.container().args(&["hostname"]);
    container.spec["hostname"] = json!("inside");
    container.spec["linux"]["namespaces"] = json!([{"type": "uts"}]);
    assert_eq!(container.output(), "inside\n");
    assert_eq!(rustix::system::uname().nodename(), before.as_c_str());
}

fn sysctls() {
    let before = fs::read_to_string("/proc/sys/kernel/shm_rmid_forced").unwrap();
    unshare(CloneFlags::CLONE_NEWIPC).unwrap();
    agent_runtime::write_sysctls([("kernel.shm_rmid_forced", "1")]).unwrap();
    assert_eq!(
        fs::read_to_string("/proc/sys/kernel/shm_rmid_forced").unwrap(),
        "1\n"
    );
    let host = fs::File::open(format!(
        "/proc/{}/ns/ipc",
        std::os::unix::process::parent_id()
    ))
    .unwrap();
    setns(host, CloneFlags::CLONE_NEWIPC).unwrap();
    assert_eq!(
        fs::read_to_string("/proc/sys/kernel/shm_rmid_forced").unwrap(),
        before
    );
    let error = agent_runtime::write_sysctls([("net.ipv4.nothing", "1")]).unwrap_err();
    assert!(error.to_string().contains("net.ipv4.nothing"), "{error}");
}

/// The top of the unified tree, where the machine has one.
fn unified() -> Option<&'static Path> {
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .map(Path::new)
        .into_iter()
        .find(|top| top.join("cgroup.controllers").exists())
}

fn cgroup2() {
    let Some(top) = unified() else { return };
    let fixture = Fixture::new();
    let directory = top.join(format!("node-agent-test-v2-{}", std::process::id()));
    fs::create_dir(&directory).unwrap();
    let handle = fs::File::open(&directory).unwrap();
    let mut container = fixture.container().shell(
        "grep ^0:: /proc/self/cgroup; ls /sys/fs/cgroup/cgroup.procs; grep -c cgroup2 /proc/self/mounts; mkdir /sys/fs/cgroup/x",
    );
    container.cgroup2 = Some(handle.as_fd());
    let (created, ..) = container.create().unwrap();
    let members = fs::read_to_string(directory.join("cgroup.procs")).unwrap();
    assert_eq!(members.trim(), created.pid.to_string());
    drop(created.gate);
    exit_code(&created.pidfd);
    let outcome = container.run();
    fs::remove_dir(&directory).unwrap();
    assert_eq!(outcome.stdout, "0::/\n/sys/fs/cgroup/cgroup.procs\n1\n");
    assert!(outcome.stderr.contains("Read-only"), "{outcome:?}");
}

fn unsupported() {
    let fixture = Fixture::new();
    let mut container = fixture.container();
    container.spec["hooks"] = json!({"createRuntime": [{"path": "/bin/true"}]});
    assert_eq!(container.refusal().kind(), FailureKind::Invalid);
    let mut container = fixture.container();
    container.spec["linux"]["namespaces"] = json!([{"type": "user"}]);
    assert_eq!(container.refusal().kind(), FailureKind::Invalid);
}
