//! SELinux labels, with the policy that `tests/vm/policy` prints, which is enforced where a check says so.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use proto::cri::{
    ContainerConfig, LinuxContainerSecurityContext, Mount, NamespaceMode, PodSandboxConfig,
    SeLinuxOption, StatusRequest,
};
use tonic::Code;

use crate::guest::{Guest, OWN, Sandbox, sh};

/// Tells its own label on a line of its own, then waits.
const LINE: &str = "echo $(tr -d '\\0' </proc/self/attr/current); exec sleep 1000";

fn options(text: &str) -> Option<SeLinuxOption> {
    let mut parts = text.splitn(4, ':').map(str::to_owned);
    let mut part = || parts.next().unwrap_or_default();
    Some(SeLinuxOption {
        user: part(),
        role: part(),
        r#type: part(),
        level: part(),
    })
}

fn pod(name: &str, asked: Option<SeLinuxOption>) -> PodSandboxConfig {
    let mut pod = harness::pod::sandbox_config(name, "/var/log/pods".as_ref(), OWN);
    let linux = pod.linux.get_or_insert_default();
    let context = linux.security_context.get_or_insert_default();
    context.selinux_options = asked;
    context.privileged = true;
    pod
}

fn container(
    guest: &Guest,
    name: &str,
    change: impl FnOnce(&mut LinuxContainerSecurityContext),
) -> ContainerConfig {
    guest.confined(name, LINE, change)
}

/// Returns the label that a container's first process has written.
async fn own_label(guest: &Guest, sandbox: &Sandbox, config: &ContainerConfig) -> Result<String> {
    let log = guest.log(sandbox, config);
    harness::wait::until("the container tells its label", || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let line = text.lines().next().and_then(|line| line.split(' ').nth(3));
        Ok(line.map(str::to_owned))
    })
}

/// Returns the label of a file of the host's, or of a process's view of one.
fn label_of(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref().display();
    let shown = sh(&format!("stat -c %C {path}")).with_context(|| format!("label of {path}"))?;
    Ok(shown.trim().to_owned())
}

fn level_of(label: &str) -> &str {
    label.splitn(4, ':').nth(3).unwrap_or_default()
}

/// Processes, sessions and every file system of a container have the labels of their pod, and no
/// other pod has its level.
pub(super) async fn labels_processes_and_files(guest: &mut Guest) -> Result<()> {
    let mut runtime = guest.cri.runtime.clone();
    let told = runtime.status(StatusRequest { verbose: true }).await?;
    let told = told.into_inner().info;
    ensure!(told["selinux"] == "container_t", "{told:?}");
    let mut levels = Vec::new();
    for name in ["selinux-one", "selinux-two"] {
        let sandbox = guest.sandbox_of(pod(name, None)).await?;
        let config = container(guest, "unsaid", |context| {
            context.masked_paths = vec!["/sys/firmware".to_owned()];
        });
        let id = guest.run(&sandbox, &config).await?;
        let label = own_label(guest, &sandbox, &config).await?;
        let level = level_of(&label).to_owned();
        ensure!(
            label == format!("system_u:system_r:container_t:{level}"),
            "{label}"
        );
        ensure!(level.starts_with("s0:c") && level.contains(','), "{level}");
        let session = guest.exec(&id, "cat /proc/self/attr/current").await?;
        ensure!(
            session.trim_end_matches(['\0', '\n']) == label,
            "{session:?}"
        );
        let files = format!("system_u:object_r:container_file_t:{level}");
        guest.exec(&id, "echo >/own; echo >/dev/shm/own").await?;
        let (pid, _) = process_of(&label)?;
        for path in [
            "",
            "bin/busybox",
            "own",
            "dev",
            "dev/null",
            "dev/pts",
            "dev/shm",
            "dev/shm/own",
            "dev/mqueue",
            "etc/hosts",
            "etc/resolv.conf",
            "sys/firmware",
        ] {
            let seen = label_of(format!("/proc/{pid}/root/{path}"))?;
            ensure!(seen == files, "/{path} has {seen} and not {files}");
        }
        levels.push(level);
    }
    ensure!(levels[0] != levels[1], "{levels:?}");
    Ok(())
}

