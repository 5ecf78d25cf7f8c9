//! Probes: a command in one container after another, many times a second.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use super::config::NAME;
use super::{Kubelet, lock};

/// Probes under way at a time.
const AT_ONCE: usize = 32;

/// Seconds that a probe may take.
const TIMEOUT: i64 = 30;

impl Kubelet {
    /// Probes, for ever.
    pub(super) async fn probe(self: Arc<Self>) {
        let mut tick = tokio::time::interval(Duration::from_secs(1) / self.probes.max(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let room = Arc::new(Semaphore::new(AT_ONCE));
        let mut under_way = tokio::task::JoinSet::new();
        for turn in 0_usize.. {
            tick.tick().await;
            while under_way.try_join_next().is_some() {}
            let probes = self.probes();
            let Some((uid, container, line)) = probes.get(turn % probes.len().max(1)).cloned()
            else {
                continue;
            };
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            let kubelet = Arc::clone(&self);
            under_way.spawn(async move {
                kubelet.ask(&uid, &container, &line).await;
                drop(permit);
            });
        }
    }

    /// Returns what is to be probed: pod, container, line.
    fn probes(&self) -> Vec<(String, String, String)> {
        let world = self.world.borrow();
        let mut probes = Vec::new();
        for pod in self.pods() {
            let Some(seen) = world.1.get(&pod.uid) else {
                continue;
            };
            for (one, _) in seen.running() {
                let name = one.labels.get(NAME);
                let of_name = pod
                    .containers
                    .iter()
                    .find(|container| Some(&container.name) == name);
                if let Some(line) = of_name.and_then(|container| container.probe.clone()) {
                    probes.push((pod.uid.clone(), one.id.clone(), line));
                }
            }
        }
        probes
    }

    async fn ask(&self, uid: &str, container: &str, line: &str) {
        let cri = &self.machine.cri;
        let wanted = || lock(&self.wanted).contains_key(uid);
        let command = ["/bin/sh", "-c", line];
        let call = async {
            match cri.exec(container, &command, TIMEOUT).await {
                // Its pod was deleted meanwhile.
                Err(_) if !wanted() => Ok(None),
                Err(status) => Err(status),
                Ok(answer) => Ok(Some(answer)),
            }
        };
        if let Some(Some(answer)) = self.machine.tally.call("ExecSync", call).await
            && (answer.exit_code != 0 || answer.stdout != b"alive\n")
            && wanted()
        {
            self.machine
                .tally
                .complain(format!("probe of {container}: {answer:?}"));
        }
    }
}
