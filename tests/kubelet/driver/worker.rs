//! One task for each pod: looks at what was seen of it and does what it needs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use tokio::task::JoinSet;

use super::action::{self, Action};
use super::relist::Seen;
use super::{Kubelet, lock};
use crate::pod::{Pod, Source};

impl Kubelet {
    /// Has a worker for each pod that is wanted, and for each that is there.
    pub(super) async fn dispatch(self: Arc<Self>) {
        let mut workers = JoinSet::new();
        let mut known = BTreeSet::new();
        let mut world = self.world.subscribe();
        // Nothing is decided before the first look.
        while world.changed().await.is_ok() {
            let there: Vec<String> = world.borrow_and_update().1.keys().cloned().collect();
            // Static pods come first: they are what the others may need.
            let mut wanted = self.pods();
            wanted.sort_by_key(|pod| pod.source != Source::File);
            let wanted = wanted.into_iter().map(|pod| pod.uid);
            for uid in wanted.chain(there) {
                if known.insert(uid.clone()) {
                    let kubelet = Arc::clone(&self);
                    workers.spawn(async move {
                        kubelet.work(&uid).await;
                        uid
                    });
                }
            }
            while let Some(done) = workers.try_join_next() {
                match done {
                    Ok(uid) => drop(known.remove(&uid)),
                    Err(error) => self.machine.tally.complain(format!("a worker: {error}")),
                }
            }
        }
    }

    /// Works on a pod until it is gone.
    async fn work(&self, uid: &str) {
        let mut last: Option<Pod> = None;
        let mut newer = self.clock.load(Ordering::SeqCst);
        loop {
            let Some(seen) = self.seen_since(uid, newer).await else {
                return;
            };
            let wanted = lock(&self.wanted).get(uid).cloned();
            if wanted.is_none() && seen.sandboxes.is_empty() && seen.containers.is_empty() {
                return;
            }
            match &wanted {
                Some(pod) => self.bring_on(pod, &seen).await,
                // Deleted, or left by a kubelet that knew of it.
                None => self.end(uid, last.as_ref(), &seen).await,
            }
            last = wanted.or(last);
            newer = self.clock.fetch_add(1, Ordering::SeqCst) + 1;
        }
    }

    /// Returns what a look has seen of a pod that began at `clock` or later.
    async fn seen_since(&self, uid: &str, clock: u64) -> Option<Seen> {
        let mut world = self.world.subscribe();
        let found = world.wait_for(|(begun, _)| *begun >= clock).await.ok()?;
        Some(found.1.get(uid).cloned().unwrap_or_default())
    }

    /// Does what a pod needs next.
    async fn bring_on(&self, pod: &Pod, seen: &Seen) {
        match action::next(pod, seen, SystemTime::now()) {
            Action::Wait => {}
            Action::End => self.end(&pod.uid, Some(pod), seen).await,
            Action::Sandbox(attempt) => {
                if !seen.sandboxes.is_empty() {
                    self.end(&pod.uid, Some(pod), seen).await;
                }
                self.make_sandbox(pod, attempt).await;
            }
            Action::Start(containers) => {
                let Some(sandbox) = seen.ready() else { return };
                let attempts = sandbox.metadata.as_ref().map(|metadata| metadata.attempt);
                for (container, attempt) in containers {
                    self.start(
                        pod,
                        &sandbox.id,
                        attempts.unwrap_or_default(),
                        container,
                        attempt,
                    )
                    .await;
                }
            }
        }
    }

    /// Returns the pods that have not come as far as they can: none of their containers runs, they
    /// do not wait for their next attempt, and they have not ended. With each, what was last seen of it.
    pub(crate) fn missing(&self) -> Vec<(String, Seen)> {
        let world = self.world.borrow();
        let pods = self.pods().into_iter();
        let seen = pods.map(|pod| {
            let seen = world.1.get(&pod.uid).cloned().unwrap_or_default();
            (pod, seen)
        });
        let is_up = |pod: &Pod, seen: &Seen| {
            seen.running().count() > 0
                || action::has_ended(pod, seen)
                || action::is_between_attempts(pod, seen)
        };
        seen.filter(|(pod, seen)| !is_up(pod, seen))
            .map(|(pod, seen)| (pod.name, seen))
            .collect()
    }
}
