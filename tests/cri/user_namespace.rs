//! Pods whose users are others on the host.

use std::os::unix::fs::MetadataExt as _;

use anyhow::Result;
use harness::image::{Image, LayerBuilder, default_config};
use harness::node::{Node, Sandbox};
use proto::cri::{
    Capability, ContainerConfig, Device, IdMapping, Int64Value, LinuxContainerSecurityContext,
    Mount, NamespaceMode, NamespaceOption, PodSandboxConfig, StatusRequest, UserNamespace,
};
use tonic::Code;

use crate::isolation::with_context;

/// The first id of the pods' users on the host.
const OUTSIDE: u32 = 300_000;

fn mapping() -> IdMapping {
    IdMapping {
        host_id: OUTSIDE,
        container_id: 0,
        length: 65_536,
    }
}

fn users() -> UserNamespace {
    UserNamespace {
        mode: NamespaceMode::Pod.into(),
        uids: vec![mapping()],
        gids: vec![mapping()],
    }
}

fn options(config: &mut PodSandboxConfig) -> &mut NamespaceOption {
    config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default()
        .namespace_options
        .get_or_insert_default()
}

pub(crate) async fn pod(node: &Node, pid: NamespaceMode) -> Result<Sandbox> {
    let mut config = node.sandbox_config("pod");
    options(&mut config).userns_options = Some(users());
    options(&mut config).pid = pid.into();
    let context = config.linux.get_or_insert_default();
    context.security_context.get_or_insert_default().privileged = true;
    node.sandbox_of(config).await
}

fn container(
    node: &Node,
    name: &str,
    line: &str,
    change: impl FnOnce(&mut LinuxContainerSecurityContext),
) -> ContainerConfig {
    with_context(node, name, line, |context| {
        let options = context.namespace_options.get_or_insert_default();
        options.userns_options = Some(users());
        change(context);
    })
}

#[tokio::test]
async fn a_pods_root_is_nobody_on_the_host() -> Result<()> {
    let mut node = Node::start().await?;
    let sandbox = pod(&node, NamespaceMode::Container).await?;
    let config = container(
        &node,
        "main",
        "echo out; echo again >/dev/stdout; exec pause",
        |_| {},
    );
    let id = node.run_of(&sandbox, &config).await?;
    for (line, text) in [
        ("cat /proc/self/uid_map | tr -s ' '", " 0 300000 65536\n"),
        ("cat /proc/self/gid_map | tr -s ' '", " 0 300000 65536\n"),
        ("id -u; id -g; id -G", "0\n0\n0\n"),
        (
            "stat -c '%u %g' / /bin/busybox /etc/hosts /etc/resolv.conf /dev /dev/null /dev/fd | uniq",
            "0 0\n",
        ),
        (
            "touch /file && chown 1000:1000 /file && stat -c '%u %g' /file",
            "1000 1000\n",
        ),
        (
            "echo x >/dev/null; head -c 2 /dev/zero | od -An -tx1",
            " 00 00\n",
        ),
        (
            "echo shared >/dev/shm/file; stat -c '%u' /dev/shm /dev/shm/file | uniq",
            "0\n",
        ),
        (
            "mknod /tmp/disk b 8 0 2>/dev/null || echo refused",
            "refused\n",
        ),
        ("test -d /sys/class/net/eth0 && echo there", "there\n"),
        (
            "cat /proc/1/comm; set -- /proc/[0-9]*; echo $#",
            "pause\n2\n",
        ),
    ] {
        assert_eq!(node.exec(&id, line).await?, text, "{line}");
    }
    let log = std::fs::read_to_string(node.log_of(&sandbox, &config))?;
    assert!(log.contains("out") && log.contains("again"), "{log}");
    // The same, seen from outside, by an agent that was replaced meanwhile.
    node.restart().await?;
    let request = proto::cri::ContainerStatusRequest {
        container_id: id.clone(),
        verbose: true,
    };
    let status = node.cri.runtime.clone().container_status(request).await?;
    let pid = status.into_inner().info["pid"].clone();
    assert_eq!(std::fs::metadata(format!("/proc/{pid}"))?.uid(), OUTSIDE);
    assert_eq!(
        node.exec(&id, "id -u; stat -c %u /file").await?,
        "0\n1000\n"
    );
    let shown = node.cri.sandbox_status(&sandbox.id).await?;
    let shown = shown.linux.and_then(|linux| linux.namespaces);
    let shown = shown.and_then(|namespaces| namespaces.options);
    assert_eq!(
        shown.and_then(|options| options.userns_options),
        Some(users())
    );
    node.finish().await
}

