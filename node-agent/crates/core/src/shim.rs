//! What a shim's refusals mean to the verbs.

use agent_shim_client::{Events, Refusal, RequestError, ShimEvent};
use rustix::io::Errno;

fn refusal(error: &RequestError) -> Option<Refusal> {
    match error {
        RequestError::Refused { refusal, .. } => Some(*refusal),
        _ => None,
    }
}

/// Returns docker's exit code for a program that could not be executed: 127 when it is not
/// there, 126 when it cannot be executed; `None` for everything else.
pub(crate) fn program_exit_code(error: &RequestError) -> Option<i32> {
    match refusal(error)? {
        Refusal::ProgramNotFound => Some(127),
        Refusal::ProgramNotExecutable => Some(126),
        _ => None,
    }
}

/// Returns docker's exit code for a session's working directory that cannot be entered: 127 when
/// it is not there, 126 when it is none or may not be; `None` for everything else.
pub(crate) fn directory_exit_code(error: &RequestError) -> Option<i32> {
    let RequestError::Refused {
        refusal: Refusal::Invalid,
        errno,
        ..
    } = error
    else {
        return None;
    };
    // Where the kernel refused nothing the number is 0, which is no `Errno`.
    let is = |known: Errno| *errno == known.raw_os_error();
    if is(Errno::NOENT) {
        Some(127)
    } else if is(Errno::NOTDIR) || is(Errno::ACCESS) {
        Some(126)
    } else {
        None
    }
}

/// Returns whether what was named, or the shim itself, is no more.
pub(crate) fn is_over(error: &RequestError) -> bool {
    matches!(error, RequestError::Gone) || refusal(error) == Some(Refusal::NotFound)
}

/// Returns an event that was heard already; never waits.
pub(crate) fn heard(events: &mut Events) -> Option<ShimEvent> {
    use futures_util::FutureExt;
    events.next().now_or_never().flatten()
}