/// Returns the process that sleeps under this label, and its command.
fn process_of(label: &str) -> Result<(u32, String)> {
    let all = harness::process::all()?;
    let found = all.into_iter().find(|process| {
        let file = format!("/proc/{}/attr/current", process.pid);
        let current = std::fs::read_to_string(file).unwrap_or_default();
        process.command == "sleep 1000" && current.trim_end_matches(['\0', '\n']) == label
    });
    let found = found.with_context(|| format!("no process has label {label}"))?;
    Ok((found.pid, found.command))
}

/// Whoever asks gets what is asked for, the rest from the pod; what shares the host's processes, or is
/// privileged, is confined only where that is asked for.
pub(super) async fn are_what_is_asked_for(guest: &mut Guest) -> Result<()> {
    let asked = options(":::s0:c7,c8");
    let sandbox = guest.sandbox_of(pod("selinux-asked", asked)).await?;
    type Change = fn(&mut LinuxContainerSecurityContext);
    let cases: [(&str, Change, &str); 5] = [
        ("unsaid", |_| {}, "system_u:system_r:container_t:s0:c7,c8"),
        (
            "type",
            |context| context.selinux_options = options("::other_t"),
            "system_u:system_r:other_t:s0:c7,c8",
        ),
        (
            "all",
            |context| {
                context.selinux_options = options("unconfined_u:container_r:other_t:s0:c9");
                context.no_new_privs = true;
            },
            "unconfined_u:container_r:other_t:s0:c9",
        ),
        (
            "privileged",
            |context| context.privileged = true,
            "kernel_t",
        ),
        (
            "privileged-asked",
            |context| {
                context.privileged = true;
                context.selinux_options = options("::other_t");
            },
            "system_u:system_r:other_t:s0:c7,c8",
        ),
    ];
    for (name, change, wanted) in cases {
        let config = container(guest, name, change);
        guest.run(&sandbox, &config).await.context(name)?;
        let label = own_label(guest, &sandbox, &config).await?;
        ensure!(
            label == wanted || label.contains(&format!(":{wanted}:")),
            "{name}: {label}"
        );
    }
    let mut host = pod("selinux-host", None);
    let linux = host.linux.get_or_insert_default();
    let context = linux.security_context.get_or_insert_default();
    let namespaces = context.namespace_options.get_or_insert_default();
    namespaces.set_pid(NamespaceMode::Node);
    let host = guest.sandbox_of(host).await?;
    let config = container(guest, "host", |context| {
        let namespaces = context.namespace_options.get_or_insert_default();
        namespaces.set_pid(NamespaceMode::Node);
    });
    guest.run(&host, &config).await?;
    let label = own_label(guest, &host, &config).await?;
    ensure!(label.contains(":kernel_t:"), "{label}");
    Ok(())
}

/// What the policy does not know is refused by the call that carries it.
pub(super) async fn are_refused_where_the_policy_knows_them_not(guest: &mut Guest) -> Result<()> {
    for text in ["::missing_t", ":missing_r", "missing_u", ":::s7", "::a\"b"] {
        let refused = guest
            .cri
            .run_sandbox(&pod("selinux-refused", options(text)))
            .await;
        let refused = refused.err().context("the sandbox was not refused")?;
        ensure!(
            refused.code() == Code::InvalidArgument,
            "{text}: {refused:?}"
        );
        ensure!(refused.message().contains("SELinux"), "{text}: {refused:?}");
    }
    let sandbox = guest.sandbox_of(pod("selinux-refusing", None)).await?;
    let config = container(guest, "refused", |context| {
        context.selinux_options = options("::missing_t");
    });
    let refused = guest
        .cri
        .create_container(&sandbox.id, &config, &sandbox.config)
        .await;
    let refused = refused.err().context("the container was not refused")?;
    ensure!(refused.code() == Code::InvalidArgument, "{refused:?}");
    ensure!(refused.message().contains("missing_t"), "{refused:?}");
    Ok(())
}

