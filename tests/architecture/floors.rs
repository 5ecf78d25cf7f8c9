//! The arrow: a crate uses only lower floors, and third-party reach is fenced.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use crate::workspace;

const FLOORS: &[(u8, &[&str])] = &[
    (0, &["agent-types", "proto", "proto-shim"]),
    (1, &["agent-program", "agent-sys", "agent-telemetry"]),
    (
        2,
        &[
            "agent-content",
            "agent-registry",
            "agent-snapshot",
            "agent-network",
            "agent-cgroup",
            "agent-apparmor",
            "agent-cdi",
            "agent-cni",
            "agent-oci",
            "agent-seccomp",
            "agent-selinux",
            "agent-runtime",
            "agent-store",
            "agent-shim-client",
        ],
    ),
    (3, &["agent-core"]),
    (4, &["agent-api", "agent-streaming", "shim"]),
    (5, &["node-agent", "ctl"]),
    (6, &["system-tests"]),
    (7, &["bench", "vm-tests"]),
];

/// Packages of ours that only these may use.
const OURS: &[(&str, &[&str])] = &[
    (
        "proto",
        &["agent-api", "ctl", "system-tests", "bench", "vm-tests"],
    ),
    ("proto-shim", &["shim", "agent-shim-client"]),
    ("agent-runtime", &["shim"]),
];

/// Packages of others that only these may use.
const THEIRS: &[(&str, &[&str])] = &[
    (
        "anyhow",
        &[
            "node-agent",
            "ctl",
            "shim",
            "system-tests",
            "bench",
            "vm-tests",
        ],
    ),
    ("cgroups-rs", &["agent-cgroup"]),
    ("clap", &["node-agent", "ctl", "bench"]),
    ("libseccomp", &["agent-seccomp"]),
    ("opentelemetry", &["agent-telemetry"]),
    ("opentelemetry-otlp", &["agent-telemetry"]),
    ("opentelemetry_sdk", &["agent-telemetry"]),
    ("redb", &["agent-store"]),
    ("reqwest", &["agent-registry"]),
    ("rtnetlink", &["agent-network"]),
    (
        "tonic",
        &[
            "agent-api",
            "ctl",
            "node-agent",
            "proto",
            "system-tests",
            "bench",
            "vm-tests",
        ],
    ),
    ("tracing-opentelemetry", &["agent-telemetry"]),
    ("zbus", &["agent-cgroup"]),
];

/// All that these may use of ours.
const ONLY: &[(&str, &[&str])] = &[
    ("ctl", &["proto"]),
    (
        "shim",
        &["agent-types", "agent-sys", "agent-runtime", "proto-shim"],
    ),
];

#[test]
fn every_package_has_a_floor() -> Result<()> {
    let floors = floors();
    let without: Vec<String> = edges(Uses::All)?
        .into_keys()
        .filter(|name| !floors.contains_key(name.as_str()))
        .collect();
    assert_eq!(
        without, [""; 0],
        "packages that the floor table does not know"
    );
    Ok(())
}

#[test]
fn no_package_looks_sideways_or_up() -> Result<()> {
    let floors = floors();
    let mut wrong = Vec::new();
    for (from, to) in pairs(Uses::All)? {
        if let (Some(above), Some(below)) = (floors.get(from.as_str()), floors.get(to.as_str()))
            && below >= above
        {
            wrong.push(format!("{from} (floor {above}) uses {to} (floor {below})"));
        }
    }
    assert_eq!(wrong, [""; 0]);
    Ok(())
}

#[test]
fn packages_stay_behind_their_fences() -> Result<()> {
    let mut wrong = Vec::new();
    for (from, to) in pairs(Uses::Shipped)? {
        let fenced = |table: &[(&str, &[&str])]| {
            table
                .iter()
                .any(|(package, users)| *package == to && !users.contains(&from.as_str()))
        };
        let ours = floors().contains_key(to.as_str());
        let beyond = ONLY
            .iter()
            .any(|(package, allowed)| *package == from && ours && !allowed.contains(&to.as_str()));
        if fenced(OURS) || fenced(THEIRS) || beyond {
            wrong.push(format!("{from} may not use {to}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
    Ok(())
}

#[test]
fn only_sys_may_hold_unsafe_code() -> Result<()> {
    let mut wrong = Vec::new();
    for package in workspace::packages()?
        .iter()
        .filter(|package| package["name"] != "agent-sys")
    {
        // Tests and build scripts are held by the workspace's lint.
        let shipped =
            |target: &&Value| target["kind"] == json!(["lib"]) || target["kind"] == json!(["bin"]);
        for target in package["targets"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(shipped)
        {
            let path = target["src_path"].as_str().unwrap_or_default();
            if !std::fs::read_to_string(path)?.contains("#![forbid(unsafe_code)]") {
                wrong.push(path.to_owned());
            }
        }
    }
    assert_eq!(wrong, [""; 0], "these do not forbid unsafe code");
    Ok(())
}

fn floors() -> BTreeMap<&'static str, u8> {
    FLOORS
        .iter()
        .flat_map(|(floor, names)| names.iter().map(move |name| (*name, *floor)))
        .collect()
}

/// Which of a package's dependencies count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Uses {
    /// All of them, those of tests and builds too.
    All,
    /// Those that end up in a program.
    Shipped,
}

/// Returns what every package of the workspace uses.
fn edges(uses: Uses) -> Result<BTreeMap<String, Vec<String>>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let counts = |one: &&Value| uses == Uses::All || one["kind"].is_null();
    let of = |package: &Value| -> Vec<String> {
        let all = package["dependencies"].as_array().into_iter().flatten();
        all.filter(counts).map(|one| text(&one["name"])).collect()
    };
    Ok(workspace::packages()?
        .iter()
        .map(|package| (text(&package["name"]), of(package)))
        .collect())
}

fn pairs(uses: Uses) -> Result<Vec<(String, String)>> {
    let edges = edges(uses)?;
    Ok(edges
        .into_iter()
        .flat_map(|(from, all)| all.into_iter().map(move |to| (from.clone(), to)))
        .collect())
}
