//! Pulls in flight, each shared by everybody who asked for the same.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_registry::Auth;
use agent_types::{Platform, Reference};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::error::PullFailure;
use super::progress::Progress;
use super::pull::Pulled;
use super::record::Pin;

/// What makes two pulls the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct FlightKey {
    pub(super) reference: Reference,
    pub(super) platform: Platform,
    /// Credentials too: nobody may get what only others have access to.
    pub(super) auth: Auth,
}

/// What comes of a pull.
pub(super) type Outcome = Option<Result<Pulled, PullFailure>>;

/// One pull at work.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) progress: Arc<Progress>,
    pub(super) cancelled: CancellationToken,
    outcome: watch::Sender<Outcome>,
    wanted_by_person: AtomicBool,
}

/// The pulls in flight, and how many wait for each.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<FlightKey, (Arc<Flight>, usize)>>);

/// A place in a flight. The last one to leave before the end cancels it.
#[derive(Debug)]
pub(super) struct Seat {
    flights: Arc<Flights>,
    key: FlightKey,
    pub(super) flight: Arc<Flight>,
}

impl Flight {
    /// Says for whom the image is kept, by now.
    pub(super) fn pin(&self) -> Pin {
        match self.wanted_by_person.load(Ordering::Acquire) {
            true => Pin::Local,
            false => Pin::None,
        }
    }

    pub(super) fn outcome(&self) -> watch::Receiver<Outcome> {
        self.outcome.subscribe()
    }
}

impl Flights {
    /// Joins the flight of `key`, or starts it: then true is returned beside the seat.
    pub(super) fn join(self: &Arc<Self>, key: FlightKey, pin: Pin) -> (Seat, bool) {
        let mut flights = self.lock();
        let fresh = !flights.contains_key(&key);
        let (flight, seats) = flights.entry(key.clone()).or_insert_with(|| {
            let flight = Flight {
                progress: Progress::new(),
                cancelled: CancellationToken::new(),
                outcome: watch::Sender::new(None),
                wanted_by_person: AtomicBool::new(false),
            };
            (Arc::new(flight), 0)
        });
        *seats += 1;
        if pin == Pin::Local {
            flight.wanted_by_person.store(true, Ordering::Release);
        }
        let seat = Seat {
            flights: Arc::clone(self),
            key,
            flight: Arc::clone(flight),
        };
        (seat, fresh)
    }

    /// Ends a flight: whoever asks next starts another.
    pub(super) fn land(
        &self,
        key: &FlightKey,
        flight: &Arc<Flight>,
        outcome: Result<Pulled, PullFailure>,
    ) {
        {
            let mut flights = self.lock();
            if flights
                .get(key)
                .is_some_and(|(known, _)| Arc::ptr_eq(known, flight))
            {
                flights.remove(key);
            }
        }
        flight.outcome.send_replace(Some(outcome));
        flight.progress.end();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<FlightKey, (Arc<Flight>, usize)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        if let Some((flight, seats)) = flights.get_mut(&self.key)
            && Arc::ptr_eq(flight, &self.flight)
        {
            *seats -= 1;
            if *seats == 0 {
                self.flight.cancelled.cancel();
                flights.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> FlightKey {
        FlightKey {
            reference: name.parse().unwrap(),
            platform: Platform::host(),
            auth: Auth::Anonymous,
        }
    }

    #[test]
    fn the_last_to_leave_cancels() {
        let flights = Arc::new(Flights::default());
        let (first, fresh) = flights.join(key("a"), Pin::None);
        assert!(fresh);
        let (second, fresh) = flights.join(key("a"), Pin::Local);
        assert!(!fresh);
        assert_eq!(first.flight.pin(), Pin::Local, "one person is enough");
        let (_other, fresh) = flights.join(key("b"), Pin::None);
        assert!(fresh);
        drop(first);
        assert!(!second.flight.cancelled.is_cancelled());
        let flight = Arc::clone(&second.flight);
        drop(second);
        assert!(flight.cancelled.is_cancelled());
        let (_again, fresh) = flights.join(key("a"), Pin::None);
        assert!(fresh, "a cancelled flight is joined by nobody");
    }
}
