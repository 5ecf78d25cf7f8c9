//! One run of a runtime's program.

use std::ffi::CString;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_sys::process::{
    Child, Fork, Forked, Relation, fork, keep_stdio_and, leave, place_stdio, reset_signals,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{WaitId, WaitIdOptions, umask, waitid};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use serde::Deserialize;

use crate::channel::{self, ChildEnd, MakerEnd, Report};
use crate::failure::{Failure, FailureKind};
use crate::init::Step;
use crate::maker;

/// How long a runtime may take that runs no hooks, in seconds. Whoever waits for a keeper waits a little longer.
const PATIENCE: u64 = 25;

/// Where a runtime looks for the programs that it needs.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Bytes of a log that are looked at, from its beginning.
const LOG_CAP: u64 = 64 << 10;

/// What a run's process could not even begin with.
const NOT_BEGUN: i32 = 127;

/// A run that is under way.
#[derive(Debug)]
pub struct Run {
    child: Child,
    log: PathBuf,
    shown: String,
    /// Where its process has said beforehand why it would fail.
    said_before: Option<MakerEnd>,
    /// How long it may take.
    patience: Duration,
    /// Whether it was killed because it took too long.
    late: bool,
}

/// The standard streams of a run; a container's program keeps those of the run that made it.
#[derive(Debug)]
pub(crate) enum Streams {
    /// /dev/null.
    None,
    /// Input if there is any, output, error output.
    Pipes(Option<OwnedFd>, OwnedFd, OwnedFd),
}

/// A runtime's program with what it is told.
#[derive(Debug)]
pub(crate) struct Invocation<'a> {
    pub(crate) program: &'a Path,
    /// The container's directory.
    pub(crate) bundle: &'a Path,
    /// The mount namespace to run it in; `None`: the caller's.
    pub(crate) mounts: Option<BorrowedFd<'a>>,
    /// "create", "start", ...
    pub(crate) verb: &'static str,
    /// Between the verb and the container's id.
    pub(crate) options: &'a [&'a str],
    /// The container's id.
    pub(crate) id: &'a str,
    /// How long it may take.
    pub(crate) patience: Duration,
}

#[derive(Deserialize)]
struct LogLine {
    #[serde(default)]
    level: String,
    #[serde(default)]
    msg: String,
}

impl Invocation<'_> {
    /// Runs the program to its end.
    pub(crate) fn run(&self, streams: Streams) -> Result<(), Failure> {
        let mut run = self.begin(streams)?;
        run.wait();
        run.finish()
    }

    /// Begins to run the program.
    pub(crate) fn begin(&self, streams: Streams) -> Result<Run, Failure> {
        self.fork(streams, None)
    }

    /// Begins to run the program in a process that does something else first. Where that fails the
    /// program is not run; what it returns is why the program fails, if it does.
    pub(crate) fn begin_after(
        &self,
        first: impl Fn() -> Step<Option<Failure>>,
        streams: Streams,
    ) -> Result<Run, Failure> {
        self.fork(streams, Some(&first))
    }

    fn fork(&self, streams: Streams, first: Option<First<'_>>) -> Result<Run, Failure> {
        let (said_before, first) = match first {
            None => (None, None),
            Some(first) => {
                let opened = channel::open();
                let (ours, theirs) = opened.map_err(|error| {
                    let errno = std::io::Error::from_raw_os_error(error.errno());
                    Failure::io("follow", self.shown(), errno)
                })?;
                (Some(ours), Some((first, theirs)))
            }
        };
        let log = self.bundle.join(format!("{}.log", self.verb));
        let arguments = self.arguments(&log)?;
        let options = Fork {
            new: UnshareFlags::empty(),
            cgroup: None,
            relation: Relation::Child,
        };
        let child = match fork(&options) {
            Ok(Forked::Child) => {
                if let Some((first, end)) = first {
                    do_first(first, &end);
                }
                self.become_program(&arguments, &streams)
            }
            Ok(Forked::Parent(child)) => child,
            Err(error) => {
                let errno = std::io::Error::from_raw_os_error(error.errno());
                return Err(Failure::io("run", self.shown(), errno));
            }
        };
        Ok(Run {
            child,
            log,
            shown: self.shown(),
            said_before,
            patience: self.patience,
            late: false,
        })
    }

    fn shown(&self) -> String {
        format!("{} {} the container", self.program.display(), self.verb)
    }

    fn arguments(&self, log: &Path) -> Result<Vec<CString>, Failure> {
        let state = self.bundle.join("state");
        let mut words: Vec<&[u8]> = vec![
            self.program.as_os_str().as_bytes(),
            b"--root",
            state.as_os_str().as_bytes(),
            b"--log",
            log.as_os_str().as_bytes(),
            b"--log-format",
            b"json",
            self.verb.as_bytes(),
        ];
        words.extend(self.options.iter().map(|option| option.as_bytes()));
        words.push(self.id.as_bytes());
        let words = words.into_iter().map(CString::new);
        words
            .collect::<Result<_, _>>()
            .map_err(|_| Failure::invalid("run", self.shown(), "a word has a NUL byte"))
    }

    /// The child's side: its own process in the end.
    fn become_program(&self, arguments: &[CString], streams: &Streams) -> ! {
        // Nobody is left to be told why.
        let _ = self.try_become(arguments, streams);
        leave(NOT_BEGUN)
    }

    fn try_become(&self, arguments: &[CString], streams: &Streams) -> std::io::Result<()> {
        reset_signals()?;
        umask(Mode::from_raw_mode(0o022));
        if let Some(mounts) = self.mounts {
            move_into_link_name_space(mounts, Some(LinkNameSpaceType::Mount))?;
        }
        rustix::process::chdir(self.bundle)?;
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        match streams {
            Streams::None => place_stdio(null.as_fd(), null.as_fd(), null.as_fd())?,
            Streams::Pipes(stdin, stdout, stderr) => {
                let stdin = stdin.as_ref().unwrap_or(&null);
                place_stdio(stdin.as_fd(), stdout.as_fd(), stderr.as_fd())?;
            }
        }
        // It is closed with all others.
        std::mem::forget(null);
        let [] = keep_stdio_and([])?;
        let environment = [CString::new(PATH)?];
        if let Some(program) = arguments.first() {
            nix::unistd::execve(program, arguments, &environment)?;
        }
        Ok(())
    }
}

