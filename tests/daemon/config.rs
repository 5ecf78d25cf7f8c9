//! The configuration, as the program itself reads and prints it.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::Result;
use harness::agent::beside_us;
use harness::command;

fn node_agent(arguments: &[&str]) -> Result<Output> {
    command::output(Command::new(beside_us("node-agent")?).args(arguments))
}

/// Has a configuration checked and returns whether it holds, and what was said.
pub(crate) fn checked(directory: &Path, text: &str) -> Result<(bool, String)> {
    let file = directory.join("config.toml");
    std::fs::write(&file, text)?;
    let path = file.display().to_string();
    let output = node_agent(&["config", "check", "--config", &path])?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.success(), said))
}

#[test]
fn the_printed_defaults_are_a_configuration() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let printed = node_agent(&["config", "default"])?;
    assert!(printed.status.success() && printed.stderr.is_empty());
    let text = String::from_utf8(printed.stdout)?;
    assert_eq!(checked(directory.path(), &text)?, (true, String::new()));
    for line in [
        "root = \"/var/lib/node-agent\"",
        "state = \"/run/node-agent\"",
        "listen = [\"unix:///run/node-agent/node-agent.sock\"]",
    ] {
        assert!(text.lines().any(|one| one == line), "no line {line}");
    }
    Ok(())
}

#[test]
fn unknown_keys_are_refused_by_name_wherever_they_are() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let text = String::from_utf8(node_agent(&["config", "default"])?.stdout)?;
    let sections: Vec<_> = text.lines().filter(|line| line.starts_with('[')).collect();
    assert!(sections.len() >= 5, "{sections:?}");
    for section in [""].iter().chain(&sections) {
        let (holds, said) = checked(directory.path(), &format!("{section}\nmispelt = 1\n"))?;
        assert!(!holds && said.contains("mispelt"), "{section}: {said}");
    }
    let (holds, said) = checked(directory.path(), "[netwrok]\nmtu = 1400\n")?;
    assert!(!holds && said.contains("netwrok"), "{said}");
    Ok(())
}

#[test]
fn everything_that_is_wrong_is_told_at_once() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let text = "root = \"here\"\nlisten = [\"tcp://0.0.0.0:1\"]\n[cgroup]\nparent = \"../up\"\n\
                [network]\nsubnets = [\"10.0.0.0/33\"]\n[images]\ninsecure_registries = [\"a b\"]\n";
    let (holds, said) = checked(directory.path(), text)?;
    assert!(!holds);
    for word in [
        "root",
        "listen",
        "cgroup.parent",
        "network.subnets",
        "images.insecure_registries",
    ] {
        assert!(said.contains(word), "no {word} in {said}");
    }
    let missing = node_agent(&["config", "check", "--config", "/nowhere/config.toml"])?;
    assert!(!missing.status.success());
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/nowhere/config.toml"));
    Ok(())
}
