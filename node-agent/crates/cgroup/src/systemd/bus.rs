//! The conversation with systemd: calls, and the ends of its jobs.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use zbus::blocking::connection::Builder;
use zbus::blocking::{Connection, MessageIterator};
use zbus::zvariant::DynamicType;

use super::SystemdError;

const DESTINATION: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
/// How long a call, and a job, may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who waits for a unit's job to end.
type Waiters = Mutex<HashMap<String, Sender<String>>>;

/// A way to systemd; connects when first used, and again when the connection is lost.
#[derive(Debug, Default)]
pub(super) struct Bus {
    link: Mutex<Option<Link>>,
}

/// One connection, and who hears on it.
#[derive(Debug, Clone)]
struct Link {
    connection: Connection,
    waiters: Arc<Waiters>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bus {
    /// Calls a method that starts no job.
    pub(super) fn call<B>(
        &self,
        call: &'static str,
        unit: &str,
        body: &B,
    ) -> Result<(), SystemdError>
    where
        B: serde::Serialize + DynamicType,
    {
        self.with_link(|link| link.call(call, unit, body))
    }

    /// Calls a method that starts a job for `unit`, and waits for the job's end.
    pub(super) fn run<B>(
        &self,
        call: &'static str,
        unit: &str,
        body: &B,
    ) -> Result<(), SystemdError>
    where
        B: serde::Serialize + DynamicType,
    {
        self.with_link(|link| {
            let ended = link.expect(unit);
            let result = link.call(call, unit, body);
            let result = result.and_then(|()| finished(unit, &ended));
            locked(&link.waiters).remove(unit);
            result
        })
    }

    /// Works on the connection; on a new one if the kept one turns out to be dead.
    fn with_link(
        &self,
        work: impl Fn(&Link) -> Result<(), SystemdError>,
    ) -> Result<(), SystemdError> {
        let kept = locked(&self.link).clone();
        if let Some(link) = kept {
            match work(&link) {
                Err(error) if is_lost(&error) => {
                    tracing::info!(error = %error, "connection to systemd lost");
                    *locked(&self.link) = None;
                }
                done => return done,
            }
        }
        let link = Link::open().map_err(|source| SystemdError::Connect {
            source: Box::new(source),
        })?;
        *locked(&self.link) = Some(link.clone());
        work(&link)
    }
}

/// Says whether a call failed because nobody is at the other end.
fn is_lost(error: &SystemdError) -> bool {
    matches!(error, SystemdError::Call { source, .. } if matches!(**source, zbus::Error::InputOutput(_)))
}

/// Waits for a job's end.
fn finished(unit: &str, ended: &Receiver<String>) -> Result<(), SystemdError> {
    match ended.recv_timeout(PATIENCE) {
        Ok(result) if result == "done" => Ok(()),
        Ok(result) => Err(SystemdError::Job {
            unit: unit.to_owned(),
            result,
        }),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            Err(SystemdError::Late {
                unit: unit.to_owned(),
            })
        }
    }
}

impl Link {
    fn open() -> zbus::Result<Self> {
        let connection = Builder::system()?.method_timeout(PATIENCE).build()?;
        // systemd tells of jobs only while somebody has asked it to.
        connection.call_method(Some(DESTINATION), PATH, Some(MANAGER), "Subscribe", &())?;
        let rule = zbus::MatchRule::builder()
            .msg_type(zbus::message::Type::Signal)
            .sender(DESTINATION)?
            .path(PATH)?
            .interface(MANAGER)?
            .member("JobRemoved")?
            .build();
        let jobs = MessageIterator::for_match_rule(rule, &connection, None)?;
        let waiters = Arc::new(Waiters::default());
        let told = Arc::clone(&waiters);
        std::thread::Builder::new()
            .name("systemd-jobs".to_owned())
            .spawn(move || hear(jobs, &told))
            .map_err(|source| zbus::Error::InputOutput(Arc::new(source)))?;
        Ok(Self {
            connection,
            waiters,
        })
    }

    fn expect(&self, unit: &str) -> Receiver<String> {
        let (sender, ended) = channel();
        locked(&self.waiters).insert(unit.to_owned(), sender);
        ended
    }

    fn call<B>(&self, call: &'static str, unit: &str, body: &B) -> Result<(), SystemdError>
    where
        B: serde::Serialize + DynamicType,
    {
        let answer =
            self.connection
                .call_method(Some(DESTINATION), PATH, Some(MANAGER), call, body);
        answer.map(drop).map_err(|source| SystemdError::Call {
            call,
            unit: unit.to_owned(),
            source: Box::new(source),
        })
    }
}

/// Passes the ends of jobs on to who waits for them, until the connection ends.
fn hear(jobs: MessageIterator, waiters: &Waiters) {
    for message in jobs.map_while(Result::ok) {
        let body = message.body();
        let parsed = body.deserialize::<(u32, zbus::zvariant::ObjectPath<'_>, &str, &str)>();
        let Ok((_, _, unit, result)) = parsed else {
            continue;
        };
        if let Some(waiter) = locked(waiters).get(unit) {
            // Who gave up waiting needs no answer.
            let _ = waiter.send(result.to_owned());
        }
    }
    locked(waiters).clear();
}