impl Run {
    /// How long a run may take that runs no hooks; then it is to be killed.
    pub const PATIENCE: Duration = Duration::from_secs(PATIENCE);

    /// Returns how long it may take.
    pub(crate) const fn patience(&self) -> Duration {
        self.patience
    }

    /// Returns what becomes readable when the program has ended.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// Ends a program that takes too long.
    pub fn kill(&mut self) {
        self.late = true;
        maker::kill(&self.child.pidfd);
    }

    /// Waits for the program to end, not for ever.
    fn wait(&mut self) {
        let patience = Timespec {
            tv_sec: i64::try_from(self.patience.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(&self.child.pidfd, PollFlags::IN)];
        let ended = loop {
            match poll(&mut fds, Some(&patience)) {
                Err(rustix::io::Errno::INTR) => {}
                Ok(count) => break count > 0,
                Err(_) => break false,
            }
        };
        if !ended {
            self.kill();
        }
    }

    /// Returns whether the program, which has ended, has done what it was to do.
    pub(crate) fn finish(self) -> Result<(), Failure> {
        let ended = exit_of(&self.child.pidfd);
        let said = said(&self.log);
        let _ = std::fs::remove_file(&self.log);
        let reason = match ended {
            _ if self.late => format!("it did not end in {} s", self.patience.as_secs()),
            0 => return Ok(()),
            NOT_BEGUN => "the program cannot be executed".to_owned(),
            code => format!("it ended with {code}"),
        };
        if let Some(end) = &self.said_before
            && !self.late
            && let Ok(Some(Report::Failed(failure))) = end.receive()
        {
            return Err(failure);
        }
        let because = match said {
            Some(said) => format!("{reason}: {said}"),
            None => reason,
        };
        // Whatever it was, it is not for the caller to mend.
        let failure = Failure::invalid("have", self.shown, "").of_kind(FailureKind::Internal);
        Err(failure.because(because))
    }
}

/// What a process does before it becomes a runtime's.
type First<'a> = &'a dyn Fn() -> Step<Option<Failure>>;

/// The child's side: what comes before the program.
fn do_first(first: First<'_>, end: &ChildEnd) {
    match first() {
        Ok(None) => {}
        Ok(Some(failure)) => end.failed(&failure),
        Err(failure) => {
            end.failed(&failure);
            leave(NOT_BEGUN)
        }
    }
}

/// Returns the exit code of a child that has ended; -1 where it has none.
fn exit_of(pidfd: &OwnedFd) -> i32 {
    loop {
        match waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(Some(status)) => return status.exit_status().unwrap_or(-1),
            Ok(None) | Err(_) => return -1,
        }
    }
}

/// Returns the last error that a runtime has logged.
fn said(log: &Path) -> Option<String> {
    let mut text = String::new();
    let file = File::open(log).ok()?;
    file.take(LOG_CAP).read_to_string(&mut text).ok()?;
    let lines = text.lines().rev();
    let mut lines = lines.filter_map(|line| serde_json::from_str::<LogLine>(line).ok());
    let line = lines.find(|line| matches!(line.level.as_str(), "error" | "fatal" | ""))?;
    Some(line.msg).filter(|msg| !msg.is_empty())
}