#[tokio::test]
async fn a_pods_namespaces_obey_its_root() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = pod(&node, NamespaceMode::Container).await?;
    let config = container(&node, "main", "exec pause", |context| {
        context.capabilities = Some(Capability {
            add_capabilities: vec!["SYS_ADMIN".to_owned(), "NET_ADMIN".to_owned()],
            ..Capability::default()
        });
    });
    let id = node.run_of(&sandbox, &config).await?;
    for line in [
        "mount -t tmpfs mine /tmp && umount /tmp",
        "mount -t proc proc /tmp && umount /tmp",
        "ip link set lo down && ip link set lo up",
        "hostname other && test $(hostname) = other",
        // What is the host's stays the host's.
        "! sh -c 'echo 1 >/proc/sys/kernel/panic' 2>/dev/null",
        "! mount -t tmpfs -o remount,rw none /sys 2>/dev/null",
    ] {
        node.exec(&id, line).await?;
    }
    let privileged = container(&node, "privileged", "exec pause", |context| {
        context.privileged = true;
    });
    let id = node.run_of(&sandbox, &privileged).await?;
    let line = "test -c /dev/kmsg && ! dd if=/dev/kmsg of=/dev/null count=1 2>/dev/null; mount -t tmpfs mine /tmp";
    node.exec(&id, line).await?;
    node.finish().await
}

#[tokio::test]
async fn users_of_a_container_are_the_pods() -> Result<()> {
    let node = Node::start().await?;
    for pid in [NamespaceMode::Container, NamespaceMode::Pod] {
        let sandbox = pod(&node, pid).await?;
        let config = container(
            &node,
            "user",
            "id -u; id -G; echo up >/dev/stdout; exec sleep 1000",
            |context| {
                context.run_as_user = Some(Int64Value { value: 1000 });
                context.supplemental_groups = vec![4242];
                context.namespace_options.get_or_insert_default().pid = pid.into();
            },
        );
        let id = node.run_of(&sandbox, &config).await?;
        assert_eq!(
            node.exec(&id, "id -u; id -G").await?,
            "1000\n1000 2000 4242\n"
        );
        let beside = container(&node, "beside", "exec sleep 1001", |context| {
            let options = context.namespace_options.get_or_insert_default();
            options.pid = NamespaceMode::Target.into();
            options.target_id.clone_from(&id);
        });
        let beside = node.run_of(&sandbox, &beside).await?;
        let line = "ps -o comm | grep -c sleep; stat -L -c %u /proc/self";
        assert_eq!(node.exec(&beside, line).await?, "2\n0\n", "{pid:?}");
        node.cri.stop_sandbox(&sandbox.id).await?;
        node.cri.remove_sandbox(&sandbox.id).await?;
    }
    node.finish().await
}

#[tokio::test]
async fn volumes_and_devices_are_shown_to_the_pods_users() -> Result<()> {
    let node = Node::start().await?;
    let volume = node.agent.directory().join("volume");
    std::fs::create_dir(&volume)?;
    std::fs::write(volume.join("file"), "of root")?;
    let mut layer = LayerBuilder::new();
    layer.file("model", b"model", 0o600)?;
    let image = Image::new(vec![layer.gzip()?], &default_config());
    let image = node.registry.push("test/model:1", &image)?;
    node.cri.pull(&image).await?;
    let sandbox = pod(&node, NamespaceMode::Container).await?;
    let mut config = container(&node, "main", "exec pause", |_| {});
    let mapped = Mount {
        container_path: "/mapped".to_owned(),
        host_path: volume.display().to_string(),
        uid_mappings: vec![mapping()],
        gid_mappings: vec![mapping()],
        ..Mount::default()
    };
    config.mounts = vec![
        Mount {
            container_path: "/plain".to_owned(),
            uid_mappings: Vec::new(),
            gid_mappings: Vec::new(),
            ..mapped.clone()
        },
        mapped.clone(),
        Mount {
            container_path: "/image".to_owned(),
            image: Some(harness::cri::image_spec(&image)),
            readonly: true,
            ..Mount::default()
        },
    ];
    config.devices = vec![Device {
        container_path: "/dev/deep/full".to_owned(),
        host_path: "/dev/full".to_owned(),
        permissions: "rw".to_owned(),
    }];
    let id = node.run_of(&sandbox, &config).await?;
    for (line, text) in [
        ("stat -c %u /mapped/file /plain/file", "0\n65534\n"),
        ("echo mine >/mapped/new; cat /mapped/new", "mine\n"),
        ("cat /image/model; stat -c %u /image/model", "model0\n"),
        ("touch /plain/x 2>/dev/null || echo refused", "refused\n"),
        (
            "stat -c '%u %t:%T' /dev/deep/full; head -c 1 /dev/deep/full | od -An -tx1",
            // Whoever may open it on the host may here.
            "65534 1:7\n 00\n",
        ),
    ] {
        assert_eq!(node.exec(&id, line).await?, text, "{line}");
    }
    assert_eq!(std::fs::metadata(volume.join("new"))?.uid(), 0);
    let status = node.cri.container_status(&id).await?;
    assert_eq!(status.mounts[1].uid_mappings, [mapping()]);
    for (what, wrong) in [
        (
            "other ids",
            IdMapping {
                host_id: 1,
                ..mapping()
            },
        ),
        (
            "fewer ids",
            IdMapping {
                length: 1,
                ..mapping()
            },
        ),
    ] {
        let mut config = container(&node, "wrong", "true", |_| {});
        config.mounts = vec![Mount {
            uid_mappings: vec![wrong],
            gid_mappings: vec![wrong],
            ..mapped.clone()
        }];
        let refused = node
            .cri
            .create_container(&sandbox.id, &config, &sandbox.config);
        let code = refused.await.err().map(|status| status.code());
        assert_eq!(code, Some(Code::InvalidArgument), "{what}");
    }
    node.finish().await
}

