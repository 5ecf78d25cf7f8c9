//! One run of a hook.

use std::ffi::CString;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, Instant};

use agent_sys::process::{
    Child, Fork, Forked, Relation, fork, keep_stdio_and, leave, place_stdio, reset_signals,
};
use agent_types::HookStage;
use oci_spec::runtime::Hook;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, Mode, SeekFrom};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process_group,
    set_parent_process_death_signal, umask, waitid,
};
use rustix::thread::UnshareFlags;

use super::hooked::limit;
use crate::failure::{Failure, FailureKind};
use crate::init::Step;
use crate::maker;

/// Most bytes of what a hook writes that are told: the last ones.
const SAID_CAP: usize = 400;

/// Most bytes that are read of what is left in the pipe when it has ended.
const LEFT_CAP: usize = 1 << 16;

/// How a process ends that could not become the hook.
const NOT_BEGUN: i32 = 127;

/// A hook's words, ready for `execve`.
struct Words {
    path: CString,
    args: Vec<CString>,
    env: Vec<CString>,
}

/// Runs a hook to its end, or to the end of its time, in a process of its own that first does what
/// `enter` does. Nothing of its process group is left then.
pub(super) fn run(
    stage: HookStage,
    hook: &Hook,
    state: &[u8],
    enter: impl FnOnce() -> rustix::io::Result<()>,
) -> Step<()> {
    let shown = || format!("{stage} hook {}", hook.path().display());
    let failed = |error: io::Error| Failure::io("run", shown(), error);
    let words = Words::of(hook).map_err(failed)?;
    let input = memory_of(state).map_err(failed)?;
    let (output, theirs) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
    rustix::io::ioctl_fionbio(&output, true).map_err(|error| failed(error.into()))?;
    let options = Fork {
        new: UnshareFlags::empty(),
        cgroup: None,
        relation: Relation::Child,
    };
    let child = match fork(&options) {
        Ok(Forked::Child) => words.become_hook(&input, &theirs, enter),
        Ok(Forked::Parent(child)) => child,
        Err(error) => return Err(failed(io::Error::from_raw_os_error(error.errno()))),
    };
    drop(theirs);
    let limit = limit(hook);
    let mut said = Said::default();
    let late = !follow(&child, &output, &mut said, Instant::now() + limit);
    let status = end(&child, late);
    said.take_rest(&output);
    let reason = match status.as_ref().and_then(WaitIdStatus::exit_status) {
        _ if late => format!("it did not end in {} s", limit.as_secs()),
        Some(0) => return Ok(()),
        Some(code) => format!("it ended with {code}"),
        None => {
            let signal = status.as_ref().and_then(WaitIdStatus::terminating_signal);
            format!("it was killed by signal {}", signal.unwrap_or(0))
        }
    };
    let failure = Failure::invalid("run", shown(), "").of_kind(FailureKind::Internal);
    Err(failure.because(said.after(reason)))
}

