//! Another OCI runtime that hangs or fails: its pod goes on.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use harness::agent::Options;
use harness::node::{Node, Sandbox};
use harness::wait;
use proto::cri::ContainerState;
use tempfile::TempDir;
use tonic::Code;

/// A runtime that does what runc does, when it may.
struct Scripted(TempDir);

impl Scripted {
    fn new() -> Result<Self> {
        let made = Self(tempfile::tempdir()?);
        let here = made.0.path().display();
        let script = format!(
            "#!/bin/sh\nfor verb; do case $verb in create|start|exec|delete) break;; esac; done\n\
             echo $verb >>{here}/begun\nwhile [ -e {here}/hold-$verb ]; do sleep 0.02; done\n\
             [ ! -e {here}/fail-$verb ] || exit 3\nexec /usr/sbin/runc \"$@\"\n"
        );
        std::fs::write(made.program(), script)?;
        std::fs::set_permissions(made.program(), std::fs::Permissions::from_mode(0o755))?;
        Ok(made)
    }

    fn program(&self) -> PathBuf {
        self.0.path().join("runtime")
    }

    fn options(&self) -> Options {
        let path = self.program();
        Options::default().with("runtimes.scripted", format!("path = {path:?}"))
    }

    /// Has the runtime wait, or fail, whenever it is asked to do `verb`.
    fn tell(&self, word: &str, verb: &str) -> Result<()> {
        std::fs::write(self.0.path().join(format!("{word}-{verb}")), "").context("tell the runtime")
    }

    fn let_go(&self, word: &str, verb: &str) -> Result<()> {
        let path = self.0.path().join(format!("{word}-{verb}"));
        std::fs::remove_file(path).context("let the runtime go on")
    }

    /// Returns how often the runtime has been asked to do `verb`.
    fn begun(&self, verb: &str) -> usize {
        let text = std::fs::read_to_string(self.0.path().join("begun"));
        let text = text.unwrap_or_default();
        text.lines().filter(|line| *line == verb).count()
    }

    /// Waits until the runtime has been asked to do `verb` so often.
    fn has_begun(&self, verb: &str, times: usize) -> Result<()> {
        wait::until("the runtime is at work", || {
            Ok((self.begun(verb) >= times).then_some(()))
        })
    }
}

async fn pod(node: &Node) -> Result<Sandbox> {
    let config = node.sandbox_config("pod");
    let id = node.cri.run_sandbox_with(&config, "scripted").await?;
    Ok(Sandbox { id, config })
}

