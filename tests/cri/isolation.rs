//! What a container sees, and what it may do.

use anyhow::Result;
use harness::image::{Image, LayerBuilder, default_config};
use harness::node::Node;
use proto::cri::{
    Capability, Device, LinuxContainerSecurityContext, Mount, MountPropagation, SecurityProfile,
    security_profile::ProfileType,
};
use tonic::Code;

/// Paths that a kubelet has masked by default (Kubernetes, pkg/securitycontext).
const MASKED: [&str; 10] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/sys/firmware",
];

/// Paths that a kubelet has made read-only by default.
const READ_ONLY: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

pub(crate) fn with_context(
    node: &Node,
    name: &str,
    line: &str,
    change: impl FnOnce(&mut LinuxContainerSecurityContext),
) -> proto::cri::ContainerConfig {
    let mut config = node.container_config(name, &["/bin/sh", "-c", line]);
    change(
        config
            .linux
            .get_or_insert_default()
            .security_context
            .get_or_insert_default(),
    );
    config
}

#[tokio::test]
async fn containers_share_what_their_sandbox_shares() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let one = node.run(&sandbox, "one", &["/bin/pause"]).await?;
    let two = node.run(&sandbox, "two", &["/bin/pause"]).await?;
    for (namespace, shared) in [
        ("net", true),
        ("ipc", true),
        ("uts", true),
        ("pid", false),
        ("mnt", false),
        ("cgroup", false),
    ] {
        let line = format!("readlink /proc/1/ns/{namespace}");
        let (first, second) = (node.exec(&one, &line).await?, node.exec(&two, &line).await?);
        let host = std::fs::read_link(format!("/proc/self/ns/{namespace}"))?
            .display()
            .to_string();
        assert_eq!(first == second, shared, "{namespace}");
        assert_ne!(first.trim(), host, "{namespace} is the host's");
    }
    assert_eq!(node.exec(&one, "cat /proc/1/comm").await?.trim(), "pause");
    assert_eq!(
        node.exec(&one, "echo shared >/dev/shm/file; cat /dev/shm/file")
            .await?,
        "shared\n"
    );
    assert_eq!(node.exec(&two, "cat /dev/shm/file").await?, "shared\n");
    node.finish().await
}

#[tokio::test]
async fn proc_sys_and_dev_are_as_the_runtime_specification_says() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let mut config = node.container_config("main", &["/bin/pause"]);
    let context = config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default();
    // What a kubelet sends for the default proc mount; an empty list means an unmasked one.
    context.masked_paths = MASKED.map(str::to_owned).to_vec();
    context.readonly_paths = READ_ONLY.map(str::to_owned).to_vec();
    let id = node.run_of(&sandbox, &config).await?;
    for line in [
        "test -c /dev/null && test -c /dev/zero && test -c /dev/full && test -c /dev/random && test -c /dev/urandom && test -c /dev/tty",
        "test $(readlink /dev/fd) = /proc/self/fd && test $(readlink /dev/stdin) = /proc/self/fd/0 && test -e /dev/ptmx",
        "mount | grep -q ' on /proc type proc (rw,nosuid,nodev,noexec'",
        "mount | grep -q ' on /sys type sysfs (ro,nosuid,nodev,noexec'",
        "mount | grep ' on /dev type tmpfs (rw,nosuid'",
        "mount | grep -q ' on /dev/pts type devpts (rw,nosuid,noexec'",
        "mount | grep -q ' on /dev/mqueue type mqueue (rw,nosuid,nodev,noexec'",
        "mount | grep -q ' on /dev/shm type tmpfs (rw,nosuid,nodev,noexec'",
        // Masked.
        "! cat /proc/kcore | head -c 1 | grep -q . && test -z \"$(cat /proc/timer_list)\" && test -z \"$(ls /proc/acpi 2>/dev/null)\"",
        "test -z \"$(ls /sys/firmware)\"",
        // Read-only.
        "! sh -c 'echo 1 >/proc/sys/kernel/domainname' 2>/dev/null && ! sh -c 'echo h >/proc/sysrq-trigger' 2>/dev/null",
        "! mkdir /sys/fs/cgroup/new 2>/dev/null && ! mkdir /sys/fs/cgroup/memory/new 2>/dev/null",
        "echo writable >/tmp/file",
    ] {
        node.exec(&id, line).await?;
    }
    node.finish().await
}

