//! `ctl` on a real terminal: `script` of Debian's bsdutils gives it one.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};
use harness::node::Node;
use harness::{process, wait};

/// `ctl` on a terminal of its own.
pub(crate) struct Session {
    child: Child,
    screen: PathBuf,
}

impl Session {
    /// Starts `ctl` with these words.
    pub(crate) fn start(node: &Node, words: &[&str]) -> Result<Self> {
        Self::start_and_then(node, words, "")
    }

    /// Starts `ctl` with these words, and a line of shell after it.
    pub(crate) fn start_and_then(node: &Node, words: &[&str], after: &str) -> Result<Self> {
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
                &(line.join(" ") + after),
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

    /// Types these keys.
    pub(crate) fn send(&mut self, keys: &[u8]) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("the terminal is open")?;
        stdin.write_all(keys)?;
        Ok(stdin.flush()?)
    }

    /// Returns once the screen shows this text.
    pub(crate) fn shows(&self, text: &str) -> Result<()> {
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

    /// Gives the terminal another size.
    pub(crate) fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        let script = self.child.id();
        let on_it = wait::until("something runs on the terminal", || {
            Ok(process::all()?.into_iter().find(|one| one.parent == script))
        })?;
        let (rows, columns) = (rows.to_string(), columns.to_string());
        let terminal = format!("/proc/{}/fd/0", on_it.pid);
        harness::command::run(
            Command::new("stty").args(["-F", &terminal, "rows", &rows, "cols", &columns]),
        )?;
        Ok(())
    }

    /// Returns once `ctl` has ended, with this code.
    pub(crate) fn ends_with(mut self, code: i32) -> Result<()> {
        let status = wait::until("ctl ends", || Ok(self.child.try_wait()?))?;
        assert_eq!(status.code(), Some(code));
        Ok(())
    }
}
