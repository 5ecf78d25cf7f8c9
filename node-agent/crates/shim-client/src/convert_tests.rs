//! Every field arrives, under its own name.

use super::*;
use crate::request::{ImageMount, Log, OtherRuntime, Rotation, TerminalSize, User, VolumeMount};

fn fd() -> OwnedFd {
    std::fs::File::open("/dev/null").unwrap().into()
}

fn roles(fds: &Descriptors) -> Vec<FdRole> {
    fds.iter().map(|(role, _)| *role).collect()
}

fn users() -> IdMappings {
    IdMappings {
        uids: vec![IdMapping {
            inside: 0,
            outside: 1,
            length: 2,
        }],
        gids: Vec::new(),
    }
}

fn spec() -> LaunchSpec {
    LaunchSpec {
        id: "sandbox".parse().unwrap(),
        directory: "/run/agent/sandbox".into(),
        network: Network::Join(fd()),
        ipc: Namespace::Sandbox,
        uts: Namespace::Host,
        pid: SandboxPid::Shared {
            cgroup: CgroupDirectories {
                version: 1,
                directories: vec![fd(), fd()],
            },
            seccomp: vec![1; 8],
        },
        user: Some(users()),
        hostname: "host".into(),
        domainname: "domain".into(),
        sysctls: [("a.b".to_owned(), "1".to_owned())].into(),
        shm_size: 7,
        mount_label: Some("a:b:c:s0:c1,c2".into()),
    }
}

#[test]
fn a_launch_arrives_whole() {
    let spec = spec();
    let (request, fds) = launch(&spec).unwrap();
    let wanted = [
        FdRole::NetworkNamespace,
        FdRole::CgroupDirectory,
        FdRole::CgroupDirectory,
    ];
    assert_eq!(roles(&fds), wanted);
    let namespaces = request.namespaces.unwrap();
    assert_eq!(namespaces.network(), wire::NamespaceMode::Join);
    assert_eq!(namespaces.ipc(), wire::NamespaceMode::Sandbox);
    assert_eq!(namespaces.uts(), wire::NamespaceMode::Host);
    assert_eq!(namespaces.pid(), wire::NamespaceMode::Sandbox);
    let rest = wire::LaunchRequest {
        fds: Vec::new(),
        sandbox_id: "sandbox".into(),
        directory: "/run/agent/sandbox".into(),
        namespaces: Some(namespaces),
        hostname: "host".into(),
        domainname: "domain".into(),
        sysctls: [("a.b".to_owned(), "1".to_owned())].into(),
        shm_size: 7,
        cgroup_version: 1,
        reaper_seccomp: vec![1; 8],
        user_namespace: Some(wire::UserNamespace {
            uids: vec![wire::IdMapping {
                inside: 0,
                outside: 1,
                length: 2,
            }],
            gids: Vec::new(),
        }),
        mount_label: "a:b:c:s0:c1,c2".into(),
        network_made: false,
    };
    assert_eq!(request, rest);
}

#[test]
fn a_network_that_was_made_is_a_new_one_with_its_descriptor() {
    let made = LaunchSpec {
        network: Network::Made(fd()),
        user: None,
        ..spec()
    };
    let (request, fds) = launch(&made).unwrap();
    assert_eq!(roles(&fds).first(), Some(&FdRole::NetworkNamespace));
    assert!(request.network_made);
    let namespaces = request.namespaces.unwrap();
    assert_eq!(namespaces.network(), wire::NamespaceMode::Sandbox);
}

fn container(stdio: ContainerStdio, pid: ContainerPid) -> CreateContainer {
    CreateContainer {
        id: "container".parse().unwrap(),
        spec: b"{}".to_vec(),
        root: Root {
            base: "/layers".into(),
            lower: vec!["top".into(), "bottom".into()],
            upper: Some("/upper".into()),
            work: Some("/work".into()),
            volatile: true,
            label: Some("a:b:c".into()),
        },
        user: User {
            text: "web".into(),
            supplemental_groups: vec![5],
            group_names: vec!["video".into()],
            strict_groups: true,
        },
        seccomp: vec![2; 8],
        mounts: vec![VolumeMount {
            destination: "/data".into(),
            mount: fd(),
        }],
        images: vec![ImageMount {
            destination: "/model".into(),
            lower: vec!["l/7".into()],
            sub_path: "weights".into(),
        }],
        own_volumes: vec!["/scratch".into()],
        log: Some(Log {
            directory: fd(),
            file_name: "0.log".into(),
            rotation: Some(Rotation {
                max_size: 10,
                max_files: 3,
            }),
        }),
        stdio,
        pid,
        cgroup: CgroupDirectories {
            version: 2,
            directories: vec![fd()],
        },
        runtime: Some(OtherRuntime {
            program: "/usr/sbin/runc".into(),
        }),
        hooks: true,
        host_mounts: Some(fd()),
    }
}

