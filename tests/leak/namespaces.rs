//! Namespaces and descriptors: nothing keeps a sandbox's alive once it is gone.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use harness::node::Node;
use harness::process;

/// The namespaces a sandbox and its containers may have of their own.
const KINDS: [&str; 6] = ["net", "ipc", "uts", "mnt", "pid", "cgroup"];

/// Returns the namespaces of a process that are not this one's, such as "net:[4026532200]".
fn own_namespaces(pid: u32) -> Result<BTreeSet<String>> {
    let of = |pid: &str, kind: &str| {
        let link = std::fs::read_link(format!("/proc/{pid}/ns/{kind}"));
        link.map(|link| link.display().to_string())
            .with_context(|| format!("read the {kind} namespace of {pid}"))
    };
    let mut found = BTreeSet::new();
    for kind in KINDS {
        let theirs = of(&pid.to_string(), kind)?;
        if theirs != of("self", kind)? {
            found.insert(theirs);
        }
    }
    Ok(found)
}

/// Programs of [`work`].
const PROGRAMS: [&str; 2] = ["/bin/sleep 22377", "/bin/sleep 22378"];

/// Returns who of this node still has one of these: as its namespace, as a descriptor, or as a mount.
///
/// The kernel gives the number of a namespace that is gone to the next one, which may be of other
/// software on the machine: only the agent, its helpers and what they ran are looked at.
fn holders(node: &Node, namespaces: &BTreeSet<String>) -> Result<Vec<String>> {
    let helpers = node.agent.helpers()?;
    let is_ours = |one: &process::Process| {
        one.pid == node.agent.pid()
            || helpers.iter().any(|helper| helper.pid == one.pid)
            || PROGRAMS.contains(&one.command.as_str())
    };
    let mut found = Vec::new();
    for one in process::all()?.into_iter().filter(is_ours) {
        let proc = PathBuf::from(format!("/proc/{}", one.pid));
        for directory in ["ns", "fd"] {
            // Whoever has ended meanwhile holds nothing.
            let links = std::fs::read_dir(proc.join(directory))
                .into_iter()
                .flatten();
            for link in links.flatten() {
                let target = std::fs::read_link(link.path()).unwrap_or_default();
                if namespaces.contains(&target.display().to_string()) {
                    found.push(format!(
                        "{} ({}) {}",
                        one.pid,
                        one.command,
                        link.path().display()
                    ));
                }
            }
        }
        let mounts = std::fs::read_to_string(proc.join("mountinfo")).unwrap_or_default();
        let pinned = mounts
            .lines()
            .filter(|line| namespaces.iter().any(|namespace| line.contains(namespace)));
        found.extend(pinned.map(|line| format!("{} ({}) {line}", one.pid, one.command)));
    }
    Ok(found)
}

/// Runs a pod with a session and a container of a person's, and returns the namespaces they have.
async fn work(node: &Node) -> Result<BTreeSet<String>> {
    let sandbox = node.sandbox("pod").await?;
    let id = node.run(&sandbox, "main", &["/bin/sleep", "22377"]).await?;
    node.exec(&id, "echo session").await?;
    let ctl = node.ctl()?;
    ctl.ok(&[
        "run",
        "-d",
        "--name",
        "mine",
        "-p",
        "80",
        &node.image,
        "/bin/sleep",
        "22378",
    ])?;
    ctl.ok(&["exec", "mine", "true"])?;
    let mut namespaces = BTreeSet::new();
    for program in PROGRAMS {
        let of = node.agent.running(program);
        let of = of.first().context("the program runs")?;
        namespaces.extend(own_namespaces(of.pid)?);
    }
    ensure!(
        namespaces.len() >= 10,
        "two containers have these alone: {namespaces:?}"
    );
    ensure!(
        !holders(node, &namespaces)?.is_empty(),
        "what holds them is found"
    );
    Ok(namespaces)
}

#[tokio::test]
async fn no_namespace_outlives_its_sandbox() -> Result<()> {
    let mut node = Node::start().await?;
    for restarted in [false, true] {
        let namespaces = work(&node).await?;
        if restarted {
            node.restart().await?;
        }
        node.ctl()?.ok(&["rm", "-f", "mine"])?;
        node.remove_all().await?;
        harness::wait::until("nobody holds the namespaces", || {
            let left = holders(&node, &namespaces)?;
            ensure!(left.is_empty(), "restarted: {restarted}: {left:#?}");
            Ok(Some(()))
        })?;
    }
    node.finish().await
}

/// Returns how many descriptors a process has open.
fn descriptors(pid: u32) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count())
}

#[tokio::test]
async fn the_agent_keeps_no_descriptor_of_what_is_gone() -> Result<()> {
    let node = Node::start().await?;
    let mut launcher = node.agent.helpers()?;
    launcher.retain(|one| one.parent == node.agent.pid());
    let launcher = launcher.first().context("the launcher runs")?.pid;
    let mut settled = None;
    for round in 0..8 {
        work(&node).await?;
        node.ctl()?.ok(&["rm", "-f", "mine"])?;
        node.remove_all().await?;
        if round == 3 {
            // What is opened once and kept is open by now.
            settled = Some((descriptors(node.agent.pid())?, descriptors(launcher)?));
        }
    }
    let (agent, launched) = settled.context("it was counted")?;
    harness::wait::until("no descriptor more than before", || {
        let now = (descriptors(node.agent.pid())?, descriptors(launcher)?);
        // Connections of clients come and go by one or two; a leak would be one a round and more.
        ensure!(
            now.0 <= agent + 2 && now.1 <= launched,
            "agent and launcher: {now:?}, and were {agent}, {launched}"
        );
        Ok(Some(()))
    })?;
    node.finish().await
}
