//! What the tests of `ctl` stand on: a fake agent, and the real binary driven against it.
//!
//! Start reading at [`Agent`].

pub(crate) mod fake;
pub(crate) mod pty;
pub(crate) mod samples;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;

use expect_test::Expect;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tempfile::TempDir;

use fake::{Fake, Shared};

/// A fake agent on a socket of its own.
pub(crate) struct Agent {
    directory: TempDir,
    shared: Shared,
    // Ends the server's thread when it goes.
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Agent {
    /// Starts an agent that knows what `prepare` gives it.
    pub(crate) fn new(prepare: impl FnOnce(&mut Fake)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut fake = Fake::default();
        prepare(&mut fake);
        let (shared, stop) = fake::serve(fake, &directory.path().join("agent.sock"));
        Self {
            directory,
            shared,
            _stop: stop,
        }
    }

    /// Starts an agent with nothing on it.
    pub(crate) fn empty() -> Self {
        Self::new(|_| {})
    }

    /// Returns a directory for the files of a test.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns a `ctl` command line that speaks to this agent; words are divided by blanks.
    pub(crate) fn ctl(&self, line: &str) -> Ctl {
        self.ctl_words(
            &line
                .split(' ')
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>(),
        )
    }

    /// Returns a `ctl` command line of these words.
    pub(crate) fn ctl_words(&self, words: &[&str]) -> Ctl {
        let socket = self.directory.path().join("agent.sock");
        Ctl::new(
            words,
            &format!("unix://{}", socket.display()),
            self.directory.path(),
        )
    }

    /// Returns what was asked of the agent, a line for each request.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shared.requests()
    }

    /// Waits until something was asked of the agent.
    pub(crate) fn wait_for(&self, request: &str) {
        self.shared.wait_for(request);
    }

    /// Lets `act` see and change what the agent knows.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut Fake) -> T) -> T {
        self.shared.with(act)
    }
}

/// Ends a command that does not end by itself, and then fails.
fn watch(child: &Child) -> JoinHandle<()> {
    let pid = Pid::from_child(child);
    let fd = pidfd_open(pid, PidfdFlags::empty()).expect("a descriptor");
    std::thread::spawn(move || {
        let limit = Timespec::try_from(fake::DEADLINE).expect("short");
        let ended = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)).expect("polled");
        if ended == 0 {
            pidfd_send_signal(&fd, Signal::KILL).expect("sent");
            panic!("ctl did not end");
        }
    })
}

/// A command line.
pub(crate) struct Ctl {
    pub(crate) command: Command,
    input: Vec<u8>,
    directory: PathBuf,
}

impl Ctl {
    fn new(words: &[&str], host: &str, directory: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ctl"));
        command
            .args(words)
            .env_clear()
            .env("NODE_AGENT_HOST", host)
            .env("HOME", directory)
            .env("TZ", "UTC")
            .env("TERM", "xterm")
            .current_dir(directory);
        Self {
            command,
            input: Vec::new(),
            directory: directory.to_owned(),
        }
    }

    /// Returns a command line for which there is no agent.
    pub(crate) fn alone(line: &str) -> Self {
        let words: Vec<_> = line.split(' ').filter(|word| !word.is_empty()).collect();
        Self::new(&words, "unix:///does/not/exist.sock", Path::new("/"))
    }

    /// Gives the command a variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Gives the command this on its stdin.
    pub(crate) fn input(mut self, input: &[u8]) -> Self {
        self.input = input.to_vec();
        self
    }

    /// Runs the command to its end.
    pub(crate) fn output(&mut self) -> Output {
        let command = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("ctl starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = std::mem::take(&mut self.input);
        let writer = std::thread::spawn(move || {
            // A command that does not read its input closes it.
            let _ = stdin.write_all(&input);
        });
        let watched = watch(&child);
        let output = child.wait_with_output().expect("ctl ends");
        watched.join().expect("ctl ends in time");
        writer.join().expect("the writer ends");
        output
    }

    /// Runs the command and compares its code and output with what is expected.
    pub(crate) fn check(mut self, expected: &Expect) {
        let output = self.output();
        expected.assert_eq(&self.shown(&output));
    }

    fn shown(&self, output: &Output) -> String {
        let code = output
            .status
            .code()
            .map_or("none".into(), |code| code.to_string());
        let mut text = format!("exit {code}\n");
        for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            if !bytes.is_empty() {
                text.push_str(&format!("--- {name}\n{}", String::from_utf8_lossy(bytes)));
            }
        }
        let directory = self.directory.display().to_string();
        if directory == "/" {
            text
        } else {
            text.replace(&directory, "[DIRECTORY]")
        }
    }
}
