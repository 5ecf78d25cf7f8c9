//! User namespaces, on a kernel that can shift owners of disks and not yet of memory.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Result, ensure};
use proto::cri::{
    IdMapping, LinuxContainerResources, Mount, NamespaceMode, StatusRequest, UserNamespace,
};
use tonic::Code;

use crate::guest::{Guest, OWN, sh};

/// The first id of the pod's users on the host.
const OUTSIDE: u32 = 300_000;

const VOLUME: &str = "/var/lib/volume";

fn mapping() -> IdMapping {
    IdMapping {
        host_id: OUTSIDE,
        container_id: 0,
        length: 65_536,
    }
}

pub(super) async fn of_a_pod_are_others_on_the_host(guest: &mut Guest) -> Result<()> {
    let mut runtime = guest.cri.runtime.clone();
    let status = runtime.status(StatusRequest { verbose: false }).await?;
    let handlers = status.into_inner().runtime_handlers;
    let features = handlers.first().and_then(|handler| handler.features);
    ensure!(features.is_some_and(|features| features.user_namespaces));
    sh(&format!("mkdir -p {VOLUME}; echo of root >{VOLUME}/file"))?;
    for pid in [NamespaceMode::Container, NamespaceMode::Pod] {
        in_a_pod(guest, pid).await?;
        guest.clear().await?;
    }
    Ok(())
}

async fn in_a_pod(guest: &Guest, pid: NamespaceMode) -> Result<()> {
    let users = UserNamespace {
        mode: NamespaceMode::Pod.into(),
        uids: vec![mapping()],
        gids: vec![mapping()],
    };
    let mut config = harness::pod::sandbox_config("users", Path::new("/var/log/pods"), OWN);
    let linux = config.linux.get_or_insert_default();
    let context = linux.security_context.get_or_insert_default();
    let options = context.namespace_options.get_or_insert_default();
    options.pid = pid.into();
    options.userns_options = Some(users.clone());
    let sandbox = guest.sandbox_of(config).await?;
    let command = ["/bin/sh", "-c", "echo up >/dev/stdout; exec sleep 1000"];
    let limits = LinuxContainerResources::default();
    let mut config = guest.container("main", &command, limits);
    let linux = config.linux.get_or_insert_default();
    let context = linux.security_context.get_or_insert_default();
    let options = context.namespace_options.get_or_insert_default();
    options.pid = pid.into();
    options.userns_options = Some(users);
    let volume = |path: &str| Mount {
        container_path: "/volume".to_owned(),
        host_path: path.to_owned(),
        uid_mappings: vec![mapping()],
        gid_mappings: vec![mapping()],
        ..Mount::default()
    };
    config.mounts = vec![volume("/dev/shm")];
    let create = |config| {
        let created = guest
            .cri
            .create_container(&sandbox.id, config, &sandbox.config);
        async move { created.await.err().map(|status| (status.code(), status)) }
    };
    let refused = create(&config).await;
    ensure!(
        refused
            .as_ref()
            .is_some_and(|(code, status)| *code == Code::InvalidArgument
                && status.message().contains("/dev/shm")),
        "{refused:?}"
    );
    config.mounts = vec![volume(VOLUME)];
    let id = guest.run(&sandbox, &config).await?;
    for (line, text) in [
        ("tr -s ' ' </proc/self/uid_map", " 0 300000 65536"),
        (
            "stat -c '%u %g' / /bin/busybox /etc/hosts /dev/null /dev/shm /volume /volume/file | uniq",
            "0 0",
        ),
        (
            "echo x >/file; chown 7:8 /file; echo x >/volume/new; stat -c '%u %g' /file",
            "7 8",
        ),
        ("mknod /tmp/disk b 8 0 2>/dev/null || echo no", "no"),
    ] {
        let seen = guest.exec(&id, line).await?;
        ensure!(seen.trim_end() == text, "{line}: {seen}");
    }
    ensure!(std::fs::metadata(format!("{VOLUME}/new"))?.uid() == 0);
    let process = sh("pgrep -o -x sleep")?;
    let process = std::fs::metadata(format!("/proc/{}", process.trim()))?;
    ensure!(process.uid() == OUTSIDE, "{}", process.uid());
    let log = std::fs::read_to_string(guest.log(&sandbox, &config))?;
    ensure!(log.contains("up"), "{log}");
    Ok(())
}
