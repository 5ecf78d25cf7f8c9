//! `kubectl`, over SPDY and, where it is new enough to try them, over WebSockets.

use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use harness::{command, wait};

use crate::Setting;

const BOTH: [bool; 2] = [false, true];

#[tokio::test(flavor = "multi_thread")]
async fn exec_carries_streams_and_the_exit_code() -> Result<()> {
    let setting = Setting::start(&["/bin/pause"]).await?;
    for sockets in BOTH {
        let line = "cat; echo err >&2; exit 7";
        let mut kubectl = setting.cluster.kubectl(sockets);
        kubectl.args([
            "exec", "-i", "pod", "-c", "main", "--", "/bin/sh", "-c", line,
        ]);
        let output = command::run_with_input(&mut kubectl, b"from outside\n")?;
        assert_eq!(String::from_utf8_lossy(&output.stdout), "from outside\n");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.starts_with("err\n"), "{stderr}");
        assert!(stderr.contains("exit code 7"), "{stderr}");
        assert_eq!(output.status.code(), Some(7));
    }
    setting.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_says_what_cannot_be_executed() -> Result<()> {
    let setting = Setting::start(&["/bin/pause"]).await?;
    for sockets in BOTH {
        let mut kubectl = setting.cluster.kubectl(sockets);
        kubectl.args(["exec", "pod", "--", "/no/such/program"]);
        let output = command::output(&mut kubectl)?;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("/no/such/program"), "{stderr}");
        assert!(!output.status.success());
    }
    setting.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn much_output_and_much_input_arrive_whole() -> Result<()> {
    let setting = Setting::start(&["/bin/pause"]).await?;
    let input: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    for sockets in BOTH {
        let mut kubectl = setting.cluster.kubectl(sockets);
        kubectl.args(["exec", "-i", "pod", "--", "cat"]);
        // Its own output must be read while its input is written.
        let mut child = kubectl
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start kubectl")?;
        let mut stdin = child.stdin.take().context("no stdin")?;
        let sent = input.clone();
        let writing = std::thread::spawn(move || std::io::Write::write_all(&mut stdin, &sent));
        let output = child.wait_with_output()?;
        writing.join().expect("the writer does not panic")?;
        ensure!(output.status.success(), "{output:?}");
        assert!(
            output.stdout == input,
            "{} bytes came back",
            output.stdout.len()
        );
    }
    setting.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_has_the_size_of_the_client() -> Result<()> {
    let setting = Setting::start(&["/bin/pause"]).await?;
    for sockets in BOTH {
        has_a_terminal_of_its_size(&setting, sockets)?;
    }
    setting.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn other_runtimes_give_sessions_terminals_too() -> Result<()> {
    for (name, path) in [("runc", "/usr/sbin/runc"), ("crun", "/usr/bin/crun")] {
        let options =
            harness::agent::Options::default().with("runtimes.other", format!("path = {path:?}"));
        let node = harness::node::Node::start_with(options).await?;
        let config = node.sandbox_config(name);
        let id = node.cri.run_sandbox_with(&config, "other").await?;
        let sandbox = harness::node::Sandbox { id, config };
        let container = node.run(&sandbox, "main", &["/bin/pause"]).await?;
        let setting = Setting::over(node, sandbox, container, false).await?;
        has_a_terminal_of_its_size(&setting, BOTH[0])?;
        setting.finish().await?;
    }
    Ok(())
}

/// Runs a session on a terminal, which is to get the size of the client's.
fn has_a_terminal_of_its_size(setting: &Setting, sockets: bool) -> Result<()> {
    let kubectl = setting.cluster.kubectl(sockets);
    // `script` gives kubectl a terminal of its own. The size arrives a moment after the start.
    let inner = "stty size; until test \"$(stty size)\" = \"33 101\"; do :; done; echo sized; tty";
    let line = format!(
        "stty rows 33 cols 101; exec kubectl {} exec -it pod -- /bin/sh -c '{inner}'",
        kubectl
            .get_args()
            .next()
            .context("no server")?
            .to_string_lossy()
    );
    let mut script = std::process::Command::new("script");
    script.envs(
        kubectl
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    script.args(["-qec", &line, "/dev/null"]);
    let output = command::run_with_input(&mut script, b"")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("sized"), "{text}");
    assert!(text.contains("/dev/pts/"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn attach_reads_and_writes_the_main_process() -> Result<()> {
    let node = harness::node::Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let mut config = node.container_config(
        "main",
        &["/bin/sh", "-c", "while read x; do echo got $x; done"],
    );
    config.stdin = true;
    let container = node.run_of(&sandbox, &config).await?;
    let setting = Setting::over(node, sandbox, container, true).await?;
    // The pod says that it has a terminal, so kubectl must be told that it has none.
    setting.cluster.add(
        "pod",
        harness::cluster::Pod {
            sandbox: setting.sandbox.id.clone(),
            containers: [("main".to_owned(), setting.container.clone())].into(),
            interactive: true,
        },
    );
    for sockets in BOTH {
        let mut kubectl = setting.cluster.kubectl(sockets);
        kubectl.args(["attach", "-i", "pod", "-c", "main"]);
        let mut child = kubectl
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdin = child.stdin.take().context("no stdin")?;
        let mut stdout = child.stdout.take().context("no stdout")?;
        let (heard, hear) = std::sync::mpsc::channel();
        let reading = std::thread::spawn(move || {
            let mut all = Vec::new();
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = std::io::Read::read(&mut stdout, &mut chunk) {
                all.extend_from_slice(&chunk[..count]);
                drop(heard.send(all.clone()));
            }
        });
        let mut seen = Vec::new();
        // What is written before it is attached may be lost to it, so it is said again.
        wait::until("the attached process answers", || {
            std::io::Write::write_all(&mut stdin, b"one\n")?;
            while let Ok(all) = hear.try_recv() {
                seen = all;
            }
            Ok(String::from_utf8_lossy(&seen)
                .contains("got one")
                .then_some(()))
        })?;
        child.kill()?;
        child.wait()?;
        reading.join().expect("the reader does not panic");
    }
    setting.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn cp_copies_both_ways() -> Result<()> {
    let setting = Setting::start(&["/bin/pause"]).await?;
    let there = setting.cluster.directory().join("there");
    let content: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    std::fs::write(&there, &content)?;
    for sockets in BOTH {
        let back = setting.cluster.directory().join(format!("back-{sockets}"));
        let mut kubectl = setting.cluster.kubectl(sockets);
        kubectl.arg("cp").arg(&there).arg("default/pod:/tmp/copied");
        command::run(&mut kubectl)?;
        let mut kubectl = setting.cluster.kubectl(sockets);
        kubectl.args(["cp", "default/pod:/tmp/copied"]).arg(&back);
        command::run(&mut kubectl)?;
        assert!(std::fs::read(&back)? == content);
    }
    setting.finish().await
}
