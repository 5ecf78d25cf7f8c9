//! One agent at a time makes the host ready, or takes off it what it made: whoever puts a setting
//! back must know that nobody begins to count on it meanwhile.

use std::fs::File;
use std::time::Duration;

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// What is locked: only root may open it, every network namespace has one of its own, and it is
/// always there. Nothing is written to it.
const FILE: &str = "/proc/sys/net/ipv4/route/flush";
/// How long another agent may take; one that hangs holds nobody up for longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Ours until this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _lock: Option<File>,
}

/// Waits for its turn, but not for ever: without it, agents that come and go at the same moment may
/// leave a setting changed.
pub(crate) async fn take() -> Turn {
    let file = match open() {
        Ok(file) => file,
        Err(error) => {
            tracing::warn!(path = FILE, error = %error, "lock of the host's network not opened");
            return Turn { _lock: None };
        }
    };
    let waited = tokio::time::timeout(PATIENCE, async {
        while let Err(error) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != Errno::WOULDBLOCK {
                return Err(error);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    });
    match waited.await {
        Ok(Ok(())) => return Turn { _lock: Some(file) },
        Ok(Err(error)) => {
            tracing::warn!(path = FILE, error = %error, "lock of the host's network not taken");
        }
        Err(_) => tracing::warn!(
            path = FILE,
            "another agent changes the host's network for long"
        ),
    }
    Turn { _lock: None }
}

fn open() -> Result<File, Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
    rustix::fs::open(FILE, flags, Mode::empty()).map(File::from)
}