/// A volume gets the label of its container's files where that is asked for; the system's own files
/// never do.
pub(super) async fn volumes_are_relabelled_where_it_is_asked_for(guest: &mut Guest) -> Result<()> {
    sh(
        "rm -rf /srv/labels; mkdir -p /srv/labels/asked/deep /srv/labels/unasked; touch /srv/labels/asked/deep/file; ln -s /etc/passwd /srv/labels/asked/link; ln -s /etc /srv/labels/etc",
    )?;
    let (before, passwd) = (label_of("/srv/labels/unasked")?, label_of("/etc/passwd")?);
    let sandbox = guest
        .sandbox_of(pod("selinux-volumes", options(":::s0:c3,c4")))
        .await?;
    let mount = |host: &str, relabel: bool| Mount {
        host_path: host.to_owned(),
        container_path: format!("/mnt{host}"),
        selinux_relabel: relabel,
        ..Mount::default()
    };
    let mut config = container(guest, "volumes", |_| {});
    config.mounts = vec![
        mount("/srv/labels/asked", true),
        mount("/srv/labels/unasked", false),
    ];
    guest.run(&sandbox, &config).await?;
    let wanted = "system_u:object_r:container_file_t:s0:c3,c4";
    for path in ["asked", "asked/deep", "asked/deep/file", "asked/link"] {
        let seen = label_of(format!("/srv/labels/{path}"))?;
        ensure!(seen == wanted, "{path} has {seen}");
    }
    ensure!(label_of("/srv/labels/unasked")? == before);
    ensure!(label_of("/etc/passwd")? == passwd);
    for (number, path) in ["/srv/labels/etc", "/etc", "/", "/usr/share"]
        .iter()
        .enumerate()
    {
        let mut config = container(guest, &format!("system-{number}"), |_| {});
        config.mounts = vec![mount(path, true)];
        let refused = guest
            .cri
            .create_container(&sandbox.id, &config, &sandbox.config)
            .await;
        let refused = refused
            .err()
            .with_context(|| format!("{path} was not refused"))?;
        ensure!(
            refused.code() == Code::InvalidArgument,
            "{path}: {refused:?}"
        );
        ensure!(refused.message().contains("system"), "{path}: {refused:?}");
    }
    ensure!(label_of("/etc/passwd")? == passwd);
    sh("rm -rf /srv/labels")?;
    Ok(())
}

/// Has the kernel enforce its policy, or tell only.
fn enforce(how: bool) -> Result<()> {
    let digit = if how { "1" } else { "0" };
    std::fs::write("/sys/fs/selinux/enforce", digit).context("have the policy enforced")
}

/// Where the kernel does what the policy says, a container has its own files, and not even its root
/// has those of the host that were not given to it.
pub(super) async fn confine_where_the_policy_is_enforced(guest: &mut Guest) -> Result<()> {
    sh(
        "rm -rf /srv/confined; mkdir -p /srv/confined/asked /srv/confined/unasked; echo mine >/srv/confined/asked/file; echo secret >/srv/confined/unasked/file",
    )?;
    let sandbox = guest.sandbox_of(pod("selinux-confined", None)).await?;
    let mut config = container(guest, "confined", |_| {});
    config.mounts = ["asked", "unasked"]
        .map(|name| Mount {
            host_path: format!("/srv/confined/{name}"),
            container_path: format!("/mnt/{name}"),
            selinux_relabel: name == "asked",
            ..Mount::default()
        })
        .into();
    enforce(true)?;
    let checked = confined(guest, &sandbox, &config).await;
    enforce(false)?;
    let id = checked?;
    // It was the policy that stood before them.
    let told = guest.exec(&id, "cat /mnt/unasked/file").await?;
    ensure!(told == "secret\n", "{told}");
    sh("rm -rf /srv/confined")?;
    Ok(())
}

