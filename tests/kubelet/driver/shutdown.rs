//! The node goes down: pods first, then those that the node itself needs.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;

use super::{Running, lock};
use crate::pod::{Pod, Source};

impl Running {
    /// Stops every pod, static ones last; starts nothing again.
    pub(crate) async fn shut_down(&mut self) {
        // Whatever it was at is cut short, as by systemd's order to inhibit no longer.
        self.tasks.shutdown().await;
        self.tasks.spawn(Arc::clone(&self.kubelet).relist());
        let all: BTreeMap<String, Pod> = lock(&self.kubelet.wanted).clone();
        let source = |uid: &str| all.get(uid).map_or(Source::Api, |pod| pod.source);
        for turn in [Source::Api, Source::File] {
            loop {
                self.kubelet.look().await;
                let world = self.kubelet.world.borrow().1.clone();
                // Those too that were being deleted when the order came.
                let up: Vec<_> = world
                    .iter()
                    .filter(|(uid, seen)| source(uid) == turn && seen.is_up())
                    .collect();
                if up.is_empty() {
                    break;
                }
                join_all(up.iter().map(|(uid, seen)| {
                    let pod = all.get(uid.as_str());
                    self.kubelet.end(uid, pod, seen)
                }))
                .await;
            }
        }
    }

    /// Removes all that is left, as a kubelet does once no pod is wanted.
    pub(crate) async fn clear(&mut self) {
        lock(&self.kubelet.wanted).clear();
        loop {
            self.kubelet.look().await;
            if self.kubelet.world.borrow().1.is_empty() {
                return;
            }
            self.kubelet.collect_now().await;
        }
    }
}
