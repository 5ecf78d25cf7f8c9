//! What a container may do: ambient capabilities, seccomp profiles of the host's, privileges.

use anyhow::Result;
use harness::node::{Node, Sandbox};
use proto::cri::{
    Capability, Int64Value, LinuxContainerSecurityContext, SecurityProfile, StatusRequest,
    security_profile::ProfileType,
};
use serde_json::{Value, json};
use tonic::Code;

use crate::isolation::with_context;

async fn privileged_pod(node: &Node) -> Result<Sandbox> {
    let mut config = node.sandbox_config("pod");
    config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default()
        .privileged = true;
    node.sandbox_of(config).await
}

/// Writes a seccomp profile to the host and returns how a container names it.
fn profile(node: &Node, name: &str, content: &Value) -> Result<SecurityProfile> {
    let path = node.agent.directory().join(name);
    std::fs::write(&path, content.to_string())?;
    Ok(SecurityProfile {
        profile_type: ProfileType::Localhost.into(),
        localhost_ref: path.display().to_string(),
    })
}

#[tokio::test]
async fn ambient_capabilities_reach_programs_of_other_users() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let line = "grep -E '^Cap(Inh|Prm|Eff|Amb)' /proc/self/status | cut -f2 | tr '\\n' ' '";
    let as_user = |context: &mut LinuxContainerSecurityContext, ambient: &[&str]| {
        context.run_as_user = Some(Int64Value { value: 1000 });
        context.capabilities = Some(Capability {
            add_ambient_capabilities: ambient.iter().map(ToString::to_string).collect(),
            drop_capabilities: vec!["ALL".to_owned()],
            ..Capability::default()
        });
    };
    let without = with_context(&node, "without", line, |context| as_user(context, &[]));
    let none = "0000000000000000";
    let (_, text) = node.shell_of(&sandbox, &without).await?;
    assert_eq!(text.trim(), [none; 4].join(" "));
    let with = with_context(&node, "with", line, |context| {
        as_user(context, &["NET_BIND_SERVICE"]);
    });
    let (_, text) = node.shell_of(&sandbox, &with).await?;
    assert_eq!(text.trim(), ["0000000000000400"; 4].join(" "));
    node.finish().await
}

#[tokio::test]
async fn a_profile_of_the_hosts_rules_by_call_and_by_argument() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    // chmod to set-user-id modes is refused, other modes pass; mkdir is refused with an errno of its own.
    let argument = |index: u32| json!([{"index": index, "value": 0o4000, "valueTwo": 0o4000, "op": "SCMP_CMP_MASKED_EQ"}]);
    let rules = profile(
        &node,
        "rules.json",
        &json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                {"names": ["chmod"], "action": "SCMP_ACT_ERRNO", "args": argument(1)},
                {"names": ["fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO", "args": argument(2)},
                {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            ],
        }),
    )?;
    let line = "touch /f; chmod 755 /f && echo plain; chmod 4755 /f 2>&1 | grep -o 'not permitted'; mkdir /d 2>&1 | grep -o 'No space'; grep Seccomp: /proc/self/status | cut -f2";
    let config = with_context(&node, "main", line, |context| context.seccomp = Some(rules));
    assert_eq!(
        node.shell_of(&sandbox, &config).await?,
        (0, "plain\nnot permitted\nNo space\n2\n".to_owned())
    );
    for (name, content) in [
        (
            "unknown-call-key",
            json!({"defaultAction": "SCMP_ACT_ALLOW", "rules": []}),
        ),
        ("notify", json!({"defaultAction": "SCMP_ACT_NOTIFY"})),
        ("no-profile", json!(["SCMP_ACT_ALLOW"])),
    ] {
        let wrong = profile(&node, name, &content)?;
        let config = with_context(&node, name, "true", |context| context.seccomp = Some(wrong));
        let refused = node
            .cri
            .create_container(&sandbox.id, &config, &sandbox.config)
            .await;
        let code = refused.err().map(|status| status.code());
        assert_eq!(code, Some(Code::InvalidArgument), "{name}");
    }
    node.finish().await
}

