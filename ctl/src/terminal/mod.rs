//! The terminal `ctl` itself runs in.
//!
//! Owns: its raw mode, which ends with the process however that ends, its size,
//! and the keys that detach. Does not: carry bytes; `session` does.
//! Start reading at [`RawTerminal`].

mod keys;

use std::io::{self, IsTerminal};
use std::sync::{Mutex, Once, PoisonError};

use proto::agent::TerminalSize;
use rustix::io::Errno;
use rustix::termios::{self, OptionalActions, Termios};

pub(crate) use keys::{DetachKeys, Keyboard, Pressed};

/// Why the terminal cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TerminalError {
    #[error("stdin is not a terminal, so the container cannot have it as one")]
    Missing,
    #[error("the terminal cannot be made raw")]
    Raw { source: Errno },
}

impl TerminalError {
    /// Returns what to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Missing => "leave out -t to send a file or a pipe",
            Self::Raw { .. } => "leave out -t to go without a terminal",
        }
    }
}

/// What the terminal was like before it was made raw.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// The terminal on stdin in raw mode, for as long as this lives.
#[derive(Debug)]
pub(crate) struct RawTerminal(());

impl RawTerminal {
    /// Makes the terminal raw.
    pub(crate) fn enter() -> Result<Self, TerminalError> {
        let stdin = io::stdin();
        let before = termios::tcgetattr(&stdin).map_err(|source| TerminalError::Raw { source })?;
        let mut raw = before.clone();
        raw.make_raw();
        restore_on_panic();
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        termios::tcsetattr(&stdin, OptionalActions::Now, &raw)
            .map_err(|source| TerminalError::Raw { source })?;
        Ok(Self(()))
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // A terminal that has gone away needs no restoring.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Drain, &before);
    }
}

/// Releases end in a panic without unwinding, so no destructor can be relied on.
fn restore_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            report(panic);
        }));
    });
}

/// Tells whether stdin is a terminal.
pub(crate) fn stdin_is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Returns the size of the terminal on stdout, or else on stdin, if there is one.
pub(crate) fn size() -> Option<TerminalSize> {
    let size = termios::tcgetwinsize(io::stdout())
        .or_else(|_| termios::tcgetwinsize(io::stdin()))
        .ok()?;
    // A terminal nobody has told its size has 0 of both.
    (size.ws_row > 0 && size.ws_col > 0).then(|| TerminalSize {
        rows: size.ws_row.into(),
        columns: size.ws_col.into(),
    })
}
