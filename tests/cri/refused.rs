//! What can be refused is refused before anything is made, by name, and not by a start.

use anyhow::Result;
use harness::node::Node;
use proto::cri::{
    Capability, CdiDevice, ContainerConfig, Device, ImageSpec, Int64Value, LinuxContainerResources,
    LinuxContainerSecurityContext, LinuxSandboxSecurityContext, ListContainersRequest, Mount,
    MountPropagation, NamespaceMode, NamespaceOption, PodSandboxConfig, PortMapping, SeLinuxOption,
    SecurityProfile, Signal, WindowsContainerConfig, WindowsPodSandboxConfig,
    security_profile::ProfileType,
};
use tonic::Code;

fn context(config: &mut ContainerConfig) -> &mut LinuxContainerSecurityContext {
    config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default()
}

fn resources(config: &mut ContainerConfig) -> &mut LinuxContainerResources {
    config
        .linux
        .get_or_insert_default()
        .resources
        .get_or_insert_default()
}

fn volume(change: impl FnOnce(&mut Mount)) -> Vec<Mount> {
    let mut mount = Mount {
        container_path: "/volume".to_owned(),
        host_path: "/etc".to_owned(),
        ..Mount::default()
    };
    change(&mut mount);
    vec![mount]
}

fn user(value: i64) -> Option<Int64Value> {
    Some(Int64Value { value })
}

fn localhost(path: &str) -> Option<SecurityProfile> {
    Some(SecurityProfile {
        profile_type: ProfileType::Localhost.into(),
        localhost_ref: path.to_owned(),
    })
}

fn selinux() -> Option<SeLinuxOption> {
    Some(SeLinuxOption {
        r#type: "container_t".to_owned(),
        ..SeLinuxOption::default()
    })
}

type Container = fn(&mut ContainerConfig);

