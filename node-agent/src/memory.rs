//! Gives back what a burst of work leaves behind in memory, once the agent is quiet.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// How often the agent looks how busy it was.
const PERIOD: Duration = Duration::from_secs(5);
/// Time on processors in a period up to which the agent is quiet: one in a hundred.
const QUIET: Duration = Duration::from_millis(50);
/// Time on processors since the last time below which there is nothing to give back.
const WORTHWHILE: Duration = Duration::from_millis(20);

/// Heaps of threads: more of them only keep more apart.
const HEAPS: u8 = 2;

/// Sets up the allocator; before any thread is started.
pub(crate) fn prepare() {
    agent_sys::heap::limit(HEAPS);
}

/// Gives memory back whenever a busy time is over; never returns.
pub(crate) async fn give_back() {
    let mut given_back = Duration::ZERO;
    let mut before = used();
    loop {
        tokio::time::sleep(PERIOD).await;
        let now = used();
        let quiet = now.saturating_sub(before) <= QUIET;
        before = now;
        if quiet && now.saturating_sub(given_back) >= WORTHWHILE {
            let done = tokio::task::spawn_blocking(release).await;
            given_back = used();
            if let Err(error) = done {
                tracing::warn!(error = %error, "giving memory back was interrupted");
            }
        }
    }
}

fn release() {
    agent_sys::heap::trim();
    if let Err(error) = agent_sys::code::let_go() {
        tracing::debug!(error = %error, "code not given back");
    }
}

/// Returns how long this process ran on processors.
fn used() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}
