//! AppArmor profiles: the node's own, and one of the host's.

use anyhow::{Result, ensure};
use proto::cri::{
    ContainerConfig, LinuxContainerSecurityContext, SecurityProfile, StatusRequest,
    security_profile::ProfileType,
};
use tonic::Code;

use crate::guest::{Guest, OWN, Sandbox, sh};

const OWN_PROFILE: &str = "node-agent-default";

/// Reads its own confinement, then waits.
const LINE: &str = "cat /proc/self/attr/current; exec sleep 1000";

fn container(
    guest: &Guest,
    name: &str,
    change: impl FnOnce(&mut LinuxContainerSecurityContext),
) -> ContainerConfig {
    guest.confined(name, LINE, change)
}

fn profile(kind: ProfileType, name: &str) -> Option<SecurityProfile> {
    Some(SecurityProfile {
        profile_type: kind.into(),
        localhost_ref: name.to_owned(),
    })
}

pub(super) async fn confines_as_it_is_asked_to(guest: &mut Guest) -> Result<()> {
    let mut runtime = guest.cri.runtime.clone();
    let status = runtime.status(StatusRequest { verbose: true }).await?;
    let told = status.into_inner().info;
    ensure!(told["apparmor"] == OWN_PROFILE, "{told:?}");
    sh(
        "echo 'profile vm-own flags=(attach_disconnected) { file, signal, deny /secret r, }' | apparmor_parser --replace",
    )?;
    let mut pod = harness::pod::sandbox_config("apparmor", "/var/log/pods".as_ref(), OWN);
    let linux = pod.linux.get_or_insert_default();
    linux.security_context.get_or_insert_default().privileged = true;
    let sandbox = guest.sandbox_of(pod).await?;
    type Change = fn(&mut LinuxContainerSecurityContext);
    let cases: [(&str, Change, &str); 7] = [
        ("unsaid", |_| {}, OWN_PROFILE),
        (
            "default",
            |context| context.apparmor = profile(ProfileType::RuntimeDefault, ""),
            OWN_PROFILE,
        ),
        (
            "without-new-privileges",
            |context| context.no_new_privs = true,
            OWN_PROFILE,
        ),
        (
            "unconfined",
            |context| context.apparmor = profile(ProfileType::Unconfined, ""),
            "unconfined",
        ),
        (
            "named",
            |context| context.apparmor = profile(ProfileType::Localhost, "vm-own"),
            "vm-own",
        ),
        (
            "text",
            |context| context.apparmor_profile = "localhost/vm-own".to_owned(),
            "vm-own",
        ),
        (
            "privileged",
            |context| context.privileged = true,
            "unconfined",
        ),
    ];
    for (name, change, expected) in cases {
        let config = container(guest, name, change);
        let id = guest.run(&sandbox, &config).await?;
        let seen = guest
            .exec(&id, "cat /proc/self/attr/current /proc/1/attr/current")
            .await?;
        let all = seen
            .lines()
            .map(|line| line.split(' ').next().unwrap_or_default());
        let all: Vec<_> = all.collect();
        ensure!(all == [expected; 2], "{name}: {seen}");
    }
    confined(guest, &sandbox).await?;
    refused(guest, &sandbox).await
}

/// What the profiles say holds.
async fn confined(guest: &Guest, sandbox: &Sandbox) -> Result<()> {
    let config = container(guest, "own", |context| {
        let capabilities = context.capabilities.get_or_insert_default();
        capabilities.add_capabilities = vec!["SYS_ADMIN".to_owned(), "SYS_PTRACE".to_owned()];
        // Whatever else protects these is taken away.
        context.masked_paths = vec!["/proc/kcore".to_owned()];
        context.readonly_paths = vec!["/proc/irq".to_owned()];
    });
    let id = guest.run(sandbox, &config).await?;
    for line in [
        "! mount -t tmpfs mine /tmp 2>/dev/null",
        "! sh -c 'echo 1 >/proc/sys/kernel/panic' 2>/dev/null",
        "! sh -c 'echo x >/proc/sys/kernel/modprobe' 2>/dev/null",
        "! sh -c 'echo b >/proc/sysrq-trigger' 2>/dev/null",
        "echo 8192 >/proc/sys/kernel/msgmnb && echo 250 32000 32 128 >/proc/sys/kernel/sem",
        "echo x >/file && chown 7 /file && rm /file",
        "sleep 100 & kill $! && cat /proc/1/status >/dev/null",
    ] {
        guest.exec(&id, line).await?;
    }
    let config = container(guest, "by-host", |context| {
        context.apparmor = profile(ProfileType::Localhost, "vm-own");
    });
    let id = guest.run(sandbox, &config).await?;
    let line = "echo x >/secret; ! cat /secret 2>/dev/null";
    guest.exec(&id, line).await?;
    Ok(())
}

/// Whoever asks for a profile that is not there is told its name.
async fn refused(guest: &Guest, sandbox: &Sandbox) -> Result<()> {
    let config = container(guest, "refused", |context| {
        context.apparmor = profile(ProfileType::Localhost, "no-such-profile");
    });
    let refused = guest
        .cri
        .create_container(&sandbox.id, &config, &sandbox.config)
        .await
        .err();
    ensure!(
        refused
            .as_ref()
            .is_some_and(|status| status.code() == Code::InvalidArgument
                && status.message().contains("no-such-profile")),
        "{refused:?}"
    );
    Ok(())
}
