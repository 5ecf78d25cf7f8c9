//! What a shim is, and what can be reached from it.

use std::fs;
use std::os::fd::OwnedFd;

use agent_shim_client::{
    ContainerPid, IdMapping, IdMappings, Launcher, LauncherConfig, Namespace, Network, SandboxPid,
    Shim,
};
use agent_types::{Classify as _, ErrorKind};

use crate::harness::{Node, until};

#[tokio::test]
async fn the_slim_namespace_has_few_mounts_wherever_the_directories_lie() {
    let node = Node::start().await;
    let sandbox = node.sandbox().await;
    let mounts = fs::read_to_string(format!("/proc/{}/mountinfo", sandbox.ready.pid)).unwrap();
    assert!(mounts.lines().count() <= 6, "{mounts}");
    let points: Vec<&str> = mounts
        .lines()
        .map(|line| line.split(' ').nth(4).unwrap())
        .collect();
    assert!(
        points.contains(&"/") && points.contains(&"/proc"),
        "{points:?}"
    );
    sandbox.end().await;
}

#[tokio::test]
async fn directories_on_file_systems_of_their_own_are_kept() {
    // /dev/shm is a tmpfs on /dev, which is another file system again.
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let launcher = Launcher::start(LauncherConfig {
        binary: crate::harness::binary(),
        root: directory.path().into(),
        state: directory.path().into(),
        cgroup_directories: Vec::new(),
    })
    .await
    .unwrap();
    let pid = launcher.pid().await.unwrap();
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let points: Vec<&str> = mounts
        .lines()
        .map(|line| line.split(' ').nth(4).unwrap())
        .collect();
    assert!(points.contains(&"/dev/shm"), "{points:?}");
    assert!(points.len() <= 6, "{mounts}");
    let seen = format!("/proc/{pid}/root{}", directory.path().display());
    assert!(fs::exists(seen).unwrap());
}

#[tokio::test]
async fn shims_outlive_their_launcher_and_the_next_one_is_started_by_itself() {
    let node = Node::start().await;
    let first = node.sandbox().await;
    let plan = node.container("sleep 1000");
    first.start(&plan).await;
    let launcher = node.launcher.pid().await.unwrap();
    let process = rustix::process::Pid::from_raw(launcher.try_into().unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    let second = node.sandbox().await;
    assert_ne!(node.launcher.pid().await.unwrap(), launcher);
    assert_eq!(first.output(&plan.id, "echo alive").await.1, "alive\n");
    second.end().await;
    first.end().await;
}

#[tokio::test]
async fn the_launcher_ends_with_its_agent_and_the_shims_do_not() {
    let node = Node::start().await;
    let sandbox = node.sandbox().await;
    let pid = node.launcher.pid().await.unwrap();
    let directory = sandbox.directory.clone();
    drop(sandbox);
    let Node {
        directory: files,
        launcher,
        ..
    } = node;
    drop(launcher);
    until("the launcher ends", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.is_empty() || stat.contains(") Z ")
    })
    .await;
    let (shim, _) = agent_shim_client::Shim::connect(&directory).await.unwrap();
    shim.shutdown().await.unwrap();
    shim.gone().await;
    drop(files);
}

#[tokio::test]
async fn a_shim_holds_no_more_than_it_needs_and_cannot_be_looked_into() {
    let node = Node::start().await;
    let sandbox = node.sandbox().await;
    let pid = sandbox.ready.pid;
    let targets = || -> Vec<String> {
        fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
            .map(|target| target.to_string_lossy().into_owned())
            .collect()
    };
    // stdio, directory, listener, epoll, signals, agent, net, ipc, uts, shm and its copy for the
    // first container, the procfs of exec sessions; what it has just sent is closed a moment later.
    until("no more than it needs is open", || targets().len() <= 14).await;
    let targets = targets();
    let nulls = targets.iter().filter(|target| *target == "/dev/null");
    assert_eq!(nulls.count(), 3, "{targets:?}");
    assert!(
        !targets.iter().any(|target| target.contains("memfd")),
        "{targets:?}"
    );
    // What is not dumpable belongs to root in /proc, whoever the process is; its exe is the copy.
    let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert!(exe.to_string_lossy().starts_with("/memfd:"), "{exe:?}");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.starts_with("Name:\tshim:s"), "{status}");
    let opened = fs::File::options()
        .write(true)
        .open(format!("/proc/{pid}/exe"));
    assert!(opened.is_err(), "hostile row 1: the helper is not writable");
    // Each of its sockets by its inode: a path is the last field, one that begins so is abstract.
    let unix = fs::read_to_string(format!("/proc/{pid}/net/unix")).unwrap();
    let inode = |target: &String| {
        Some(
            target
                .strip_prefix("socket:[")?
                .strip_suffix(']')?
                .to_owned(),
        )
    };
    let inodes: Vec<String> = targets.iter().filter_map(inode).collect();
    let fields = unix
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let sockets: Vec<_> = fields
        .filter(|fields| {
            fields
                .get(6)
                .is_some_and(|field| inodes.iter().any(|one| one == field))
        })
        .collect();
    let begins = |start: char| {
        sockets
            .iter()
            .any(|fields| fields.get(7).is_some_and(|path| path.starts_with(start)))
    };
    assert!(begins('/'), "its listener is found: {sockets:?}");
    assert!(
        !begins('@'),
        "hostile row 11: no abstract listener: {sockets:?}"
    );
    sandbox.end().await;
}

