//! Real terminals: `script` of Debian's bsdutils gives one to `ctl`.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use harness::node::Node;
use harness::wait;

/// `ctl` on a terminal of its own.
struct Session {
    child: Child,
    screen: std::path::PathBuf,
}

impl Session {
    fn start(node: &Node, words: &[&str]) -> Result<Self> {
        let ctl = node.ctl()?.command(words);
        let line: Vec<String> = std::iter::once(ctl.get_program())
            .chain(ctl.get_args())
            .map(|word| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''")))
            .collect();
        let screen = node.agent.directory().join("screen");
        let child = Command::new("script")
            .args([
                "--quiet",
                "--return",
                "--command",
                &line.join(" "),
                "/dev/null",
            ])
            .envs(
                ctl.get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(Stdio::piped())
            .stdout(File::create(&screen)?)
            .spawn()
            .context("start script (package bsdutils)")?;
        Ok(Self { child, screen })
    }

    fn send(&mut self, keys: &[u8]) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("the terminal is open")?;
        stdin.write_all(keys)?;
        Ok(stdin.flush()?)
    }

    fn shows(&self, text: &str) -> Result<()> {
        wait::until(&format!("the screen shows {text:?}"), || {
            let mut screen = Vec::new();
            File::open(&self.screen)?.read_to_end(&mut screen)?;
            let screen = String::from_utf8_lossy(&screen).into_owned();
            if screen.contains(text) {
                Ok(Some(()))
            } else {
                bail!("{screen:?}")
            }
        })
    }

    fn ends_with(mut self, code: i32) -> Result<()> {
        let status = wait::until("ctl ends", || Ok(self.child.try_wait()?))?;
        assert_eq!(status.code(), Some(code));
        Ok(())
    }
}

#[tokio::test]
async fn run_gives_a_terminal() -> Result<()> {
    let node = Node::start().await?;
    let mut session = Session::start(&node, &["run", "--rm", "-it", &node.image, "sh"])?;
    session.send(b"test -t 0 && test -t 1 && echo yes-$((1+1))\n")?;
    session.shows("yes-2")?;
    session.send(b"stty size | tr ' ' x; echo asleep-$((4+5)); sleep 1000\n")?;
    session.shows("asleep-9")?;
    // An interrupt goes to the program, not to ctl.
    session.send(b"\x03")?;
    session.send(b"echo back-$((1+2)); exit 4\n")?;
    session.shows("back-3")?;
    session.ends_with(4)?;
    node.finish().await
}

#[tokio::test]
async fn exec_gives_a_terminal() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    ctl.ok(&["run", "-d", "--name", "one", &node.image, "/bin/pause"])?;
    let mut session = Session::start(&node, &["exec", "-it", "one", "sh"])?;
    session.send(b"tty; echo done-$((2+2)); exit 5\n")?;
    session.shows("/dev/pts/")?;
    session.shows("done-4")?;
    session.ends_with(5)?;
    ctl.ok(&["rm", "-f", "one"])?;
    node.finish().await
}

#[tokio::test]
async fn ctrl_p_ctrl_q_leaves_it_running_and_attach_comes_back() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let mut session = Session::start(&node, &["run", "-it", "--name", "one", &node.image, "sh"])?;
    session.send(b"echo first-$((3+3))\n")?;
    session.shows("first-6")?;
    session.send(b"\x10\x11")?;
    session.ends_with(0)?;
    assert_eq!(
        ctl.ok(&["inspect", "--format", "{{.State.Status}}", "one"])?,
        "running"
    );
    let mut session = Session::start(&node, &["attach", "one"])?;
    session.send(b"echo again-$((4+4)); exit 6\n")?;
    session.shows("again-8")?;
    session.ends_with(6)?;
    ctl.ok(&["rm", "one"])?;
    node.finish().await
}

#[tokio::test]
async fn the_terminals_size_follows() -> Result<()> {
    let node = Node::start().await?;
    let line = format!(
        "stty rows 41 cols 97; {} run --rm -it {} stty size",
        harness::agent::beside_us("ctl")?.display(),
        node.image
    );
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env(
            "NODE_AGENT_HOST",
            format!("unix://{}", node.agent.socket().display()),
        )
        .stdin(Stdio::null())
        .output()
        .context("start script (package bsdutils)")?;
    let screen = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(screen.contains("41 97"), "{screen:?}");
    node.finish().await
}