type Change = fn(&mut UserNamespace);

#[tokio::test]
async fn what_a_user_namespace_cannot_be_is_refused_by_run() -> Result<()> {
    let node = Node::start().await?;
    let mut runtime = node.cri.runtime.clone();
    let status = runtime.status(StatusRequest { verbose: false }).await?;
    let handlers = status.into_inner().runtime_handlers;
    let features = handlers.first().and_then(|handler| handler.features);
    assert!(features.is_some_and(|features| features.user_namespaces));
    let wrong: [(&str, Change); 9] = [
        ("no mapping", |u| u.uids.clear()),
        ("no mapping of groups", |u| u.gids.clear()),
        ("two mappings", |u| {
            u.uids.push(IdMapping {
                container_id: 65_536,
                host_id: 0,
                length: 1,
            })
        }),
        ("others for groups", |u| u.gids[0].host_id = 1),
        ("no root", |u| {
            u.uids[0].container_id = 1;
            u.gids[0].container_id = 1;
        }),
        ("no ids", |u| {
            u.uids[0].length = 0;
            u.gids[0].length = 0;
        }),
        ("ids that do not exist", |u| {
            u.uids[0].host_id = u32::MAX;
            u.gids[0].host_id = u32::MAX;
        }),
        ("the host's with mappings", |u| {
            u.mode = NamespaceMode::Node.into()
        }),
        ("one for each container", |u| {
            u.mode = NamespaceMode::Container.into()
        }),
    ];
    for (what, change) in wrong {
        let mut config = node.sandbox_config("pod");
        let mut users = users();
        change(&mut users);
        options(&mut config).userns_options = Some(users);
        let refused = node.cri.run_sandbox(&config).await;
        let code = refused.err().map(|status| status.code());
        assert_eq!(code, Some(Code::InvalidArgument), "{what}");
    }
    let host: [fn(&mut NamespaceOption); 3] = [
        |o| o.network = NamespaceMode::Node.into(),
        |o| o.pid = NamespaceMode::Node.into(),
        |o| o.ipc = NamespaceMode::Node.into(),
    ];
    for change in host {
        let mut config = node.sandbox_config("pod");
        options(&mut config).userns_options = Some(users());
        change(options(&mut config));
        let refused = node.cri.run_sandbox(&config).await;
        let code = refused.err().map(|status| status.code());
        assert_eq!(code, Some(Code::InvalidArgument));
    }
    node.finish().await
}

#[tokio::test]
async fn a_container_has_its_pods_users_or_is_refused() -> Result<()> {
    let node = Node::start().await?;
    let plain = node.sandbox("plain").await?;
    let shifted = pod(&node, NamespaceMode::Container).await?;
    let mut others = users();
    others.uids[0].host_id += 1;
    others.gids[0].host_id += 1;
    let host = UserNamespace {
        mode: NamespaceMode::Node.into(),
        ..UserNamespace::default()
    };
    for (sandbox, wanted) in [
        (&plain, users()),
        (&shifted, others),
        (&shifted, host.clone()),
    ] {
        let config = with_context(&node, "main", "true", |context| {
            let options = context.namespace_options.get_or_insert_default();
            options.userns_options = Some(wanted.clone());
        });
        let refused = node
            .cri
            .create_container(&sandbox.id, &config, &sandbox.config);
        let code = refused.await.err().map(|status| status.code());
        assert_eq!(code, Some(Code::InvalidArgument), "{wanted:?}");
    }
    let mut mapped = node.container_config("mapped", &["/bin/true"]);
    mapped.mounts = vec![Mount {
        container_path: "/x".to_owned(),
        host_path: "/etc".to_owned(),
        uid_mappings: vec![mapping()],
        gid_mappings: vec![mapping()],
        ..Mount::default()
    }];
    let refused = node.cri.create_container(&plain.id, &mapped, &plain.config);
    let code = refused.await.err().map(|status| status.code());
    assert_eq!(code, Some(Code::InvalidArgument));
    // Nothing said is the pod's, and the host's said where it is.
    let silent = with_context(
        &node,
        "silent",
        "id -u; head -1 /proc/self/uid_map | tr -s ' '",
        |_| {},
    );
    assert_eq!(
        node.shell_of(&shifted, &silent).await?,
        (0, "0\n 0 300000 65536\n".to_owned())
    );
    let said = with_context(&node, "said", "true", |context| {
        let options = context.namespace_options.get_or_insert_default();
        options.userns_options = Some(host);
    });
    assert_eq!(node.shell_of(&plain, &said).await?.0, 0);
    node.finish().await
}