/// Wrong containers: what each is wrong about, and a word that tells.
const CONTAINERS: &[(&str, &str, Container)] = &[
    ("no image", "image", |c| c.image = None),
    ("no name", "name", |c| {
        c.metadata.get_or_insert_default().name.clear()
    }),
    ("a directory that is a file", "/etc/passwd", |c| {
        c.working_dir = "/etc/passwd".to_owned();
    }),
    ("a directory that is no path", "relative", |c| {
        c.working_dir = "relative".to_owned();
    }),
    ("an unknown user", "nobody-knows", |c| {
        context(c).run_as_username = "nobody-knows".to_owned();
    }),
    ("a negative user", "-1", |c| {
        context(c).run_as_user = user(-1)
    }),
    ("a user that wraps", "4294967296", |c| {
        context(c).run_as_user = user(1 << 32);
    }),
    ("a group without a user", "run_as_group", |c| {
        context(c).run_as_group = user(7);
    }),
    ("a negative group", "-1", |c| {
        context(c).supplemental_groups = vec![-1];
    }),
    ("an unknown capability", "CAP_EVERYTHING", |c| {
        context(c).capabilities = Some(Capability {
            add_capabilities: vec!["CAP_EVERYTHING".to_owned()],
            ..Capability::default()
        });
    }),
    ("privileged in a sandbox that is not", "privileged", |c| {
        context(c).privileged = true;
    }),
    (
        "the host's PID namespace in a sandbox that is not",
        "host's PID namespace",
        |c| {
            context(c).namespace_options.get_or_insert_default().pid = NamespaceMode::Node.into();
        },
    ),
    ("another container's PID namespace", "target", |c| {
        context(c).namespace_options.get_or_insert_default().pid = NamespaceMode::Target.into();
    }),
    (
        "the host's network in a sandbox that is not in it",
        "network",
        |c| {
            context(c).namespace_options.get_or_insert_default().network =
                NamespaceMode::Node.into();
        },
    ),
    (
        "the host's IPC namespace in a sandbox that is not in it",
        "ipc",
        |c| {
            context(c).namespace_options.get_or_insert_default().ipc = NamespaceMode::Node.into();
        },
    ),
    ("another container's network", "network", |c| {
        context(c).namespace_options.get_or_insert_default().network = NamespaceMode::Target.into();
    }),
    ("a part for Windows", "windows", |c| {
        c.windows = Some(WindowsContainerConfig::default());
    }),
    (
        "a seccomp profile that is not there",
        "/nonexistent/profile.json",
        |c| {
            context(c).seccomp = localhost("/nonexistent/profile.json");
        },
    ),
    ("a seccomp profile that is none", "seccomp profile", |c| {
        context(c).seccomp = localhost("/etc/passwd");
    }),
    ("an AppArmor profile", "mine", |c| {
        context(c).apparmor = localhost("mine");
    }),
    ("SELinux", "SELinux", |c| {
        context(c).selinux_options = selinux()
    }),
    ("a masked path that climbs", "/../etc", |c| {
        context(c).masked_paths = vec!["/../etc".to_owned()];
    }),
    ("a volume without a source", "/volume", |c| {
        c.mounts = volume(|mount| mount.host_path.clear());
    }),
    ("a volume without a place", "mount destination", |c| {
        c.mounts = volume(|mount| mount.container_path.clear());
    }),
    ("a volume over everything", "/", |c| {
        c.mounts = volume(|mount| "/".clone_into(&mut mount.container_path));
    }),
    ("a volume over /proc", "/proc", |c| {
        c.mounts = volume(|mount| "/proc".clone_into(&mut mount.container_path));
    }),
    ("a PID namespace of nobody", "target_id", |c| {
        let options = context(c).namespace_options.get_or_insert_default();
        options.target_id = "somebody".to_owned();
    }),
    ("a volume of a path and of an image", "/volume", |c| {
        c.mounts = volume(|mount| mount.image = Some(harness::cri::image_spec("busybox")));
    }),
    ("a volume of an image without a name", "image", |c| {
        c.mounts = volume(|mount| {
            mount.host_path.clear();
            mount.image = Some(ImageSpec::default());
        });
    }),
    ("a part of no image", "image_sub_path", |c| {
        c.mounts = volume(|mount| mount.image_sub_path = "etc".to_owned());
    }),
    ("a part outside of an image", "image_sub_path", |c| {
        c.mounts = volume(|mount| {
            mount.host_path.clear();
            mount.image = Some(harness::cri::image_spec("busybox"));
            mount.image_sub_path = "etc/../../..".to_owned();
        });
    }),
    ("an image volume that is passed on", "bidirectional", |c| {
        c.mounts = volume(|mount| {
            mount.host_path.clear();
            mount.image = Some(harness::cri::image_spec("busybox"));
            mount.propagation = MountPropagation::PropagationBidirectional.into();
        });
    }),
    ("a mount option that is none", "noexec,suid", |c| {
        c.mounts = volume(|mount| mount.mount_options = vec!["noexec,suid".to_owned()]);
    }),
    ("a mount option that makes it writable", "rw", |c| {
        c.mounts = volume(|mount| {
            mount.readonly = true;
            mount.mount_options = vec!["rw".to_owned()];
        });
    }),
    ("recursively read-only and passed on", "recursive", |c| {
        c.mounts = volume(|mount| {
            mount.readonly = true;
            mount.recursive_read_only = true;
            mount.propagation = MountPropagation::PropagationHostToContainer.into();
        });
    }),
    ("recursively read-only and writable", "recursive", |c| {
        c.mounts = volume(|mount| mount.recursive_read_only = true);
    }),
    ("bidirectional without a shared source", "shared", |c| {
        c.mounts = volume(|mount| {
            mount.host_path = "/proc".to_owned();
            mount.propagation = MountPropagation::PropagationBidirectional.into();
        });
    }),
    ("a device that is not there", "/dev/nonexistent", |c| {
        c.devices = vec![Device {
            host_path: "/dev/nonexistent".to_owned(),
            container_path: "/dev/x".to_owned(),
            permissions: "rwm".to_owned(),
        }];
    }),
    ("a device that is none", "/etc/passwd", |c| {
        c.devices = vec![Device {
            host_path: "/etc/passwd".to_owned(),
            container_path: "/dev/x".to_owned(),
            permissions: "rwm".to_owned(),
        }];
    }),
    ("a device of CDI", "vendor.com/device=one", |c| {
        c.cdi_devices = vec![CdiDevice {
            name: "vendor.com/device=one".to_owned(),
        }];
    }),
    ("processors that are not there", "4000-4001", |c| {
        resources(c).cpuset_cpus = "4000-4001".to_owned();
    }),
    ("an OOM score out of range", "4000", |c| {
        resources(c).oom_score_adj = 4000;
    }),
    ("a cgroup file that leads out", "../memory.max", |c| {
        let evil = ("../memory.max".to_owned(), "max".to_owned());
        resources(c).unified.extend([evil]);
    }),
    ("a log path that is absolute", "/tmp/escape.log", |c| {
        c.log_path = "/tmp/escape.log".to_owned();
    }),
    ("a stop signal that is none", "4711", |c| {
        c.stop_signal = 4711
    }),
    ("an argument with an end in it", "arg", |c| {
        c.args = vec!["a\0b".to_owned()];
    }),
];

/// Says how a refusal is not the one that was looked for.
fn other_than(what: &str, word: &str, status: &tonic::Status) -> Option<String> {
    let right = status.code() == Code::InvalidArgument && status.message().contains(word);
    (!right).then(|| {
        format!(
            "{what}: no `{word}` in {:?} {}",
            status.code(),
            status.message()
        )
    })
}

