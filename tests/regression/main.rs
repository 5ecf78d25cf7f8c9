//! What attackers have done to programs like this one, and what once was wrong here.
//!
//! A file named `hostile_<row>_...` shows that we do not have the flaw of that row of the list of
//! public flaws that this project keeps. Rows that need no agent are shown beside the code, in tests
//! whose names begin in the same way; row 10 is rows 3 to 7 once more.
#![forbid(unsafe_code)]

mod hostile_01_helper_overwritten;
mod hostile_02_leaked_descriptor;
mod hostile_03_mount_target_swapped;
mod hostile_04_proc_is_a_link;
mod hostile_05_mask_source_swapped;
mod hostile_06_console;
mod hostile_07_procfs_redirected;
mod hostile_08_directories_outside;
mod hostile_09_inheritable_capabilities;
mod hostile_11_reachable_sockets;
mod hostile_12_volume_paths;
mod hostile_13_evil_layers;
mod hostile_15_ambiguous_manifests;
mod hostile_16_bombs;
mod hostile_17_passwd_files;
mod hostile_18_user_numbers;
mod hostile_19_image_labels;
mod hostile_21_ids_that_are_paths;
mod hostile_22_endless_output;
mod hostile_23_sysctl_grammar;
mod hostile_24_newline_in_home;
mod hostile_25_annotations;
mod hostile_26_generated_files;
mod hostile_27_log_paths;
mod hostile_28_state_directories;
mod hostile_30_nothing_is_loaded;
mod hostile_af_alg;
mod hostile_device_nodes;
mod hostile_digest_as_path;
mod hostile_shared_pid_namespace;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::image::{Image, LayerBuilder, default_config};
use harness::node::Node;
use proto::cri::{ContainerConfig, LinuxContainerSecurityContext};
use serde_json::Value;

/// Pushes and pulls busybox with one more layer and this runtime configuration.
async fn pulled(node: &Node, name: &str, layer: LayerBuilder, config: &Value) -> Result<String> {
    let image = Image::busybox_with(vec![layer.gzip()?], config)?;
    let reference = node.registry.push(&format!("hostile/{name}:1"), &image)?;
    node.cri.pull(&reference).await.context("PullImage")?;
    Ok(reference)
}

/// A directory of the host's that nothing inside a container may see or change, with one file.
fn host_directory(node: &Node) -> Result<PathBuf> {
    let directory = node.agent.directory().join("host");
    std::fs::create_dir(&directory)?;
    std::fs::write(directory.join("marker"), "untouched")?;
    Ok(directory)
}

/// Fails unless the directory is as [`host_directory`] made it.
fn is_untouched(directory: &std::path::Path) -> Result<()> {
    let names: Vec<_> = std::fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<Result<_, _>>()?;
    assert_eq!(names, ["marker"]);
    assert_eq!(
        std::fs::read_to_string(directory.join("marker"))?,
        "untouched"
    );
    Ok(())
}

/// Runs a container of this image to its end, if it can be made; nothing may hang.
async fn outcome(
    node: &Node,
    image: &str,
    config: &ContainerConfig,
) -> Result<Result<(i32, String)>> {
    let sandbox = node.sandbox("hostile").await?;
    let mut config = config.clone();
    config.image = Some(harness::cri::image_spec(image));
    let run = node.shell_of(&sandbox, &config);
    let result = tokio::time::timeout(Duration::from_secs(60), run)
        .await
        .context("it hangs")?;
    node.cri.remove_sandbox(&sandbox.id).await?;
    Ok(result)
}

/// Returns a container's security settings, to be changed.
fn context(config: &mut ContainerConfig) -> &mut LinuxContainerSecurityContext {
    config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default()
}

/// Returns busybox's plain configuration, for layers that are the hostile part.
fn plain() -> Value {
    default_config()
}