/// Returns whether a process has the name of a sandbox's shim.
fn shim_runs(id: &agent_types::SandboxId) -> bool {
    let mut name = format!("shim:{}", id.short());
    // The kernel keeps as many bytes of a name.
    name.truncate(15);
    let mut processes = fs::read_dir("/proc").unwrap();
    processes.any(|entry| {
        let comm = entry.unwrap().path().join("comm");
        fs::read_to_string(comm).is_ok_and(|comm| comm.trim_end() == name)
    })
}

#[tokio::test]
async fn a_shim_whose_agent_went_away_before_it_came_up_ends() {
    use rustix::process::{Pid, Signal, kill_process};
    let node = Node::start().await;
    let spec = node.spec();
    let launcher = node.launcher.pid().await.unwrap();
    let launcher = Pid::from_raw(launcher.try_into().unwrap()).unwrap();
    kill_process(launcher, Signal::STOP).unwrap();
    // One turn sends the request; then the agent is gone.
    tokio::select! {
        biased;
        launched = node.launcher.launch(&spec) => panic!("{launched:?}"),
        () = std::future::ready(()) => {}
    }
    kill_process(launcher, Signal::CONT).unwrap();
    // Requests are served in order: when this one stands, the other was forked.
    node.sandbox().await.end().await;
    until("no shim is left", || !shim_runs(&spec.id)).await;
    assert_eq!(fs::read_dir(&spec.directory).unwrap().count(), 0);
}

#[tokio::test]
async fn a_launch_that_cannot_be_says_why_and_leaves_nothing() {
    let node = Node::start().await;
    let mut spec = node.spec();
    spec.sysctls = [("net.ipv4.no_such_thing".into(), "1".into())].into();
    let error = node.launcher.launch(&spec).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
    assert!(format!("{error:?}").contains("no_such_thing"), "{error:?}");
    assert_eq!(fs::read_dir(&spec.directory).unwrap().count(), 0);
    spec.sysctls.clear();
    spec.directory = "/nonexistent/directory".into();
    let error = node.launcher.launch(&spec).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal, "{error:?}");
    node.sandbox().await.end().await;
}

#[tokio::test]
async fn namespaces_are_the_ones_asked_for() {
    let node = Node::start().await;
    let own = |pid: u32, name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
    let here = std::process::id();

    let new = node.sandbox().await;
    let plan = node.container("sleep 1000");
    let process = new.start(&plan).await;
    for name in ["net", "ipc", "uts", "pid", "mnt"] {
        assert_ne!(own(process, name), own(here, name), "{name}");
    }
    // The shim itself stays in the host's, but for its mounts.
    for name in ["net", "ipc", "uts", "pid"] {
        assert_eq!(own(new.ready.pid, name), own(here, name), "{name}");
    }
    let (_, port) = new
        .output(
            &plan.id,
            "cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
        )
        .await;
    assert_eq!(port, "7\n");

    let mut spec = node.spec();
    spec.network = Network::Join(new.ready.netns.as_ref().unwrap().try_clone().unwrap());
    spec.ipc = Namespace::Host;
    spec.uts = Namespace::Host;
    spec.sysctls.clear();
    let joined = node.launch(spec).await;
    assert!(joined.ready.netns.is_none(), "it is another sandbox's");
    let mut plan = node.container("sleep 1000");
    plan.pid = ContainerPid::Host;
    let second = joined.start(&plan).await;
    assert_eq!(own(second, "net"), own(process, "net"));
    for name in ["ipc", "uts", "pid"] {
        assert_eq!(own(second, name), own(here, name), "{name}");
    }
    joined.end().await;
    new.end().await;
}

