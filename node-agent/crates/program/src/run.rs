//! Runs a program once: pipes, a process group of its own, an end in time.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, Interest};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};

use super::one_line;

/// How much of the end of standard error is kept, in bytes.
const KEPT_COMPLAINT: usize = 1 << 10;

/// How long the pipes of a program that ended are read on: a child it left behind may hold them.
const LINGER: Duration = Duration::from_millis(500);

/// How long a killed program is waited for; one that the kernel does not let go is left to it.
const REAP: Duration = Duration::from_secs(2);

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

impl Ending {
    /// Returns whether the program says that it has done what it was to do.
    #[must_use]
    pub fn is_success(self) -> bool {
        self == Self::Exited(0)
    }
}

impl From<ExitStatus> for Ending {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, signal) => Self::Killed(signal.unwrap_or_default()),
        }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "ended with code {code}"),
            Self::Killed(signal) => write!(f, "was killed by signal {signal}"),
        }
    }
}

/// The variables that a program sees.
#[derive(Debug)]
pub enum Environment {
    /// Those of this process.
    Inherited,
    /// These alone.
    Only(Vec<(&'static str, String)>),
}

/// A program to run.
#[derive(Debug)]
pub struct Run<'a> {
    /// Its file.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: &'a [&'a str],
    /// Its variables.
    pub environment: Environment,
    /// What it reads from standard input.
    pub input: Vec<u8>,
    /// How long it may run.
    pub limit: Duration,
    /// Most bytes that it may answer.
    pub most: usize,
}

/// What became of it.
pub struct Output {
    /// How it ended.
    pub ending: Ending,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// The end of standard error, as one line.
    pub said: String,
}

impl fmt::Debug for Output {
    // An answer may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("ending", &self.ending)
            .field("stdout", &self.stdout.len())
            .field("said", &self.said)
            .finish()
    }
}

/// Why a program did not come to its own end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// It could not be started.
    #[error("{} could not be started", path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was lost sight of, and killed.
    #[error("{} could not be followed", path.display())]
    Follow {
        /// The program.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It did not end in time; it was killed.
    #[error("{} did not end within {} s and was killed", path.display(), limit.as_secs_f32())]
    TimedOut {
        /// The program.
        path: PathBuf,
        /// How long it had.
        limit: Duration,
        /// The end of what it wrote to standard error.
        said: String,
    },
    /// It writes without end; it was killed.
    #[error("{} answered with more than {limit} bytes and was killed", path.display())]
    TooMuch {
        /// The program.
        path: PathBuf,
        /// Most bytes that are taken.
        limit: usize,
    },
}

/// What a program has written so far.
#[derive(Default)]
struct Heard {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

/// Why listening to a program was given up.
enum Broken {
    TooMuch,
    Io(io::Error),
}

/// Runs a program to its end. Where it fails, takes too long, says too much, or the caller goes
/// away, everything in its process group is killed.
///
/// # Errors
/// Says why it did not come to its own end; how it ended otherwise is no error.
pub async fn run(run: Run<'_>) -> Result<Output, RunError> {
    let path = || run.program.to_owned();
    let follow = |source| RunError::Follow {
        path: path(),
        source,
    };
    let mut child = spawn(&run)?;
    // Dropped before the child is: its number is not another's before it is waited for.
    let group = Group::of(&child).map_err(follow)?;
    let mut heard = Heard::default();
    let listened = tokio::time::timeout(
        run.limit,
        listen(&mut child, &group, (&run.input, run.most), &mut heard),
    )
    .await;
    let said = one_line(&String::from_utf8_lossy(&heard.stderr), KEPT_COMPLAINT);
    let failure = match listened {
        Ok(Ok(())) => {
            let ending = end(&mut child, group).await.map_err(follow)?;
            return Ok(Output {
                ending,
                stdout: heard.stdout,
                said,
            });
        }
        Ok(Err(Broken::TooMuch)) => RunError::TooMuch {
            path: path(),
            limit: run.most,
        },
        Ok(Err(Broken::Io(source))) => follow(source),
        Err(_) => RunError::TimedOut {
            path: path(),
            limit: run.limit,
            said,
        },
    };
    drop(group);
    // Nobody is told before it is gone, or what it does would be undone under its hands.
    let _ = tokio::time::timeout(REAP, child.wait()).await;
    Err(failure)
}

fn spawn(run: &Run<'_>) -> Result<Child, RunError> {
    let mut command = tokio::process::Command::new(run.program);
    if let Environment::Only(variables) = &run.environment {
        let variables = variables.iter().map(|(key, value)| (key, value));
        command.env_clear().envs(variables);
    }
    command
        .args(run.arguments)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|source| RunError::Start {
            path: run.program.to_owned(),
            source,
        })
}

/// Waits for a program that has ended; kills what it left behind where it failed.
async fn end(child: &mut Child, group: Group) -> io::Result<Ending> {
    let failed = !group.leader_succeeded()?;
    if failed {
        drop(group);
    } else {
        group.leave();
    }
    Ok(child.wait().await?.into())
}

