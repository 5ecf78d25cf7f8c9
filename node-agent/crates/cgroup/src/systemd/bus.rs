//! The conversation with systemd: calls, and the ends of its jobs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use zbus::blocking::connection::Builder;
use zbus::blocking::{Connection, MessageIterator};
use zbus::zvariant::{DynamicType, OwnedObjectPath};

use super::SystemdError;
use super::jobs::{Expected, Jobs};
use super::kept::Kept;

const DESTINATION: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
/// How long a call, and a job, may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A way to systemd; connects when first used, and again when the connection is lost.
#[derive(Debug, Default)]
pub(super) struct Bus {
    link: Kept<Link>,
}

/// One connection, and who hears on it.
#[derive(Debug)]
struct Link {
    connection: Connection,
    jobs: Arc<Jobs>,
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
        self.with_link(|link| link.call(call, unit, body).map(drop))
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
            // Before the call: the job may end before its name is known here.
            let ended = Jobs::expect(&link.jobs, unit);
            let answer = link.call(call, unit, body)?;
            let job = answer.body().deserialize::<OwnedObjectPath>();
            let job = job.map_err(refused(call, unit))?;
            finished(unit, job.as_str(), &ended)
        })
    }

    /// Works on the connection; on a new one if the kept one turns out to be dead.
    fn with_link(
        &self,
        work: impl Fn(&Link) -> Result<(), SystemdError>,
    ) -> Result<(), SystemdError> {
        let (link, is_new) = self.link.get(None, Link::open)?;
        match work(&link) {
            Err(error) if !is_new && is_lost(&error) => {
                tracing::info!(error = %error, "connection to systemd lost");
            }
            done => return done,
        }
        let (link, _) = self.link.get(Some(&link), Link::open)?;
        work(&link)
    }
}

/// Returns what turns an error of the bus into one that names the call.
fn refused(call: &'static str, unit: &str) -> impl FnOnce(zbus::Error) -> SystemdError {
    let unit = unit.to_owned();
    move |source| SystemdError::Call {
        call,
        unit,
        source: Box::new(source),
    }
}

/// Says whether a call failed because nobody is at the other end. Who takes too long is there.
fn is_lost(error: &SystemdError) -> bool {
    let SystemdError::Call { source, .. } = error else {
        return false;
    };
    matches!(&**source, zbus::Error::InputOutput(io) if io.kind() != std::io::ErrorKind::TimedOut)
}

/// Waits for a job's end.
fn finished(unit: &str, job: &str, ended: &Expected) -> Result<(), SystemdError> {
    match ended.wait(job, Instant::now() + PATIENCE).as_deref() {
        Some("done") => Ok(()),
        Some(result) => Err(SystemdError::Job {
            unit: unit.to_owned(),
            result: result.to_owned(),
        }),
        None => Err(SystemdError::Late {
            unit: unit.to_owned(),
        }),
    }
}

impl Link {
    fn open() -> Result<Self, SystemdError> {
        Self::connect().map_err(|source| SystemdError::Connect {
            source: Box::new(source),
        })
    }

    fn connect() -> zbus::Result<Self> {
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
        let removed = MessageIterator::for_match_rule(rule, &connection, None)?;
        let jobs = Arc::new(Jobs::default());
        let told = Arc::clone(&jobs);
        std::thread::Builder::new()
            .name("systemd-jobs".to_owned())
            .spawn(move || hear(removed, &told))
            .map_err(|source| zbus::Error::InputOutput(Arc::new(source)))?;
        Ok(Self { connection, jobs })
    }

    fn call<B>(
        &self,
        call: &'static str,
        unit: &str,
        body: &B,
    ) -> Result<zbus::Message, SystemdError>
    where
        B: serde::Serialize + DynamicType,
    {
        let answer =
            self.connection
                .call_method(Some(DESTINATION), PATH, Some(MANAGER), call, body);
        answer.map_err(refused(call, unit))
    }
}

/// Passes the ends of jobs on to who waits for them, until the connection ends.
fn hear(removed: MessageIterator, jobs: &Jobs) {
    for message in removed.map_while(Result::ok) {
        let body = message.body();
        let parsed = body.deserialize::<(u32, zbus::zvariant::ObjectPath<'_>, &str, &str)>();
        if let Ok((_, job, unit, result)) = parsed {
            jobs.ended(unit, job.as_str(), result);
        }
    }
    jobs.close();
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn failed(kind: io::ErrorKind) -> SystemdError {
        let source = zbus::Error::InputOutput(Arc::new(kind.into()));
        refused("StopUnit", "a.slice")(source)
    }

    #[test]
    fn a_systemd_that_takes_too_long_is_not_lost() {
        assert!(!is_lost(&failed(io::ErrorKind::TimedOut)));
        assert!(is_lost(&failed(io::ErrorKind::BrokenPipe)));
        let unit = "a.slice".to_owned();
        assert!(!is_lost(&SystemdError::Late { unit }));
    }

    #[test]
    fn a_job_may_end_well_badly_or_unheard_of() {
        let jobs = Arc::new(Jobs::default());
        let ended = Jobs::expect(&jobs, "a.slice");
        jobs.ended("a.slice", "/job/1", "done");
        jobs.ended("a.slice", "/job/2", "canceled");
        assert!(finished("a.slice", "/job/1", &ended).is_ok());
        let bad = finished("a.slice", "/job/2", &ended).unwrap_err();
        assert!(matches!(bad, SystemdError::Job { result, .. } if result == "canceled"));
        jobs.close();
        let late = finished("a.slice", "/job/3", &ended).unwrap_err();
        assert!(matches!(late, SystemdError::Late { .. }));
    }
}