/// Returns a file that has these bytes, to be read from its beginning.
fn memory_of(bytes: &[u8]) -> io::Result<OwnedFd> {
    let memory = rustix::fs::memfd_create("state", MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(memory);
    file.write_all(bytes)?;
    rustix::fs::seek(&file, SeekFrom::Start(0))?;
    Ok(file.into())
}

/// Waits for the end of the hook, reading what it says; `false`: its time is up.
fn follow(child: &Child, output: &OwnedFd, said: &mut Said, deadline: Instant) -> bool {
    let mut open = true;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = vec![PollFd::new(&child.pidfd, PollFlags::IN)];
        if open {
            fds.push(PollFd::new(output, PollFlags::IN));
        }
        match poll(&mut fds, Some(&timespec(left))) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            // Nothing can be seen of it: as good as no end.
            Err(_) => return false,
        }
        let ended = fds.first().is_some_and(|fd| !fd.revents().is_empty());
        open = said.take(output);
        if ended {
            return true;
        }
        if left.is_zero() {
            return false;
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// Ends the hook where it is late, and whatever it has left of its group; returns how it ended.
fn end(child: &Child, late: bool) -> Option<WaitIdStatus> {
    // Its number is its own until it is waited for.
    if let Some(group) = Pid::from_raw(child.pid) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    if late {
        maker::kill(&child.pidfd);
    }
    loop {
        match waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            other => return other.ok().flatten(),
        }
    }
}

/// The last of what a hook has written.
#[derive(Default)]
struct Said(Vec<u8>);

impl Said {
    /// Takes what there is, some of it at most; `false`: nothing more will come.
    fn take(&mut self, output: &OwnedFd) -> bool {
        let mut bytes = [0_u8; 4096];
        match rustix::io::read(output, &mut bytes) {
            Ok(0) => false,
            Ok(length) => {
                self.0
                    .extend_from_slice(bytes.get(..length).unwrap_or_default());
                let over = self.0.len().saturating_sub(SAID_CAP);
                self.0.drain(..over);
                true
            }
            Err(Errno::AGAIN | Errno::INTR) => true,
            Err(_) => false,
        }
    }

    fn take_rest(&mut self, output: &OwnedFd) {
        for _ in 0..LEFT_CAP / 4096 {
            let mut fds = [PollFd::new(output, PollFlags::IN)];
            let none = timespec(Duration::ZERO);
            if !matches!(poll(&mut fds, Some(&none)), Ok(1)) || !self.take(output) {
                return;
            }
        }
    }

    /// Adds it to a reason; it may be anybody's words.
    fn after(&self, reason: String) -> String {
        let text = String::from_utf8_lossy(&self.0);
        match text.trim() {
            "" => reason,
            text => format!("{reason}: {text:?}"),
        }
    }
}

impl Words {
    fn of(hook: &Hook) -> io::Result<Self> {
        let words = |words: Option<&[String]>| {
            let words = words.unwrap_or_default().iter();
            words
                .map(|word| CString::new(word.as_str()))
                .collect::<Result<Vec<_>, _>>()
        };
        let path = CString::new(hook.path().as_os_str().as_bytes())?;
        let mut args = words(hook.args().as_deref())?;
        if args.is_empty() {
            args.push(path.clone());
        }
        Ok(Self {
            path,
            args,
            env: words(hook.env().as_deref())?,
        })
    }

    /// The child's side: the hook's own process in the end.
    fn become_hook(
        &self,
        input: &OwnedFd,
        output: &OwnedFd,
        enter: impl FnOnce() -> rustix::io::Result<()>,
    ) -> ! {
        if let Err(error) = self.try_become(input, output, enter) {
            let text = format!("the program cannot be executed: {error}");
            // Nobody else is left to be told.
            let _ = rustix::io::write(rustix::stdio::stdout(), text.as_bytes());
        }
        leave(NOT_BEGUN)
    }

    fn try_become(
        &self,
        input: &OwnedFd,
        output: &OwnedFd,
        enter: impl FnOnce() -> rustix::io::Result<()>,
    ) -> io::Result<()> {
        place_stdio(input.as_fd(), output.as_fd(), output.as_fd())?;
        set_parent_process_death_signal(Some(Signal::KILL))?;
        rustix::process::setsid()?;
        reset_signals()?;
        umask(Mode::from_raw_mode(0o022));
        enter()?;
        let [] = keep_stdio_and([])?;
        nix::unistd::execve(&self.path, &self.args, &self.env)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_told_and_escaped() {
        let mut said = Said::default();
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        rustix::io::ioctl_fionbio(&ours, true).unwrap();
        let text = format!("{}\nfailed: \u{1b}[31mno\n", "x".repeat(9000));
        rustix::io::write(&theirs, text.as_bytes()).unwrap();
        drop(theirs);
        said.take_rest(&ours);
        let shown = said.after("it ended with 3".to_owned());
        assert!(shown.ends_with("\\nfailed: \\u{1b}[31mno\""), "{shown}");
        assert!(shown.len() < 500, "{shown}");
        assert_eq!(Said::default().after("late".to_owned()), "late");
    }
}
