//! What every sandbox keeps in memory must stay small.

use anyhow::Result;

use crate::workspace;

/// Packages that have no place in a shim.
const BANNED: &[&str] = &[
    "tokio",
    "tonic",
    "zbus",
    "tracing",
    "hyper",
    "reqwest",
    "libseccomp",
    "cgroups-rs",
];

#[test]
fn the_shim_has_no_runtime_and_no_rpc_stack() -> Result<()> {
    let tree = workspace::cargo(&[
        "tree",
        "--package",
        "shim",
        "--edges",
        "normal",
        "--prefix",
        "none",
    ])?;
    let found: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| BANNED.contains(name))
        .collect();
    assert!(tree.starts_with("shim "), "{tree}");
    assert_eq!(found, [""; 0]);
    Ok(())
}
