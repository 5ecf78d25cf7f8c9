//! What cargo and git know of this project.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use harness::command;
use serde_json::Value;

/// Returns the directory of the workspace.
pub(crate) fn root() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(here
        .parent()
        .context("the tests are in a folder of the workspace")?
        .to_owned())
}

/// Runs cargo in the workspace and returns what it printed.
pub(crate) fn cargo(arguments: &[&str]) -> Result<String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    command::run(
        Command::new(program)
            .args(arguments)
            .arg("--offline")
            .current_dir(root()?),
    )
}

/// Returns the packages of the workspace as `cargo metadata` describes them.
pub(crate) fn packages() -> Result<Vec<Value>> {
    let text = cargo(&["metadata", "--format-version", "1", "--no-deps"])?;
    let metadata: Value = serde_json::from_str(&text).context("read cargo's metadata")?;
    Ok(metadata["packages"].as_array().cloned().unwrap_or_default())
}

/// Returns the project's files that end in `suffix`, relative to the workspace.
pub(crate) fn files(suffix: &str) -> Result<Vec<PathBuf>> {
    let mut list = Command::new("git");
    list.args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root()?);
    let text = command::run(&mut list)?;
    let found = text
        .lines()
        .filter(|line| line.ends_with(suffix))
        .map(PathBuf::from);
    // A file that is deleted and not yet committed is still listed.
    let root = root()?;
    Ok(found.filter(|path| root.join(path).is_file()).collect())
}
