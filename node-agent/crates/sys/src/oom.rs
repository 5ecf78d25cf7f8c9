//! Hearing of the OOM killer in a memory cgroup of v1, also of one that somebody else removes.
//!
//! The kernel counts kills in the cgroup's own `memory.oom_control` and nowhere above it, and that
//! file goes with the cgroup. What it says through an eventfd stays with whoever holds that.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// The calls of the OOM killer in one cgroup of v1.
#[derive(Debug)]
pub struct OomCalls {
    events: OwnedFd,
}

impl OomCalls {
    /// Begins to listen in the cgroup that `directory` is.
    ///
    /// # Errors
    /// What the kernel says where it is no memory cgroup of v1, or no more descriptors can be had.
    pub fn of(directory: BorrowedFd<'_>) -> io::Result<Self> {
        let open = |name, access| {
            let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(directory, name, flags, Mode::empty())
        };
        let control = open("memory.oom_control", OFlags::RDONLY)?;
        let registry = open("cgroup.event_control", OFlags::WRONLY)?;
        let events = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        let pair = format!("{} {}", events.as_raw_fd(), control.as_raw_fd());
        rustix::io::write(&registry, pair.as_bytes())?;
        Ok(Self { events })
    }

    /// Returns how often the OOM killer was called, here or for a cgroup above, since this was
    /// asked last. The end of the cgroup is told in the same way: it counts as one more, once the
    /// kernel's grace period after its removal is over.
    #[must_use]
    pub fn take(&self) -> u64 {
        let mut count = [0; 8];
        loop {
            match rustix::io::read(self.events.as_fd(), &mut count) {
                Ok(_) => return u64::from_ne_bytes(count),
                Err(Errno::INTR) => {}
                Err(_) => return 0,
            }
        }
    }
}
