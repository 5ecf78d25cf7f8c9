//! `ctl` in a terminal: the test holds its other side.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::Ctl;
use super::fake::DEADLINE;

/// A command in a terminal.
pub(crate) struct Terminal {
    master: File,
    /// Kept open so that what the command leaves the terminal in can be seen.
    slave: OwnedFd,
    child: Child,
    seen: String,
}

fn winsize(rows: u16, columns: u16) -> Winsize {
    Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

impl Terminal {
    /// Starts a command in a terminal of 24 rows and 80 columns.
    pub(crate) fn start(mut ctl: Ctl) -> Self {
        let pair = nix::pty::openpty(None, None).expect("a terminal");
        tcsetwinsize(&pair.master, winsize(24, 80)).expect("sized");
        let side = || Stdio::from(pair.slave.try_clone().expect("a descriptor"));
        let child = ctl
            .command
            .stdin(side())
            .stdout(side())
            .stderr(side())
            .spawn()
            .expect("ctl starts");
        Self {
            master: File::from(pair.master),
            slave: pair.slave,
            child,
            seen: String::new(),
        }
    }

    /// Types.
    pub(crate) fn types(&mut self, text: &str) {
        self.master
            .write_all(text.as_bytes())
            .expect("the terminal takes it");
    }

    /// Reads until `text` has been shown.
    pub(crate) fn shows(&mut self, text: &str) {
        let until = Instant::now() + DEADLINE;
        while !self.seen.contains(text) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "{text:?} was not shown, but {:?}",
                self.seen
            );
            let mut ready = [PollFd::new(&self.master, PollFlags::IN)];
            let limit = Timespec::try_from(left).expect("short");
            if poll(&mut ready, Some(&limit)).expect("polled") > 0 {
                let mut buffer = [0; 1024];
                let count = self.master.read(&mut buffer).expect("read");
                self.seen
                    .push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        }
    }

    /// Gives the terminal another size, of which the kernel tells those it controls.
    pub(crate) fn resizes(&mut self, rows: u16, columns: u16) {
        tcsetwinsize(&self.master, winsize(rows, columns)).expect("sized");
        self.signals(Signal::SIGWINCH);
    }

    /// Sends `ctl` a signal.
    pub(crate) fn signals(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        kill(pid, signal).expect("sent");
    }

    /// Tells whether the terminal is as a shell leaves it: lines are edited and echoed.
    pub(crate) fn is_cooked(&self) -> bool {
        let modes = tcgetattr(&self.slave).expect("a terminal").local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Waits for the end of the command.
    pub(crate) fn ends(&mut self) -> ExitStatus {
        let watched = super::watch(&self.child);
        let status = self.child.wait().expect("ctl ends");
        watched.join().expect("ctl ends in time");
        status
    }
}