#[tokio::test]
async fn containers_are_refused_by_create() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let mut wrong = Vec::new();
    for (what, word, spoil) in CONTAINERS {
        let mut config = node.container_config("main", &["/bin/pause"]);
        spoil(&mut config);
        let refused = node
            .cri
            .create_container(&sandbox.id, &config, &sandbox.config)
            .await;
        let Err(status) = refused else {
            anyhow::bail!("{what}: accepted")
        };
        wrong.extend(other_than(what, word, &status));
    }
    assert_eq!(wrong, [""; 0]);
    let list = ListContainersRequest { filter: None };
    let list = node.cri.runtime.clone().list_containers(list).await?;
    assert_eq!(list.into_inner().containers, []);
    // The name is free, and the sandbox none the worse.
    let id = node.run(&sandbox, "main", &["/bin/pause"]).await?;
    assert_eq!(node.exec(&id, "echo works").await?, "works\n");
    node.finish().await
}

type Sandbox = fn(&mut PodSandboxConfig);

fn rights(config: &mut PodSandboxConfig) -> &mut LinuxSandboxSecurityContext {
    let linux = config.linux.get_or_insert_default();
    linux.security_context.get_or_insert_default()
}

fn options(config: &mut PodSandboxConfig) -> &mut NamespaceOption {
    rights(config).namespace_options.get_or_insert_default()
}

/// Wrong sandboxes: what each is wrong about, and a word that tells.
const SANDBOXES: &[(&str, &str, Sandbox)] = &[
    ("no metadata", "metadata", |c| c.metadata = None),
    ("a host name that is none", "host name", |c| {
        c.hostname = "not a host\nname".to_owned();
    }),
    ("a host name that is too long", "host name", |c| {
        c.hostname = "x".repeat(100)
    }),
    ("a log directory that climbs", "/var/log/../../etc", |c| {
        c.log_directory = "/var/log/../../etc".to_owned();
    }),
    ("a log directory that is relative", "logs", |c| {
        c.log_directory = "logs".to_owned();
    }),
    ("a cgroup parent that climbs", "/../../evil", |c| {
        c.linux.get_or_insert_default().cgroup_parent = "/../../evil".to_owned();
    }),
    ("a name server that is none", "not-an-address", |c| {
        c.dns_config.get_or_insert_default().servers = vec!["not-an-address".to_owned()];
    }),
    ("a port that is none", "70000", |c| {
        c.port_mappings = vec![PortMapping {
            container_port: 80,
            host_port: 70_000,
            ..PortMapping::default()
        }];
    }),
    ("an address that is none", "localhost", |c| {
        c.port_mappings = vec![PortMapping {
            container_port: 80,
            host_port: 1080,
            host_ip: "localhost".to_owned(),
            ..PortMapping::default()
        }];
    }),
    ("another container's PID namespace", "pid", |c| {
        options(c).pid = NamespaceMode::Target.into();
    }),
    ("a namespace mode that is none", "4711", |c| {
        options(c).ipc = 4711
    }),
    ("a group without a user", "run_as_group", |c| {
        rights(c).run_as_group = user(7)
    }),
    ("a negative user", "-1", |c| {
        rights(c).run_as_user = user(-1)
    }),
    ("a negative group", "-1", |c| {
        rights(c).supplemental_groups = vec![-1]
    }),
    (
        "a seccomp profile that is not there",
        "/nonexistent/profile.json",
        |c| {
            rights(c).seccomp = localhost("/nonexistent/profile.json");
        },
    ),
    ("a part for Windows", "windows", |c| {
        c.windows = Some(WindowsPodSandboxConfig::default());
    }),
    ("SELinux", "SELinux", |c| {
        rights(c).selinux_options = selinux();
    }),
];

#[tokio::test]
async fn sandboxes_are_refused_by_run() -> Result<()> {
    let node = Node::start().await?;
    let mut wrong = Vec::new();
    for (what, word, spoil) in SANDBOXES {
        let mut config = node.sandbox_config("pod");
        spoil(&mut config);
        let Err(status) = node.cri.run_sandbox(&config).await else {
            anyhow::bail!("{what}: accepted")
        };
        wrong.extend(other_than(what, word, &status));
    }
    assert_eq!(wrong, [""; 0]);
    let refused = node
        .cri
        .run_sandbox_with(&node.sandbox_config("pod"), "no-such-handler")
        .await;
    assert!(refused.is_err(), "{refused:?}");
    node.nothing_left().await?;
    node.sandbox("pod").await?;
    node.finish().await
}

#[tokio::test]
async fn a_stop_signal_of_cri_is_known_by_its_number() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let line = "trap 'exit 12' USR2; while :; do sleep 0.01; done";
    let mut config = node.container_config("main", &["/bin/sh", "-c", line]);
    config.stop_signal = Signal::Sigusr2.into();
    let id = node.run_of(&sandbox, &config).await?;
    harness::wait::until_async("the trap is set", || async {
        let caught = node.exec(&id, "grep SigCgt /proc/1/status").await?;
        let mask = u64::from_str_radix(caught.split_whitespace().last().unwrap_or_default(), 16)?;
        Ok((mask & (1 << 11) != 0).then_some(()))
    })
    .await?;
    node.cri.stop_container(&id, 30).await?;
    assert_eq!(node.cri.container_status(&id).await?.exit_code, 12);
    node.finish().await
}
