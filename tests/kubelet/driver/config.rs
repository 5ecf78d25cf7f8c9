//! Sandboxes and containers as a kubelet asks for them: names, labels, annotations, files.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use harness::cri::image_spec;
use harness::pod;
use proto::cri::{
    ContainerConfig, ContainerMetadata, ContainerStatus, LinuxContainerResources, Mount,
    NamespaceMode, PodSandboxConfig, PortMapping,
};

use super::Machine;
use crate::pod::{Container, Pod, Source};

/// Label of a pod's uid, on all that belongs to it.
pub(crate) const UID: &str = "io.kubernetes.pod.uid";
/// Label of a container's name.
pub(crate) const NAME: &str = "io.kubernetes.container.name";
/// Annotation of a container's file for last words, inside.
const LAST_WORDS: &str = "io.kubernetes.container.terminationMessagePath";
/// That file, inside.
const LAST_WORDS_PATH: &str = "/dev/termination-log";

fn labels(pod: &Pod) -> HashMap<String, String> {
    HashMap::from([
        (UID.to_owned(), pod.uid.clone()),
        ("io.kubernetes.pod.name".to_owned(), pod.name.clone()),
        (
            "io.kubernetes.pod.namespace".to_owned(),
            "default".to_owned(),
        ),
    ])
}

/// Returns the configuration of a pod's sandbox, and makes its directories.
pub(crate) fn sandbox(machine: &Machine, pod: &Pod, attempt: u32) -> Result<PodSandboxConfig> {
    let mut config = pod::sandbox_config(&pod.name, &machine.logs, "");
    let logs = pod.logs(&machine.logs);
    std::fs::create_dir_all(&logs).context("make the pod's log directory")?;
    std::fs::create_dir_all(shared(machine, pod)).context("make the pod's volume")?;
    config.log_directory = logs.display().to_string();
    if let Some(metadata) = &mut config.metadata {
        metadata.uid = pod.uid.clone();
        metadata.attempt = attempt;
    }
    config.labels = labels(pod);
    let source = match pod.source {
        Source::Api => "api",
        Source::File => "file",
    };
    if pod.source == Source::File {
        // In the host's network, with every port named as the host's.
        config.hostname.clear();
        config.port_mappings = vec![PortMapping {
            container_port: 10_256,
            host_port: 10_256,
            ..PortMapping::default()
        }];
        let linux = config.linux.get_or_insert_default();
        let context = linux.security_context.get_or_insert_default();
        let options = context.namespace_options.get_or_insert_default();
        options.network = NamespaceMode::Node.into();
    }
    config.annotations = HashMap::from([
        (
            "kubernetes.io/config.seen".to_owned(),
            "2026-01-01T00:00:00Z".to_owned(),
        ),
        ("kubernetes.io/config.source".to_owned(), source.to_owned()),
    ]);
    Ok(config)
}

/// Returns the configuration of a container, and makes its files.
pub(crate) fn container(
    machine: &Machine,
    pod: &Pod,
    container: &Container,
    attempt: u32,
) -> Result<ContainerConfig> {
    let image = &machine.image;
    let mut config =
        pod::container_config(&container.name, image, &["/bin/sh", "-c", &container.line]);
    config.metadata = Some(ContainerMetadata {
        name: container.name.clone(),
        attempt,
    });
    config.image = Some(image_spec(image));
    config.log_path = format!("{}/{attempt}.log", container.name);
    let logs = pod.logs(&machine.logs).join(&container.name);
    std::fs::create_dir_all(logs).context("make the container's log directory")?;
    let words = last_words(machine, pod, container, attempt);
    std::fs::create_dir_all(words.parent().unwrap_or(&words)).context("make its directory")?;
    std::fs::write(&words, "").context("make the file for last words")?;
    config.mounts = vec![
        mount("/shared", shared(machine, pod)),
        mount(LAST_WORDS_PATH, words),
    ];
    config.labels = labels(pod);
    config
        .labels
        .insert(NAME.to_owned(), container.name.clone());
    config.annotations = HashMap::from([
        (
            "io.kubernetes.container.restartCount".to_owned(),
            attempt.to_string(),
        ),
        (
            "io.kubernetes.container.terminationMessagePolicy".to_owned(),
            "File".to_owned(),
        ),
        (LAST_WORDS.to_owned(), LAST_WORDS_PATH.to_owned()),
    ]);
    if let Some(linux) = &mut config.linux {
        if pod.source == Source::File {
            let context = linux.security_context.get_or_insert_default();
            let options = context.namespace_options.get_or_insert_default();
            options.network = NamespaceMode::Node.into();
        }
        linux.resources = Some(LinuxContainerResources {
            memory_limit_in_bytes: container.memory,
            oom_score_adj: 1000,
            cpu_shares: 2,
            ..LinuxContainerResources::default()
        });
    }
    Ok(config)
}

/// Returns a pod's volume on the host; `/shared` inside.
pub(crate) fn shared(machine: &Machine, pod: &Pod) -> PathBuf {
    machine.volumes.join(&pod.uid).join("shared")
}

fn last_words(machine: &Machine, pod: &Pod, container: &Container, attempt: u32) -> PathBuf {
    let directory = machine.volumes.join(&pod.uid).join("containers");
    directory.join(&container.name).join(attempt.to_string())
}

fn mount(inside: &str, outside: PathBuf) -> Mount {
    Mount {
        container_path: inside.to_owned(),
        host_path: outside.display().to_string(),
        ..Mount::default()
    }
}

/// Returns what a container left as its last words: as a kubelet does, through what its status
/// says of its annotations and mounts.
pub(crate) fn message(status: &ContainerStatus) -> Option<String> {
    let inside = status.annotations.get(LAST_WORDS)?;
    let mount = status
        .mounts
        .iter()
        .find(|mount| &mount.container_path == inside)?;
    std::fs::read_to_string(&mount.host_path).ok()
}