const COUNTING: &str = "trap 'exit 7' TERM; n=0; while :; do echo $n; n=$((n+1)); sleep 0.01; done";

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_hangs_in_a_start_holds_up_nothing_else() -> Result<()> {
    let runtime = Scripted::new()?;
    let mut node = Node::start_with(runtime.options()).await?;
    let pod = pod(&node).await?;
    let config = node.container_config("first", &["/bin/sh", "-c", COUNTING]);
    let first = node.run_of(&pod, &config).await?;
    let second = node.container_config("second", &["/bin/sleep", "27183"]);
    let second = node
        .cri
        .create_container(&pod.id, &second, &pod.config)
        .await?;
    runtime.tell("hold", "start")?;
    let (cri, id) = (node.cri.clone(), second.clone());
    let starting = tokio::spawn(async move { cri.start_container(&id).await });
    runtime.has_begun("start", 2)?;
    // Output is read, sessions run, another container ends, and its end is told.
    let log = node.log_of(&pod, &config);
    let lines = || Ok::<_, anyhow::Error>(std::fs::read_to_string(&log)?.lines().count());
    let before = lines()?;
    wait::until("the log goes on", || {
        Ok((lines()? > before + 20).then_some(()))
    })?;
    assert_eq!(node.exec(&first, "echo inside").await?, "inside\n");
    node.cri.stop_container(&first, 30).await?;
    assert_eq!(node.cri.container_status(&first).await?.exit_code, 7);
    assert!(!starting.is_finished());
    let refused = node.cri.exec(&second, &["/bin/true"], 10).await.err();
    assert!(refused.is_some(), "it does not run yet");
    // Another agent finds the pod as it is.
    node.restart().await?;
    assert!(starting.await?.is_err(), "nobody is left to answer");
    let status = node.cri.sandbox_status(&pod.id).await?;
    assert_eq!(
        status.state(),
        proto::cri::PodSandboxState::SandboxReady,
        "{status:?}"
    );
    runtime.let_go("hold", "start")?;
    let inside = wait::until_async("the second runs", || async {
        Ok(node
            .cri
            .exec(&second, &["/bin/echo", "inside"], 10)
            .await
            .ok())
    });
    assert_eq!(inside.await?.stdout, b"inside\n");
    let status = node.cri.container_status(&second).await?;
    assert_eq!(status.state(), ContainerState::ContainerRunning);
    assert_eq!(node.cri.container_status(&first).await?.exit_code, 7);
    node.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_runtime_makes_too_late_is_removed() -> Result<()> {
    let runtime = Scripted::new()?;
    let mut node = Node::start_with(runtime.options()).await?;
    let pod = pod(&node).await?;
    let first = node.run(&pod, "first", &["/bin/sleep", "27184"]).await?;
    runtime.tell("hold", "create")?;
    let config = node.container_config("second", &["/bin/sleep", "27185"]);
    let creating = {
        let (cri, sandbox) = (node.cri.clone(), pod.id.clone());
        let pod_config = pod.config.clone();
        tokio::spawn(async move { cri.create_container(&sandbox, &config, &pod_config).await })
    };
    runtime.has_begun("create", 2)?;
    assert_eq!(node.exec(&first, "echo inside").await?, "inside\n");
    node.restart().await?;
    assert!(creating.await?.is_err(), "nobody is left to answer");
    runtime.let_go("hold", "create")?;
    // The runtime is asked to forget it again.
    runtime.has_begun("delete", 1)?;
    // Made and not started, it is a process of the runtime's own in the container's cgroup.
    wait::until("the second is gone", || {
        let inside = harness::cgroup::processes(&node.agent.slot().names().cgroup);
        let mut inside = inside.into_iter().filter_map(harness::process::read);
        let left = inside.any(|one| one.name.starts_with("runc") || one.command.ends_with("27185"));
        Ok((!left).then_some(()))
    })?;
    assert_eq!(node.exec(&first, "echo inside").await?, "inside\n");
    // A pod is removed while its runtime is at work.
    runtime.tell("hold", "create")?;
    let asked = runtime.begun("create");
    let config = node.container_config("third", &["/bin/sleep", "27186"]);
    let creating = {
        let (cri, sandbox) = (node.cri.clone(), pod.id.clone());
        let pod_config = pod.config.clone();
        tokio::spawn(async move { cri.create_container(&sandbox, &config, &pod_config).await })
    };
    runtime.has_begun("create", asked + 1)?;
    let stopping = {
        let (cri, sandbox) = (node.cri.clone(), pod.id.clone());
        tokio::spawn(async move { cri.stop_sandbox(&sandbox).await })
    };
    runtime.let_go("hold", "create")?;
    stopping.await??;
    // Whether it came in time is chance; that nothing is left is not.
    let _ = creating.await?;
    node.finish().await
}

#[tokio::test]
async fn the_shim_reads_no_file_of_a_container() -> Result<()> {
    let runtime = Scripted::new()?;
    let node = Node::start_with(runtime.options()).await?;
    let pod = pod(&node).await?;
    let first = node.run(&pod, "first", &["/bin/sleep", "27190"]).await?;
    let line = "yes user:x:1000:1000::/:/bin/sh | head -c 9000000 >/etc/passwd";
    node.exec(&first, line).await?;
    let peaks = || -> Result<u64> {
        let helpers = node.agent.helpers()?;
        let peaks = helpers
            .iter()
            .map(|one| harness::process::peak_rss_kib(one.pid));
        Ok(peaks.sum())
    };
    let before = peaks()?;
    assert_eq!(node.exec(&first, "echo inside").await?, "inside\n");
    let missing = format!("{:?}", node.cri.exec(&first, &["/bin/nothing"], 10).await);
    assert!(missing.contains("/bin/nothing"), "{missing}");
    let grown = peaks()? - before;
    assert!(grown < 4 << 10, "{grown} KiB");
    node.finish().await
}

#[tokio::test]
async fn a_session_ends_in_its_time_and_failures_are_not_the_callers() -> Result<()> {
    let runtime = Scripted::new()?;
    let node = Node::start_with(runtime.options()).await?;
    let pod = pod(&node).await?;
    let first = node.run(&pod, "first", &["/bin/sleep", "27187"]).await?;
    runtime.tell("hold", "exec")?;
    let late = node.cri.exec(&first, &["/bin/true"], 1).await.err();
    let late = late.context("its time is up")?;
    assert_eq!(late.code(), Code::DeadlineExceeded, "{late:?}");
    runtime.let_go("hold", "exec")?;
    assert_eq!(node.exec(&first, "echo inside").await?, "inside\n");
    for verb in ["exec", "create"] {
        runtime.tell("fail", verb)?;
        let config = node.container_config(verb, &["/bin/sleep", "27188"]);
        let refused = match verb {
            "exec" => node.cri.exec(&first, &["/bin/true"], 10).await.err(),
            _ => node
                .cri
                .create_container(&pod.id, &config, &pod.config)
                .await
                .err(),
        };
        let refused = refused.context("the runtime has failed")?;
        assert_eq!(refused.code(), Code::Internal, "{refused:?}");
        assert!(refused.message().contains("ended with 3"), "{refused:?}");
        runtime.let_go("fail", verb)?;
    }
    runtime.tell("fail", "start")?;
    let config = node.container_config("unstarted", &["/bin/sleep", "27189"]);
    let id = node
        .cri
        .create_container(&pod.id, &config, &pod.config)
        .await?;
    let refused = node.cri.start_container(&id).await.err();
    assert!(refused.is_some_and(|status| status.message().contains("ended with 3")));
    let status = node.cri.container_status(&id).await?;
    assert_eq!(
        (status.exit_code, status.reason.as_str()),
        (128, "StartError")
    );
    node.finish().await
}