#[test]
fn a_container_arrives_whole() {
    let size = TerminalSize {
        rows: 24,
        columns: 80,
    };
    let stdio = ContainerStdio::Terminal(size);
    let (request, fds) = create_container(container(stdio, ContainerPid::Host));
    let wanted = [
        FdRole::CgroupDirectory,
        FdRole::Mount,
        FdRole::LogDirectory,
        FdRole::MountNamespace,
    ];
    assert_eq!(roles(&fds), wanted);
    let whole = wire::CreateContainer {
        container_id: "container".into(),
        spec: b"{}".to_vec(),
        root: Some(wire::RootFilesystem {
            base: "/layers".into(),
            lower: vec!["top".into(), "bottom".into()],
            upper: "/upper".into(),
            work: "/work".into(),
            volatile: true,
            label: "a:b:c".into(),
        }),
        user: "web".into(),
        supplemental_groups: vec![5],
        group_names: vec!["video".into()],
        strict_groups: true,
        seccomp: vec![2; 8],
        mount_destinations: vec!["/data".into()],
        log: Some(wire::Log {
            file_name: "0.log".into(),
            max_size: 10,
            max_files: 3,
        }),
        stdin: false,
        stdin_once: false,
        terminal: true,
        terminal_rows: 24,
        terminal_columns: 80,
        pid_mode: wire::NamespaceMode::Host.into(),
        pid_target: String::new(),
        volumes: vec!["/scratch".into()],
        image_mounts: vec![wire::ImageMount {
            destination: "/model".into(),
            lower: vec!["l/7".into()],
            sub_path: "weights".into(),
        }],
        cgroup_version: 2,
        runtime: "/usr/sbin/runc".into(),
        hooks: true,
    };
    assert_eq!(request, whole);
}

#[test]
fn inputs_and_pid_namespaces_are_told_apart() {
    for (stdin, wanted) in [
        (Stdin::None, (false, false)),
        (Stdin::Open, (true, false)),
        (Stdin::Once, (true, true)),
    ] {
        let stdio = ContainerStdio::Pipes { stdin };
        let (request, _) = create_container(container(stdio, ContainerPid::Own));
        assert_eq!((request.stdin, request.stdin_once), wanted);
        assert_eq!(request.pid_mode(), wire::NamespaceMode::Container);
    }
    let stdio = ContainerStdio::Pipes { stdin: Stdin::None };
    let (request, _) = create_container(container(stdio, ContainerPid::Sandbox));
    assert_eq!(request.pid_mode(), wire::NamespaceMode::Sandbox);
    let target = ContainerPid::Target("other".parse().unwrap());
    let (request, _) = create_container(container(stdio, target));
    assert_eq!(request.pid_mode(), wire::NamespaceMode::Join);
    assert_eq!(request.pid_target, "other");
}

#[test]
fn a_timeout_below_a_millisecond_is_not_none() {
    let with = |timeout| {
        exec(Exec {
            id: "session".parse().unwrap(),
            container: "container".parse().unwrap(),
            process: Vec::new(),
            user: User::default(),
            seccomp: Vec::new(),
            timeout,
            stdio: ExecStdio::Pipes { stdin: true },
        })
        .timeout_ms
    };
    assert_eq!(with(None), 0);
    assert_eq!(with(Some(Duration::from_micros(3))), 1);
    assert_eq!(with(Some(Duration::from_secs(2))), 2000);
}

#[test]
fn a_report_arrives_whole() {
    let exited = wire::ContainerExited {
        container_id: "container".into(),
        exit_code: 137,
        signal: 9,
        finished_at: 2_000_000_001,
        oom_killed: true,
        started_at: 1_000_000_000,
        start_error: "no program".into(),
        dropped_log_lines: 4,
    };
    let report = wire::ContainerReport {
        container_id: "container".into(),
        pid: 44,
        started_at: 1_000_000_000,
        exited: Some(exited),
    };
    let report = ContainerReport::try_from(report).unwrap();
    let started_at = Some(UNIX_EPOCH + Duration::from_secs(1));
    assert_eq!((report.pid, report.started_at), (44, started_at));
    let wanted = ExitReport {
        id: "container".parse().unwrap(),
        exit_code: 137,
        signal: Some(9),
        started_at,
        finished_at: UNIX_EPOCH + Duration::from_nanos(2_000_000_001),
        oom_killed: true,
        start_error: Some("no program".into()),
        dropped_log_lines: 4,
    };
    assert_eq!(report.exited, Some(wanted));
}

#[test]
fn an_id_that_is_a_path_is_not_believed() {
    let exited = wire::ContainerExited {
        container_id: "../../etc/passwd".into(),
        ..wire::ContainerExited::default()
    };
    assert!(ExitReport::try_from(exited).is_err());
}

#[test]
fn refusals_keep_their_kind() {
    use agent_types::{Classify as _, ErrorKind};
    let kind = |code: wire::ErrorCode, errno| {
        let error = wire::Error {
            code: code.into(),
            message: "what failed".into(),
            errno,
        };
        RequestError::from(error).kind()
    };
    assert_eq!(kind(wire::ErrorCode::NotFound, 0), ErrorKind::NotFound);
    assert_eq!(
        kind(wire::ErrorCode::AlreadyExists, 0),
        ErrorKind::AlreadyExists
    );
    assert_eq!(
        kind(wire::ErrorCode::State, 0),
        ErrorKind::FailedPrecondition
    );
    assert_eq!(
        kind(wire::ErrorCode::Invalid, 0),
        ErrorKind::InvalidArgument
    );
    assert_eq!(kind(wire::ErrorCode::Internal, 5), ErrorKind::Internal);
    // ENOSPC: a full disk is not a fault.
    assert_eq!(
        kind(wire::ErrorCode::Internal, 28),
        ErrorKind::ResourceExhausted
    );
}