#[tokio::test]
async fn capabilities_are_the_default_set_more_or_less() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let line = "grep -E '^Cap(Inh|Prm|Eff|Bnd|Amb)' /proc/self/status | cut -f2 | tr '\\n' ' '";
    // chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw sys_chroot mknod audit_write setfcap
    let default = "00000000a80425fb";
    let none = "0000000000000000";
    let (_, text) = node.shell(&sandbox, "default", line).await?;
    assert_eq!(
        text.trim(),
        format!("{none} {default} {default} {default} {none}")
    );
    let change = |context: &mut LinuxContainerSecurityContext| {
        context.capabilities = Some(Capability {
            add_capabilities: vec!["NET_ADMIN".to_owned(), "CAP_SYS_TIME".to_owned()],
            drop_capabilities: vec!["ALL".to_owned()],
            ..Capability::default()
        });
    };
    let (_, text) = node
        .shell_of(&sandbox, &with_context(&node, "chosen", line, change))
        .await?;
    let chosen = "0000000002001000";
    assert_eq!(
        text.trim(),
        format!("{none} {chosen} {chosen} {chosen} {none}")
    );
    let all = |context: &mut LinuxContainerSecurityContext| {
        context.capabilities = Some(Capability {
            add_capabilities: vec!["ALL".to_owned()],
            drop_capabilities: vec!["NET_RAW".to_owned()],
            ..Capability::default()
        });
    };
    let (_, text) = node
        .shell_of(&sandbox, &with_context(&node, "all", line, all))
        .await?;
    let ours = std::fs::read_to_string("/proc/self/status")?;
    let ours = ours.lines().find_map(|line| line.strip_prefix("CapPrm:\t"));
    // All that this machine lets us give away, but for the one.
    let ours = u64::from_str_radix(ours.unwrap_or_default(), 16)? & !(1 << 13);
    assert_eq!(
        text.trim(),
        format!("{none} {ours:016x} {ours:016x} {ours:016x} {none}")
    );
    let unknown = |context: &mut LinuxContainerSecurityContext| {
        context.capabilities = Some(Capability {
            add_capabilities: vec!["SYS_NONSENSE".to_owned()],
            ..Default::default()
        });
    };
    let config = with_context(&node, "unknown", line, unknown);
    let refused = node
        .cri
        .create_container(&sandbox.id, &config, &sandbox.config)
        .await
        .err();
    assert_eq!(
        refused.map(|status| status.code()),
        Some(Code::InvalidArgument)
    );
    node.finish().await
}

#[tokio::test]
async fn privileges_seccomp_and_read_only_roots_follow_the_request() -> Result<()> {
    let node = Node::start().await?;
    let mut config = node.sandbox_config("pod");
    config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default()
        .privileged = true;
    let sandbox = node.sandbox_of(config).await?;
    let line = "grep -E '^(NoNewPrivs|Seccomp):' /proc/self/status | cut -f2 | tr '\\n' ' '; touch /file 2>/dev/null; echo $?; touch /sys/x 2>/dev/null; mount -t tmpfs none /tmp 2>/dev/null; echo $?";
    let run = async |name: &str, change: fn(&mut LinuxContainerSecurityContext)| {
        node.shell_of(&sandbox, &with_context(&node, name, line, change))
            .await
            .map(|(_, text)| text)
    };
    assert_eq!(run("plain", |_| {}).await?, "0 0 0\n1\n");
    assert_eq!(
        run("no-new-privileges", |context| context.no_new_privs = true).await?,
        "1 0 0\n1\n"
    );
    assert_eq!(
        run("read-only", |context| context.readonly_rootfs = true).await?,
        "0 0 1\n1\n"
    );
    let default = |context: &mut LinuxContainerSecurityContext| {
        context.seccomp = Some(SecurityProfile {
            profile_type: ProfileType::RuntimeDefault.into(),
            ..Default::default()
        });
    };
    assert_eq!(run("seccomp", default).await?, "0 2 0\n1\n");
    assert_eq!(
        run("privileged", |context| context.privileged = true).await?,
        "0 0 0\n0\n"
    );
    node.finish().await
}

