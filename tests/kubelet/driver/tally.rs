//! What was called, how long it took, and what went wrong that may not.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use proto::cri::ContainerStatus;
use tonic::Status;

use super::config;

/// How one container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) code: i32,
    pub(crate) reason: String,
    /// Its last words.
    pub(crate) message: String,
    pub(crate) finished_at: i64,
}

/// What is known of one kind of call.
#[derive(Clone, Debug, Default)]
struct Calls {
    times: Vec<Duration>,
    /// Failed while the agent was away.
    excused: usize,
}

/// Ends by pod and container, then by attempt.
pub(crate) type Ends = BTreeMap<(String, String), BTreeMap<u32, End>>;

#[derive(Debug, Default)]
struct State {
    calls: BTreeMap<&'static str, Calls>,
    unexpected: Vec<String>,
    ends: Ends,
}

/// The sum of it, over all restarts of either side.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    state: Mutex<State>,
    /// Odd while the agent is away or on its way.
    disturbances: AtomicU64,
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that the agent goes, or is back.
    pub(crate) fn disturb(&self) {
        self.disturbances.fetch_add(1, Ordering::SeqCst);
    }

    /// Makes a call. `None`: it failed, and it is known here whether it may.
    pub(crate) fn call<'a, T>(
        &'a self,
        name: &'static str,
        call: impl Future<Output = Result<T, Status>> + Send + 'a,
    ) -> BoxFuture<'a, Option<T>> {
        let call = Box::pin(call);
        Box::pin(async move {
            let (before, begun) = (self.disturbances.load(Ordering::SeqCst), Instant::now());
            let answer = call.await;
            let undisturbed =
                before.is_multiple_of(2) && before == self.disturbances.load(Ordering::SeqCst);
            self.note(name, undisturbed.then(|| begun.elapsed()), answer)
        })
    }

    /// Notes the answer to a call, and how long it took where nothing disturbed it.
    fn note<T>(
        &self,
        name: &'static str,
        took: Option<Duration>,
        answer: Result<T, Status>,
    ) -> Option<T> {
        let mut state = self.lock();
        let calls = state.calls.entry(name).or_default();
        match answer {
            Ok(answer) => {
                calls.times.extend(took);
                return Some(answer);
            }
            Err(status) if took.is_some() => {
                let what = format!("{name}: {:?}: {}", status.code(), status.message());
                state.unexpected.push(what);
            }
            Err(_) => calls.excused += 1,
        }
        None
    }

    /// Notes something that may not be.
    pub(crate) fn complain(&self, what: String) {
        self.lock().unexpected.push(what);
    }

    /// Notes how a container ended, where it has.
    pub(crate) fn ended(&self, pod: &str, name: &str, status: &ContainerStatus) {
        let Some(metadata) = &status.metadata else {
            return self.complain(format!("a status without metadata: {status:?}"));
        };
        let key = (pod.to_owned(), name.to_owned());
        let end = End {
            code: status.exit_code,
            reason: status.reason.clone(),
            message: config::message(status).unwrap_or_default(),
            finished_at: status.finished_at,
        };
        self.lock()
            .ends
            .entry(key)
            .or_default()
            .insert(metadata.attempt, end);
    }

    /// Returns all ends so far.
    pub(crate) fn ends(&self) -> Ends {
        self.lock().ends.clone()
    }

    /// Returns what went wrong that may not.
    pub(crate) fn unexpected(&self) -> Vec<String> {
        self.lock().unexpected.clone()
    }

    /// Returns how many calls of a name were answered.
    pub(crate) fn answered(&self, name: &str) -> usize {
        self.lock()
            .calls
            .get(name)
            .map_or(0, |calls| calls.times.len())
    }

    /// Returns a line for each kind of call.
    pub(crate) fn report(&self) -> String {
        let mut text = String::new();
        for (name, calls) in &mut self.lock().calls {
            calls.times.sort_unstable();
            let at = |part: usize| {
                let index =
                    (calls.times.len() * part / 100).min(calls.times.len().saturating_sub(1));
                calls.times.get(index).copied().unwrap_or_default()
            };
            text.push_str(&format!(
                "{name:24} {:7} p50 {:>9.1?} p99 {:>9.1?} max {:>9.1?} excused {}\n",
                calls.times.len(),
                at(50),
                at(99),
                at(100),
                calls.excused,
            ));
        }
        text
    }
}