/// Feeds a program and hears it until it has ended.
async fn listen(
    child: &mut Child,
    group: &Group,
    (input, most): (&[u8], usize),
    heard: &mut Heard,
) -> Result<(), Broken> {
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(Broken::Io(io::ErrorKind::BrokenPipe.into()));
    };
    let mut talk = Box::pin(talk((stdin, stdout, stderr), (input, most), heard));
    let mut ended = Box::pin(group.leader_ended());
    tokio::select! {
        done = &mut talk => {
            done?;
            ended.await.map_err(Broken::Io)
        }
        done = &mut ended => {
            done.map_err(Broken::Io)?;
            // What is in the pipes by now is all that it said.
            tokio::time::timeout(LINGER, talk).await.unwrap_or(Ok(()))
        }
    }
}

async fn talk(
    (mut stdin, stdout, stderr): (ChildStdin, ChildStdout, ChildStderr),
    (input, most): (&[u8], usize),
    heard: &mut Heard,
) -> Result<(), Broken> {
    let write = async move {
        // A program that does not read says more by its answer than the broken pipe does.
        let _ = stdin.write_all(input).await;
        Ok(())
    };
    let Heard {
        stdout: answer,
        stderr: complaint,
    } = heard;
    tokio::try_join!(
        write,
        read_answer(stdout, answer, most),
        read_complaint(stderr, complaint)
    )?;
    Ok(())
}

async fn read_answer(mut from: ChildStdout, into: &mut Vec<u8>, most: usize) -> Result<(), Broken> {
    while read_some(&mut from, into).await? > 0 {
        if into.len() > most {
            return Err(Broken::TooMuch);
        }
    }
    Ok(())
}

/// Reads to the end and keeps the last of it.
async fn read_complaint(mut from: ChildStderr, into: &mut Vec<u8>) -> Result<(), Broken> {
    while read_some(&mut from, into).await? > 0 {
        let surplus = into.len().saturating_sub(KEPT_COMPLAINT);
        into.drain(..surplus);
    }
    Ok(())
}

async fn read_some(
    from: &mut (impl AsyncRead + Unpin),
    into: &mut Vec<u8>,
) -> Result<usize, Broken> {
    into.reserve(4096);
    from.read_buf(into).await.map_err(Broken::Io)
}

/// A program's process group, killed when this is dropped.
struct Group {
    /// Group and leader: the leader is not waited for while this stands, so the number is its.
    leader: Pid,
    pidfd: AsyncFd<OwnedFd>,
    armed: bool,
}

impl Group {
    fn of(child: &Child) -> io::Result<Self> {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let leader = id.and_then(Pid::from_raw).ok_or(io::ErrorKind::NotFound)?;
        let pidfd = rustix::process::pidfd_open(leader, PidfdFlags::NONBLOCK)?;
        Ok(Self {
            leader,
            pidfd: register(pidfd)?,
            armed: true,
        })
    }

    /// Waits until the leader has ended; it stays a zombie until it is waited for.
    async fn leader_ended(&self) -> io::Result<()> {
        self.pidfd.readable().await.map(drop)
    }

    /// Says whether the leader, which has ended, ended well; leaves it to be waited for.
    fn leader_succeeded(&self) -> io::Result<bool> {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(self.leader), options)?;
        Ok(status.is_some_and(|status| status.exit_status() == Some(0)))
    }

    /// Lets what a program left behind on purpose live.
    fn leave(mut self) {
        self.armed = false;
    }
}

#[expect(
    deprecated,
    reason = "the sound constructor is unsafe; an OwnedFd always answers with the same descriptor"
)]
fn register(pidfd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.armed {
            // It has no member any more: what was wanted.
            let _ = rustix::process::kill_process_group(self.leader, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(line: &str, limit: Duration) -> Result<Output, RunError> {
        run(Run {
            program: Path::new("/bin/sh"),
            arguments: &["-c", line],
            environment: Environment::Only(vec![("WORD", "here".to_owned())]),
            input: b"in".to_vec(),
            limit,
            most: 1000,
        })
        .await
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_program_is_fed_and_heard() {
        let output = shell("cat; echo $WORD; echo no >&2; exit 3", LONG).await;
        let output = output.unwrap();
        assert_eq!(output.ending, Ending::Exited(3));
        assert_eq!(output.stdout, b"inhere\n");
        assert_eq!(output.said, "no");
        assert!(!format!("{output:?}").contains("here"));
    }

    #[tokio::test]
    async fn one_that_says_too_much_or_takes_too_long_is_killed() {
        let endless = shell("while :; do echo more; done", LONG).await;
        assert!(matches!(endless, Err(RunError::TooMuch { .. })));
        let silent = shell("sleep 1000 & echo $! >&2; wait", Duration::from_secs(1)).await;
        let Err(RunError::TimedOut { said, .. }) = silent else {
            panic!("it did end");
        };
        // What it started is in its group, and ends with it.
        if let Ok(child) = said.parse::<i32>() {
            let child = Pid::from_raw(child).unwrap();
            if let Ok(pidfd) = rustix::process::pidfd_open(child, PidfdFlags::NONBLOCK) {
                drop(register(pidfd).unwrap().readable().await.unwrap());
            }
        }
    }

    #[tokio::test]
    async fn one_that_is_not_there_is_named() {
        let run = run(Run {
            program: Path::new("/nonexistent/program"),
            arguments: &[],
            environment: Environment::Inherited,
            input: Vec::new(),
            limit: LONG,
            most: 10,
        });
        let error = run.await.unwrap_err().to_string();
        assert!(error.contains("/nonexistent/program"), "{error}");
    }
}