#[tokio::test]
async fn the_default_seccomp_profile_bites() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let default = |context: &mut LinuxContainerSecurityContext| {
        context.seccomp = Some(SecurityProfile {
            profile_type: ProfileType::RuntimeDefault.into(),
            ..Default::default()
        });
    };
    // Whoever may is root in a user namespace of its own; nothing but the profile forbids that.
    let line = "unshare -U true 2>&1 | grep -c 'not permitted'; echo fine";
    assert_eq!(
        node.shell(&sandbox, "control", line).await?,
        (0, "0\nfine\n".to_owned())
    );
    let config = with_context(&node, "main", line, default);
    assert_eq!(
        node.shell_of(&sandbox, &config).await?,
        (0, "1\nfine\n".to_owned())
    );
    node.finish().await
}

#[tokio::test]
async fn calls_newer_than_the_profile_do_not_exist() -> Result<()> {
    // exit_group(-number(0, ...)): ends with what the kernel said of the call.
    let call = |number: u32| {
        let [a, b, c, d] = number.to_le_bytes();
        let code = [
            0xb8, a, b, c, d, // mov eax, number
            0x31, 0xff, 0x31, 0xf6, 0x31, 0xd2, // xor edi, edi; xor esi, esi; xor edx, edx
            0x0f, 0x05, // syscall
            0x89, 0xc7, 0xf7, 0xdf, // mov edi, eax; neg edi
            0xb8, 231, 0, 0, 0, 0x0f, 0x05, // exit_group
        ];
        harness::image::program(&code)
    };
    let node = Node::start().await?;
    let mut layer = LayerBuilder::new();
    // kexec_load, which is old and forbidden; file_getattr of Linux 6.17; and one that is not made yet.
    for (name, number) in [("old", 246), ("new", 468), ("future", 4000)] {
        layer.file(&format!("bin/{name}"), &call(number)?, 0o755)?;
    }
    let image = Image::busybox_with(vec![layer.gzip()?], &default_config())?;
    let image = node.registry.push("test/calls:1", &image)?;
    node.cri.pull(&image).await?;
    let sandbox = node.sandbox("pod").await?;
    for (name, errno) in [("old", 1), ("new", 38), ("future", 38)] {
        let mut config = with_context(&node, name, "", |context| {
            context.seccomp = Some(SecurityProfile {
                profile_type: ProfileType::RuntimeDefault.into(),
                ..Default::default()
            });
        });
        config.command = vec![name.to_owned()];
        config.image = Some(harness::cri::image_spec(&image));
        let (code, _) = node.shell_of(&sandbox, &config).await?;
        assert_eq!(code, errno, "{name}");
    }
    node.finish().await
}

#[tokio::test]
async fn paths_are_masked_and_read_only_as_asked() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let change = |context: &mut LinuxContainerSecurityContext| {
        context.masked_paths = vec![
            "/etc/passwd".to_owned(),
            "/home".to_owned(),
            "/no/such/path".to_owned(),
        ];
        context.readonly_paths = vec!["/var".to_owned(), "/no/such/path".to_owned()];
    };
    let line = "wc -c </etc/passwd; ls /home | wc -l; touch /var/file 2>/dev/null; echo $?; touch /etc/file; echo $?";
    let (code, text) = node
        .shell_of(&sandbox, &with_context(&node, "main", line, change))
        .await?;
    assert_eq!((code, text.as_str()), (0, "0\n0\n1\n0\n"));
    node.finish().await
}

/// A kubelet sends no paths for an unmasked /proc.
#[tokio::test]
async fn an_unmasked_proc_hides_nothing() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let line = "grep -c -e ' /proc/' -e ' /sys/firmware' /proc/mounts; echo 64 >/proc/sys/net/ipv4/ip_default_ttl && echo written";
    assert_eq!(
        node.shell(&sandbox, "main", line).await?,
        (0, "0\nwritten\n".to_owned())
    );
    node.finish().await
}