#[tokio::test]
async fn a_network_that_was_made_ahead_is_the_sandboxes_own() {
    let node = Node::start().await;
    let made = agent_sys::netns::create().unwrap();
    let inode = |fd: &OwnedFd| rustix::fs::fstat(fd).unwrap().st_ino;
    let wanted = inode(&made);
    let mut spec = node.spec();
    spec.network = Network::Made(made);
    let mut sandbox = node.launch(spec).await;
    assert!(sandbox.ready.netlink.is_none());
    assert_eq!(sandbox.ready.netns.as_ref().map(inode), Some(wanted));
    let container = node.container("readlink /proc/self/ns/net");
    sandbox.run(&container).await;
    let seen = node.log(&container.id, "stdout");
    assert_eq!(seen, format!("net:[{wanted}]\n"));
    // The next agent is told of it as of any other.
    let (shim, ready) = Shim::connect(&sandbox.directory).await.unwrap();
    assert_eq!(ready.netns.as_ref().map(inode), Some(wanted));
    sandbox.shim = shim;
    sandbox.end().await;

    let mut spec = node.spec();
    spec.network = Network::Made(agent_sys::netns::create().unwrap());
    let all = [IdMapping {
        inside: 0,
        outside: 1,
        length: 1,
    }];
    spec.user = Some(IdMappings {
        uids: all.to_vec(),
        gids: all.to_vec(),
    });
    let error = node.launcher.launch(&spec).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
}

#[tokio::test]
async fn containers_of_a_shared_pid_namespace_see_each_other_and_nothing_else() {
    let node = Node::start().await;
    let mut spec = node.spec();
    spec.pid = SandboxPid::Shared {
        cgroup: agent_shim_client::CgroupDirectories::default(),
        seccomp: Vec::new(),
    };
    let mut sandbox = node.launch(spec).await;
    assert!(sandbox.ready.reaper_pid.is_some());
    let mut first = node.container("sleep 1000");
    first.pid = ContainerPid::Sandbox;
    let process = sandbox.start(&first).await;
    let own = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap();
    let reaper = sandbox.ready.reaper_pid.unwrap();
    assert_eq!(own(process), own(reaper));
    assert_ne!(own(process), own(std::process::id()));
    let mut second =
        node.container("cat /proc/*/cmdline | tr '\\0' ' '; echo; set -- /proc/[0-9]*; echo $#");
    second.pid = ContainerPid::Sandbox;
    let report = sandbox.run(&second).await;
    assert_eq!(report.exit_code, 0);
    let seen = node.log(&second.id, "stdout");
    assert!(seen.contains("sleep 1000"), "{seen}");
    // The reaper, the first and the second.
    assert_eq!(seen.lines().last(), Some("3"), "{seen}");
    sandbox.end().await;
}

#[tokio::test]
async fn shared_memory_is_the_sandboxes() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    let first = node.container("echo shared > /dev/shm/file; sleep 1000");
    sandbox.start(&first).await;
    let second = node.container("while ! cat /dev/shm/file; do sleep 0.01; done 2>/dev/null");
    sandbox.run(&second).await;
    assert_eq!(node.log(&second.id, "stdout"), "shared\n");
    sandbox.end().await;
}

#[tokio::test]
async fn launcher_and_shims_live_in_the_cgroup_they_are_given() {
    let node = Node::start().await;
    let open = |hierarchy| fs::File::open(node.cgroup(hierarchy)).unwrap().into();
    let launcher = Launcher::start(LauncherConfig {
        binary: crate::harness::binary(),
        root: node.path("root"),
        state: node.path("state"),
        cgroup_directories: ["memory", "pids", "freezer"].map(open).into(),
    })
    .await
    .unwrap();
    let (shim, ready) = launcher.launch(&node.spec()).await.unwrap();
    let name = node
        .cgroup("pids")
        .file_name()
        .unwrap()
        .to_string_lossy()
        .into_owned();
    for pid in [launcher.pid().await.unwrap(), ready.pid] {
        let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let lines = cgroups.lines().filter(|line| line.ends_with(&*name));
        assert_eq!(lines.count(), 3, "{cgroups}");
    }
    shim.shutdown().await.unwrap();
    shim.gone().await;
}