#[tokio::test]
async fn nothing_confines_a_privileged_container() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = privileged_pod(&node).await?;
    let config = with_context(&node, "main", "exec pause", |context| {
        context.privileged = true;
        // These have no say in a privileged container.
        context.seccomp = Some(SecurityProfile {
            profile_type: ProfileType::Localhost.into(),
            localhost_ref: "/nonexistent/profile.json".to_owned(),
        });
        context.apparmor = Some(SecurityProfile::default());
        context.masked_paths = vec!["/proc/kcore".to_owned()];
        context.readonly_paths = vec!["/proc/sys".to_owned()];
    });
    let id = node.run_of(&sandbox, &config).await?;
    let last: u32 = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap")?
        .trim()
        .parse()?;
    let ours = std::fs::read_to_string("/proc/self/status")?;
    let ours = ours.lines().find_map(|line| line.strip_prefix("CapPrm:\t"));
    let ours = u64::from_str_radix(ours.unwrap_or_default(), 16)?;
    let line = "grep CapEff /proc/self/status | cut -f2";
    let theirs = node.exec(&id, line).await?;
    let theirs = u64::from_str_radix(theirs.trim(), 16)?;
    // All there are, but for what this machine does not let us have ourselves.
    assert_eq!(theirs, ours & ((1 << (last + 1)) - 1));
    for line in [
        "grep -q '^Seccomp:.0' /proc/self/status",
        "mount | grep -q ' on /sys type sysfs (rw,'",
        "! grep -q ' /proc/sys ' /proc/mounts && ! grep -q ' /proc/kcore ' /proc/mounts",
        "test -c /dev/kmsg && head -c 0 /dev/kmsg",
        "mknod /tmp/loop b 7 0 && { dd if=/tmp/loop of=/dev/null count=1 2>&1; true; } | grep -vq 'not permitted'",
    ] {
        node.exec(&id, line).await?;
    }
    node.finish().await
}

/// The machines of these tests have no AppArmor; what there is with it is in `tests/vm`.
#[tokio::test]
async fn without_apparmor_only_a_profile_of_the_hosts_is_refused() -> Result<()> {
    let enabled = std::fs::read("/sys/module/apparmor/parameters/enabled");
    anyhow::ensure!(!enabled.is_ok_and(|text| text.starts_with(b"Y")));
    let node = Node::start().await?;
    let mut runtime = node.cri.runtime.clone();
    let status = runtime.status(StatusRequest { verbose: true }).await?;
    assert_eq!(status.into_inner().info["apparmor"], "the kernel has none");
    let sandbox = node.sandbox("pod").await?;
    let of = |kind: ProfileType| SecurityProfile {
        profile_type: kind.into(),
        ..SecurityProfile::default()
    };
    for kind in [ProfileType::RuntimeDefault, ProfileType::Unconfined] {
        let config = with_context(&node, kind.as_str_name(), "exit 7", |context| {
            context.apparmor = Some(of(kind));
        });
        assert_eq!(node.shell_of(&sandbox, &config).await?.0, 7, "{kind:?}");
    }
    let by_text = with_context(&node, "text", "exit 7", |context| {
        context.apparmor_profile = "runtime/default".to_owned();
    });
    assert_eq!(node.shell_of(&sandbox, &by_text).await?.0, 7);
    let texts: [fn(&mut LinuxContainerSecurityContext); 3] = [
        |context| {
            context.apparmor = Some(SecurityProfile {
                profile_type: ProfileType::Localhost.into(),
                localhost_ref: "no-such-profile".to_owned(),
            });
        },
        |context| context.apparmor_profile = "localhost/no-such-profile".to_owned(),
        |context| context.apparmor_profile = "no-such-profile".to_owned(),
    ];
    for change in texts {
        let config = with_context(&node, "refused", "true", change);
        let refused = node
            .cri
            .create_container(&sandbox.id, &config, &sandbox.config)
            .await;
        let Err(status) = refused else {
            anyhow::bail!("accepted")
        };
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains("no-such-profile"), "{status:?}");
    }
    node.finish().await
}

#[tokio::test]
async fn sysctls_of_the_host_are_refused_by_name() -> Result<()> {
    let node = Node::start().await?;
    for name in [
        "kernel.hostname",
        "vm.swappiness",
        "fs.file-max",
        "kernel.panic",
        "user.max_user_namespaces",
    ] {
        let mut config = node.sandbox_config("pod");
        let sysctls = &mut config.linux.get_or_insert_default().sysctls;
        sysctls.insert(name.to_owned(), "1".to_owned());
        let Err(status) = node.cri.run_sandbox(&config).await else {
            anyhow::bail!("{name}: accepted")
        };
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(name), "{status:?}");
    }
    node.finish().await
}