#[tokio::test]
async fn volumes_are_mounted_as_asked() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let source = node.agent.directory().join("volume");
    std::fs::create_dir(&source)?;
    std::fs::write(source.join("file"), "from the host")?;
    let mount = |path: &str, readonly| Mount {
        container_path: path.to_owned(),
        host_path: source.display().to_string(),
        readonly,
        ..Mount::default()
    };
    let line = "cat /rw/file; echo more >/rw/new; cat /ro/new; touch /ro/x 2>/dev/null; echo $?; cat /deep/in/file";
    let mut config = node.container_config("main", &["/bin/sh", "-c", line]);
    config.mounts = vec![
        mount("/rw", false),
        mount("/ro", true),
        mount("/deep/in", false),
    ];
    assert_eq!(
        node.shell_of(&sandbox, &config).await?,
        (0, "from the hostmore\n1\nfrom the host\n".to_owned())
    );
    assert_eq!(std::fs::read_to_string(source.join("new"))?, "more\n");
    let mut file = node.container_config("file", &["/bin/cat", "/etc/one"]);
    file.mounts = vec![Mount {
        container_path: "/etc/one".to_owned(),
        host_path: source.join("file").display().to_string(),
        ..Mount::default()
    }];
    assert_eq!(
        node.shell_of(&sandbox, &file).await?,
        (0, "from the host\n".to_owned())
    );
    // As other runtimes do, a directory that is not there is made.
    let missing = node.agent.directory().join("made/by/the/agent");
    let mut made = node.container_config("made", &["/bin/touch", "/new/file"]);
    made.mounts = vec![Mount {
        container_path: "/new".to_owned(),
        host_path: missing.display().to_string(),
        ..Mount::default()
    }];
    assert_eq!(node.shell_of(&sandbox, &made).await?, (0, String::new()));
    assert!(missing.join("file").exists());
    let mut shared = node.container_config("shared", &["/bin/pause"]);
    shared.mounts = vec![Mount {
        propagation: MountPropagation::PropagationBidirectional.into(),
        ..mount("/rw", false)
    }];
    let refused = node
        .cri
        .create_container(&sandbox.id, &shared, &sandbox.config)
        .await
        .err();
    assert!(
        refused.is_some(),
        "the source of a bidirectional mount is not shared"
    );
    node.finish().await
}

#[tokio::test]
async fn devices_are_those_asked_for() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let line = "head -c 4 /dev/mine | od -An -tx1; sh -c 'exec 3>/dev/log' 2>/dev/null && echo opened; mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk 2>&1 | grep -c 'not permitted'";
    let device = |inside: &str, outside: &str, permissions: &str| Device {
        container_path: inside.to_owned(),
        host_path: outside.to_owned(),
        permissions: permissions.to_owned(),
    };
    for (permissions, opened) in [("r", ""), ("rw", "opened\n")] {
        let mut config = node.container_config(permissions, &["/bin/sh", "-c", line]);
        config.devices = vec![
            device("/dev/mine", "/dev/zero", "r"),
            device("/dev/log", "/dev/kmsg", permissions),
        ];
        assert_eq!(
            node.shell_of(&sandbox, &config).await?,
            (0, format!(" 00 00 00 00\n{opened}1\n")),
            "{permissions}"
        );
    }
    node.finish().await
}

#[tokio::test]
async fn nothing_of_a_running_container_is_mounted_on_the_host() -> Result<()> {
    let node = Node::start().await?;
    let before = std::fs::read_to_string("/proc/self/mountinfo")?;
    let sandbox = node.sandbox("pod").await?;
    let id = node.run(&sandbox, "main", &["/bin/pause"]).await?;
    let line = "grep -c ' / / .*- overlay ' /proc/self/mountinfo; wc -l </proc/self/mountinfo";
    let inside = node.exec(&id, line).await?;
    assert!(inside.starts_with("1\n"), "{inside}");
    let ours = |text: &str| -> Vec<String> {
        let needle = node.agent.directory().display().to_string();
        let lines = text.lines().filter(|line| line.contains(&needle));
        lines.map(str::to_owned).collect()
    };
    let after = std::fs::read_to_string("/proc/self/mountinfo")?;
    assert_eq!(ours(&after), ours(&before));
    node.finish().await
}

#[tokio::test]
async fn a_containers_root_is_its_own_and_new() -> Result<()> {
    let node = Node::start().await?;
    let mut layer = LayerBuilder::new();
    layer.file("etc/upper", b"upper", 0o640)?;
    let image = node.registry.push(
        "test/two:1",
        &Image::busybox_with(vec![layer.gzip()?], &default_config())?,
    )?;
    node.cri.pull(&image).await?;
    let sandbox = node.sandbox("pod").await?;
    for name in ["one", "two"] {
        let line = "test ! -e /mark && touch /mark && rm /etc/upper && test ! -e /etc/upper && stat -c %a /bin/busybox";
        let mut config = node.container_config(name, &["/bin/sh", "-c", line]);
        config.image = Some(harness::cri::image_spec(&image));
        assert_eq!(
            node.shell_of(&sandbox, &config).await?,
            (0, "755\n".to_owned()),
            "{name}"
        );
    }
    node.finish().await
}
