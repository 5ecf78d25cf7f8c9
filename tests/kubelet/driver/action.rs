//! What a pod needs next, from what it is to be and what was seen of it. Pure.

use std::time::{Duration, SystemTime};

use proto::cri::{ContainerState, ContainerStatus};

use super::relist::Seen;
use crate::pod::{Container, Pod, Restart, Role};

/// Longest pause before a container is started again; a kubelet's is five minutes.
const MAX_PAUSE: Duration = Duration::from_secs(8);

/// What is to be done for a pod.
#[derive(Debug)]
pub(crate) enum Action<'a> {
    /// Nothing now.
    Wait,
    /// A sandbox of this attempt; those before are stopped first.
    Sandbox(u32),
    /// These containers, each with its attempt.
    Start(Vec<(&'a Container, u32)>),
    /// It has done what it was for: what is left of it is stopped.
    End,
}

/// Returns what a pod needs.
pub(crate) fn next<'a>(pod: &'a Pod, seen: &Seen, now: SystemTime) -> Action<'a> {
    if has_ended(pod, seen) {
        return Action::End;
    }
    let Some(ready) = seen.ready() else {
        let attempts = seen
            .sandboxes
            .iter()
            .filter_map(|one| one.metadata.as_ref());
        let last = attempts.map(|metadata| metadata.attempt).max();
        return Action::Sandbox(last.map_or(0, |last| last + 1));
    };
    let state = |container: &'a Container| State::of(container, pod, seen, &ready.id, now);
    let initialized = mains(pod).any(|main| state(main) != State::Absent);
    let mut start = Vec::new();
    for container in pod.containers.iter().filter(|one| one.role != Role::Main) {
        match state(container) {
            State::Running | State::Pausing if container.role == Role::Sidecar => {}
            _ if initialized && container.role == Role::Init => {}
            State::Done => {}
            State::Absent | State::Due => {
                start.push((container, attempt(container, seen)));
                if !initialized {
                    return Action::Start(start);
                }
            }
            State::Running | State::Pausing => return Action::Wait,
        }
    }
    for main in mains(pod) {
        if matches!(state(main), State::Absent | State::Due) {
            start.push((main, attempt(main, seen)));
        }
    }
    if start.is_empty() {
        Action::Wait
    } else {
        Action::Start(start)
    }
}

fn mains(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.containers.iter().filter(|one| one.role == Role::Main)
}

/// Whether all main containers have ended and none is to be started again, or an init container
/// has failed for good.
pub(crate) fn has_ended(pod: &Pod, seen: &Seen) -> bool {
    let ended_for_good = |container: &Container| {
        seen.newest(&container.name).is_some_and(|(_, status)| {
            status.state() == ContainerState::ContainerExited
                && !again(pod.restart, container.role, status.exit_code)
        })
    };
    let init_failed = pod.containers.iter().any(|one| {
        let failed = |(_, status): &(_, ContainerStatus)| status.exit_code != 0;
        one.role == Role::Init && ended_for_good(one) && seen.newest(&one.name).is_some_and(failed)
    });
    init_failed || mains(pod).all(ended_for_good)
}

/// Whether a main container has ended in the present sandbox and is, or soon will be, due again. It
/// runs for a moment only, which nobody can be sure to see.
pub(crate) fn is_between_attempts(pod: &Pod, seen: &Seen) -> bool {
    let Some(ready) = seen.ready() else {
        return false;
    };
    mains(pod).any(|main| {
        seen.newest(&main.name).is_some_and(|(one, status)| {
            one.pod_sandbox_id == ready.id && status.state() == ContainerState::ContainerExited
        })
    })
}

/// Whether a container that ended so is started again.
fn again(restart: Restart, role: Role, code: i32) -> bool {
    match (role, restart) {
        (Role::Sidecar, _) => true,
        (Role::Init, Restart::Always | Restart::OnFailure) | (Role::Main, Restart::OnFailure) => {
            code != 0
        }
        (Role::Main, Restart::Always) => true,
        (_, Restart::Never) => false,
    }
}

fn attempt(container: &Container, seen: &Seen) -> u32 {
    let newest = seen.newest(&container.name);
    let metadata = newest.and_then(|(one, _)| one.metadata.as_ref());
    metadata.map_or(0, |metadata| metadata.attempt + 1)
}

/// How a container stands in its pod's present sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    Running,
    /// Ended, and started again later.
    Pausing,
    /// Ended, or never started, and to be started now.
    Due,
    /// Ended, and that was that.
    Done,
}

impl State {
    fn of(container: &Container, pod: &Pod, seen: &Seen, sandbox: &str, now: SystemTime) -> Self {
        let newest = seen.newest(&container.name);
        let Some((one, status)) = newest.filter(|(one, _)| one.pod_sandbox_id == sandbox) else {
            return Self::Absent;
        };
        match status.state() {
            ContainerState::ContainerRunning => Self::Running,
            // Its start failed: the next attempt is a container of its own.
            ContainerState::ContainerCreated | ContainerState::ContainerUnknown => Self::Due,
            ContainerState::ContainerExited => {
                if !again(pod.restart, container.role, status.exit_code) {
                    return Self::Done;
                }
                let attempt = one.metadata.as_ref().map_or(0, |metadata| metadata.attempt);
                let pause = Duration::from_secs(1 << attempt.min(3)).min(MAX_PAUSE);
                let ended = Duration::from_nanos(status.finished_at.unsigned_abs());
                if SystemTime::UNIX_EPOCH + ended + pause <= now {
                    Self::Due
                } else {
                    Self::Pausing
                }
            }
        }
    }
}
