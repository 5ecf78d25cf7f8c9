//! Pull: from a reference to an image on this node.

use std::pin::Pin as PinBox;
use std::sync::Arc;
use std::task::{Context, Poll};

use agent_registry::Auth;
use agent_types::{Digest, Platform, Reference};
use tracing::Instrument as _;

use super::error::{PullError, PullFailure};
use super::flight::{Flight, FlightKey};
use super::progress::PullEvents;
use super::record::{ImageRecord, Pin};
use super::work::Work;
use super::{Images, Inner};

/// What to pull.
#[derive(Debug, Clone)]
pub struct PullSpec {
    /// The image.
    pub reference: Reference,
    /// What it should run on; none: this node.
    pub platform: Option<Platform>,
    /// Who asks.
    pub auth: Auth,
    /// Whether it is kept for a person.
    pub pin: Pin,
}

/// A pull under way.
#[derive(Debug)]
pub struct Pull {
    /// What it says.
    pub events: PullEvents,
    /// What comes of it. Dropping it leaves the pull; the last one to leave cancels it.
    pub done: PullDone,
}

/// Resolves when the pull has ended.
pub struct PullDone(PinBox<Box<dyn Future<Output = Result<Pulled, PullFailure>> + Send>>);

/// An image that is here now.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The image.
    pub image: Arc<ImageRecord>,
    /// Digest of the manifest or index that the reference named.
    pub digest: Digest,
    /// Whether anything had to be done.
    pub outcome: PullOutcome,
}

/// Whether a pull had anything to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullOutcome {
    /// Something was fetched or unpacked.
    Downloaded,
    /// The image was here.
    UpToDate,
}

impl Future for PullDone {
    type Output = Result<Pulled, PullFailure>;

    fn poll(mut self: PinBox<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl std::fmt::Debug for PullDone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PullDone")
    }
}

impl Images {
    /// Pulls an image, or joins a pull of the same image for the same platform and credentials.
    /// Needs a tokio runtime around it. The pull goes on whether or not anybody polls.
    #[must_use]
    pub fn pull(&self, spec: PullSpec) -> Pull {
        let key = FlightKey {
            reference: spec.reference,
            platform: spec.platform.unwrap_or_else(Platform::host),
            auth: spec.auth,
        };
        let (seat, fresh) = self.inner.flights.join(key.clone(), spec.pin);
        let flight = Arc::clone(&seat.flight);
        let events = flight.progress.events();
        let mut outcome = flight.outcome();
        if fresh {
            let landing = Landing {
                inner: Arc::clone(&self.inner),
                key,
                flight,
                outcome: None,
            };
            // Whoever joins it later finds its spans with the one who began it.
            tokio::spawn(landing.fly().in_current_span());
        }
        let done = async move {
            // The seat is what keeps the pull going.
            let _seat = seat;
            loop {
                if let Some(result) = outcome.borrow_and_update().clone() {
                    return result;
                }
                if outcome.changed().await.is_err() {
                    // The seat holds the flight and that the sender, so it cannot be gone.
                    std::future::pending::<()>().await;
                }
            }
        };
        Pull {
            events,
            done: PullDone(Box::pin(done)),
        }
    }
}

/// Lands the flight, whatever happens to the work.
struct Landing {
    inner: Arc<Inner>,
    key: FlightKey,
    flight: Arc<Flight>,
    outcome: Option<Result<Pulled, PullFailure>>,
}

impl Landing {
    async fn fly(mut self) {
        let work = Work {
            inner: &self.inner,
            key: &self.key,
            flight: &self.flight,
            name: self.key.reference.familiar(),
        };
        let outcome = Box::pin(work.pull()).await;
        match &outcome {
            Ok(pulled) => tracing::info!(
                image = %pulled.image.id,
                reference = work.name,
                outcome = ?pulled.outcome,
                "image pulled"
            ),
            // Whoever waits reports it.
            Err(error) => tracing::debug!(reference = work.name, %error, "image not pulled"),
        }
        self.outcome = Some(outcome.map_err(PullFailure::from));
    }
}

impl Drop for Landing {
    fn drop(&mut self) {
        let cancelled = || {
            Err(PullError::Cancelled {
                reference: self.key.reference.familiar(),
            }
            .into())
        };
        let outcome = self.outcome.take().unwrap_or_else(cancelled);
        self.inner.flights.land(&self.key, &self.flight, outcome);
    }
}
