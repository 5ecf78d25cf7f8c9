//! The layers of one image: obtained side by side, committed in order.

use std::sync::Arc;

use agent_registry::Repository;
use agent_types::Digest;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::Inner;
use super::error::LayerError;
use super::layer::{LayerJob, Obtained};
use super::plan::LayerPlan;
use super::progress::{LayerPhase, Progress};
use super::sync::blocking;

/// The layers to be had, and who is told how it goes.
#[derive(Debug)]
pub(super) struct Stack {
    pub(super) plans: Vec<LayerPlan>,
    pub(super) origin: Option<Repository>,
    pub(super) progress: Arc<Progress>,
}

/// Which layer failed, and why.
pub(super) type StackError = (Digest, LayerError);

impl Stack {
    /// Returns once every layer is in its place, or once everything that was begun has been
    /// cleaned up after the first failure.
    pub(super) async fn build(
        self,
        inner: &Arc<Inner>,
        cancelled: &CancellationToken,
    ) -> Result<(), StackError> {
        let stop = cancelled.child_token();
        let mut jobs = JoinSet::new();
        for plan in &self.plans {
            let job = LayerJob {
                inner: Arc::clone(inner),
                plan: plan.clone(),
                origin: self.origin.clone(),
                progress: Arc::clone(&self.progress),
                cancelled: stop.clone(),
            };
            let span = tracing::debug_span!("layer", digest = %plan.digest);
            let job = async move { (job.plan.index, Box::pin(job.obtain()).await) };
            jobs.spawn(job.instrument(span));
        }
        let mut ready: Vec<Option<Obtained>> = self.plans.iter().map(|_| None).collect();
        let mut next = 0;
        let mut outcome = Ok(());
        while let Some(done) = jobs.join_next().await {
            let (index, obtained) = match done {
                Ok(done) => done,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => continue,
                },
            };
            let failed = match obtained {
                Ok(obtained) => {
                    ready[index] = Some(obtained);
                    // Not after a failure: nobody would use what is committed then.
                    match outcome {
                        Ok(()) => self.commit_ready(inner, &mut ready, &mut next).await,
                        Err(_) => Ok(()),
                    }
                }
                Err(error) => Err((self.plans[index].digest.clone(), error)),
            };
            if failed.is_err() {
                // The others are cancelled by this; their errors say nothing new.
                stop.cancel();
                outcome = outcome.and(failed);
            }
        }
        // What was unpacked and not committed is deleted, which may take a while.
        blocking(move || drop(ready)).await;
        outcome
    }

    /// Commits the layers whose turn it is.
    async fn commit_ready(
        &self,
        inner: &Arc<Inner>,
        ready: &mut [Option<Obtained>],
        next: &mut usize,
    ) -> Result<(), StackError> {
        while let Some(obtained) = ready.get_mut(*next).and_then(Option::take) {
            let plan = self.plans[*next].clone();
            if obtained.unpacked.is_some() {
                let inner = Arc::clone(inner);
                let (digest, size) = (plan.digest.clone(), plan.size);
                blocking(move || obtained.commit(&inner, &plan))
                    .await
                    .map_err(|error| (digest, error))?;
                self.progress.layer(*next, LayerPhase::Done, size);
            }
            *next += 1;
        }
        Ok(())
    }
}
