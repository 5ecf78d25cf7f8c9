//! The last steps of a process: out of the maker's sight, into its own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use agent_sys::process::{Fork, Forked, Relation, fork, keep_stdio_and, leave, place_stdio};
use agent_types::user::User;
use rustix::fs::{Mode, OFlags, Uid};
use rustix::io::Errno;
use rustix::process::umask;
use rustix::thread::UnshareFlags;

use super::Step;
use super::credentials::Credentials;
use super::devices::{is_null, open_null};
use super::in_root::InRoot;
use super::process::{Limits, set_limits};
use super::program::Program;
use super::terminal::{self, Terminal};
use crate::channel::ChildEnd;
use crate::failure::Failure;
use crate::hooks::Hooked;
use crate::maker::Birth;
use crate::request::{ResolvedUser, Stdio};
use crate::times::Times;

/// Whether a process waits before its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Until its maker says go.
    ForRelease,
    /// It does not.
    Not,
}

/// A process in its container, with everything but its last steps done.
#[derive(Debug)]
pub(super) struct Launch<'a> {
    pub(super) credentials: Credentials<'a>,
    pub(super) program: Program,
    /// Taken when it is handed to the maker.
    pub(super) terminal: Option<Terminal>,
    pub(super) has_terminal: bool,
    pub(super) limits: Limits,
    pub(super) umask: Mode,
    pub(super) birth: Birth,
    pub(super) wait: Wait,
    /// What is run before the program.
    pub(super) hooks: Option<&'a Hooked>,
    /// What the maker is told of how it went.
    pub(super) times: Times,
}

/// Puts the streams in place, owned by the user; returns the terminal if there is one.
pub(super) fn place_streams(
    root: InRoot<'_>,
    stdio: &Stdio,
    user: &User,
) -> Step<Option<Terminal>> {
    let failed = |error| Failure::io("set up", "the standard streams", error);
    let terminal = match stdio {
        Stdio::Terminal { rows, columns } => {
            let terminal = terminal::open(root, *rows, *columns)?;
            let slave = terminal.slave.as_fd();
            place_stdio(slave, slave, slave).map_err(failed)?;
            Some(terminal)
        }
        Stdio::Pipes {
            stdin: Some(stdin),
            stdout,
            stderr,
        } => {
            place_stdio(stdin.as_fd(), stdout.as_fd(), stderr.as_fd()).map_err(failed)?;
            None
        }
        Stdio::Pipes {
            stdin: None,
            stdout,
            stderr,
        } => {
            let null = open_null(root, OFlags::RDWR)?;
            place_stdio(null.as_fd(), stdout.as_fd(), stderr.as_fd()).map_err(failed)?;
            None
        }
    };
    let streams = [
        rustix::stdio::stdin(),
        rustix::stdio::stdout(),
        rustix::stdio::stderr(),
    ];
    for stream in streams {
        own(stream, user.uid).map_err(failed)?;
    }
    Ok(terminal)
}

/// Gives a stream to the user, so that it can be opened again by its name under /proc.
fn own(stream: BorrowedFd<'_>, uid: u32) -> std::io::Result<()> {
    if is_null(stream)? {
        return Ok(());
    }
    match rustix::fs::fchown(stream, Some(Uid::from_raw(uid)), None) {
        // Some files have no owner to change; they work all the same.
        Ok(()) | Err(Errno::INVAL | Errno::PERM | Errno::ROFS) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

impl Launch<'_> {
    /// Reports to the maker and becomes the program.
    pub(super) fn run(mut self, end: ChildEnd) -> ! {
        // Only the master is needed from here on: the slave is in place as the standard streams.
        let master = self.terminal.take().map(|terminal| terminal.master);
        let kept = match master {
            None => keep_stdio_and([end.into()]).map(|[end]| (end, None)),
            Some(master) => {
                keep_stdio_and([end.into(), master]).map(|[end, master]| (end, Some(master)))
            }
        };
        // The maker learns of our end.
        let (end, master) = kept.unwrap_or_else(|_| leave(1));
        let end = ChildEnd::from(end);
        if let Err(failure) = set_limits(&self.limits.files) {
            fail(&end, &failure);
        }
        match self.birth {
            Birth::Direct | Birth::Inside | Birth::First => self.launch_here(&end, master),
            Birth::Sibling => self.launch_sibling(&end, master),
        }
    }

    fn launch_here(self, end: &ChildEnd, master: Option<OwnedFd>) -> ! {
        let fds: Vec<_> = master.iter().map(AsFd::as_fd).collect();
        if end.ready(&self.report(), self.times, 0, &fds).is_err() {
            leave(1);
        }
        drop(fds);
        drop(master);
        self.finish(end)
    }

    /// Gives up all rights, then forks a sibling into the namespace where others can see it: it is born with the streams, the
    /// channel and its own terminal, and nothing else.
    fn launch_sibling(self, end: &ChildEnd, master: Option<OwnedFd>) -> ! {
        if let Err(failure) = self.credentials.assume() {
            fail(end, &failure);
        }
        let sibling = Fork {
            new: UnshareFlags::empty(),
            cgroup: None,
            relation: Relation::Sibling,
        };
        match fork(&sibling) {
            Ok(Forked::Child) => self.finish(end),
            Ok(Forked::Parent(child)) => {
                let mut fds = vec![child.pidfd.as_fd()];
                fds.extend(master.iter().map(AsFd::as_fd));
                // Where nobody listens any more, the sibling finds out by itself.
                let _ = end.ready(&self.report(), self.times, child.pid, &fds);
                leave(0)
            }
            Err(error) => {
                let errno = std::io::Error::from_raw_os_error(error.errno());
                fail(end, &Failure::io("fork", "into the PID namespace", errno))
            }
        }
    }

    fn report(&self) -> ResolvedUser {
        let user = self.credentials.user();
        ResolvedUser {
            uid: user.uid,
            gid: user.gid,
            groups: user.groups.clone(),
        }
    }

    /// Waits where that is asked for, then executes the program.
    fn finish(&self, end: &ChildEnd) -> ! {
        if let Err(failure) = self.take_session() {
            fail(end, &failure);
        }
        if self.wait == Wait::ForRelease && !end.wait_for_release() {
            leave(1);
        }
        let hooks = || self.hooks.map_or(Ok(()), Hooked::before_program);
        let failure = match self.last_steps().and_then(|()| hooks()) {
            Ok(()) => self.program.execute(),
            Err(failure) => failure,
        };
        fail(end, &failure)
    }

    fn take_session(&self) -> Step<()> {
        rustix::process::setsid().map_err(|error| Failure::io("begin", "a session", error))?;
        if self.has_terminal {
            terminal::control()?;
        }
        Ok(())
    }

    fn last_steps(&self) -> Step<()> {
        if self.birth != Birth::Sibling {
            self.credentials.assume()?;
        }
        set_limits(&self.limits.processes)?;
        umask(self.umask);
        self.credentials.seal()
    }
}

fn fail(end: &ChildEnd, failure: &Failure) -> ! {
    end.failed(failure);
    leave(failure.kind().exit_code())
}
