//! Pulling real images from a real registry, whole and broken.
#![forbid(unsafe_code)]

mod broken;
mod helpers;
mod hosts;
mod layers;
mod memory;
mod mirrors;
mod mount_points;
mod power;
mod pull;
mod removal;
mod resume;
mod transport;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use harness::cri::image_spec;
use harness::node::Node;

/// Runs a shell line in a container of this image and returns what it wrote; it must end with 0.
async fn run_in(node: &Node, image: &str, line: &str) -> Result<String> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    // The log of one must not go on where that of another ended.
    let name = format!("pod-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let sandbox = node.sandbox(&name).await?;
    let mut config = node.container_config("main", &["/bin/sh", "-c", line]);
    config.image = Some(image_spec(image));
    let (code, text) = node.shell_of(&sandbox, &config).await?;
    anyhow::ensure!(code == 0, "`{line}` ended with {code}:\n{text}");
    node.cri.remove_sandbox(&sandbox.id).await?;
    Ok(text)
}

/// Returns every file below a directory but databases, which change with every call.
fn files(of: &Path) -> Result<BTreeSet<PathBuf>> {
    let mut found = BTreeSet::new();
    let mut open = vec![of.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            } else if entry
                .path()
                .extension()
                .is_none_or(|extension| extension != "redb")
            {
                found.insert(entry.path());
            }
        }
    }
    Ok(found)
}
