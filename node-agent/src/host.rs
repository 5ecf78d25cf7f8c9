//! What the machine says of itself.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// Where packages put the shim.
const INSTALLED_SHIM: &str = "/usr/libexec/node-agent/node-agent-shim";

/// Returns the id of the present boot.
pub(crate) fn boot_id(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("boot id {} could not be read", path.display()))?;
    Ok(text.trim().to_owned())
}

/// Finds the shim program.
pub(crate) fn shim(configured: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(path) = configured {
        return Ok(path);
    }
    let own = std::env::current_exe().context("own path could not be found")?;
    let beside = own.with_file_name("node-agent-shim");
    for path in [beside, PathBuf::from(INSTALLED_SHIM)] {
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!(
        "node-agent-shim is neither beside {} nor at {INSTALLED_SHIM}; set `shim` in the configuration",
        own.display()
    )
}

/// Returns the highest capability number of the running kernel.
pub(crate) fn last_capability() -> anyhow::Result<u8> {
    let path = "/proc/sys/kernel/cap_last_cap";
    let text =
        std::fs::read_to_string(path).with_context(|| format!("{path} could not be read"))?;
    text.trim()
        .parse()
        .with_context(|| format!("{path} is not a number"))
}

/// Where the kernel shows its processors.
pub(crate) const PROCESSORS: &str = "/sys/devices/system/cpu";

/// Returns what only some machines have to hide from containers: each processor's count of the times
/// that it ran hot, which tells neighbours of each other's work.
pub(crate) fn masked_paths(processors: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(processors).into_iter().flatten();
    let mut found: Vec<String> = entries
        .flatten()
        .map(|entry| entry.path().join("thermal_throttle"))
        .filter(|path| path.is_dir())
        .map(|path| path.display().to_string())
        .collect();
    found.sort();
    found
}

/// Returns the name of the operating system, as os-release(5) has it.
pub(crate) fn operating_system() -> String {
    let text = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map(|name| name.trim_matches('"').to_owned())
        .unwrap_or_else(|| std::env::consts::OS.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processors_with_a_count_are_masked() {
        let directory = tempfile::tempdir().unwrap();
        for name in [
            "cpu1/thermal_throttle",
            "cpu0/thermal_throttle",
            "cpu2/topology",
        ] {
            std::fs::create_dir_all(directory.path().join(name)).unwrap();
        }
        std::fs::write(directory.path().join("online"), "0-2").unwrap();
        let found = masked_paths(directory.path());
        let wanted = ["cpu0", "cpu1"].map(|name| {
            let path = directory.path().join(name).join("thermal_throttle");
            path.display().to_string()
        });
        assert_eq!(found, wanted);
        assert!(masked_paths(Path::new("/nonexistent")).is_empty());
    }
}