async fn confined(guest: &Guest, sandbox: &Sandbox, config: &ContainerConfig) -> Result<String> {
    let id = guest.run(sandbox, config).await?;
    let label = own_label(guest, sandbox, config).await?;
    let log = std::fs::read_to_string(guest.log(sandbox, config))?;
    ensure!(label.contains(":container_t:"), "{log}");
    for (line, told) in [
        ("id -u; cat /proc/self/comm", "0\ncat\n"),
        ("echo own >/own; cat /own", "own\n"),
        ("echo shared >/dev/shm/own; cat /dev/shm/own", "shared\n"),
        ("cat /mnt/asked/file; echo more >>/mnt/asked/file", "mine\n"),
    ] {
        let seen = guest.exec(&id, line).await.context(line)?;
        ensure!(seen == told, "{line}: {seen}");
    }
    for line in [
        "cat /mnt/unasked/file",
        "ls /mnt/unasked",
        "echo more >>/mnt/unasked/file",
        "touch /mnt/unasked/new",
    ] {
        let seen = guest
            .exec(&id, &format!("{{ {line}; }} 2>&1 || true"))
            .await?;
        ensure!(seen.contains("Permission denied"), "{line}: {seen}");
    }
    Ok(id)
}

/// Other runtimes are told the labels, and mount what they mount with them.
pub(super) async fn reach_the_containers_of_other_runtimes(guest: &mut Guest) -> Result<()> {
    for handler in ["runc", "crun"] {
        let config = pod(&format!("selinux-{handler}"), None);
        let id = guest.cri.run_sandbox_with(&config, handler).await?;
        let sandbox = Sandbox { id, config };
        let config = container(guest, "main", |_| {});
        let id = guest.run(&sandbox, &config).await?;
        let label = own_label(guest, &sandbox, &config).await?;
        let level = level_of(&label);
        ensure!(
            label == format!("system_u:system_r:container_t:{level}") && level.contains(','),
            "{handler}: {label}"
        );
        let session = guest.exec(&id, "cat /proc/self/attr/current").await?;
        ensure!(
            session.trim_end_matches(['\0', '\n']) == label,
            "{handler}: {session:?}"
        );
        guest.exec(&id, "echo >/own; echo >/dev/shm/own").await?;
        let (pid, _) = process_of(&label).context(handler)?;
        let files = format!("system_u:object_r:container_file_t:{level}");
        for path in [
            "",
            "own",
            "dev",
            "dev/null",
            "dev/pts",
            "dev/shm/own",
            "etc/hosts",
        ] {
            let seen = label_of(format!("/proc/{pid}/root/{path}"))?;
            ensure!(
                seen == files,
                "{handler}: /{path} has {seen} and not {files}"
            );
        }
    }
    Ok(())
}

/// The labels of a pod outlive the agent, and those of a person's container are asked for like docker's.
pub(super) async fn outlive_a_restart(guest: &mut Guest) -> Result<()> {
    let sandbox = guest.sandbox_of(pod("selinux-restart", None)).await?;
    let config = container(guest, "before", |_| {});
    let id = guest.run(&sandbox, &config).await?;
    let label = own_label(guest, &sandbox, &config).await?;
    sh("systemctl restart node-agent.service")?;
    guest.reconnect().await?;
    let session = guest.exec(&id, "cat /proc/self/attr/current").await?;
    ensure!(
        session.trim_end_matches(['\0', '\n']) == label,
        "{session:?}"
    );
    let after = container(guest, "after", |_| {});
    guest.run(&sandbox, &after).await?;
    ensure!(own_label(guest, &sandbox, &after).await? == label);
    let image = &guest.image;
    for (option, wanted) in [
        ("label=type:other_t", ":other_t:"),
        ("label=level:s0:c11", ":container_t:s0:c11"),
        ("label=disable", ":kernel_t:"),
    ] {
        let line = format!(
            "ctl run --rm --network none --security-opt {option} {image} cat /proc/self/attr/current"
        );
        let told = sh(&line)?;
        ensure!(told.contains(wanted), "{option}: {told}");
    }
    Ok(())
}
