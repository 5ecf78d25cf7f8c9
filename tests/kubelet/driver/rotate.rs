//! Logs: renamed, opened again, and read for what was lost or doubled.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use proto::cri::ReopenContainerLogRequest;
use tonic::Code;

use super::{Kubelet, Machine, lock};

/// How often logs are rotated.
const PERIOD: Duration = Duration::from_secs(5);

impl Kubelet {
    /// Rotates the logs of all that runs, for ever.
    pub(super) async fn rotate(self: Arc<Self>) {
        let mut tick = tokio::time::interval(PERIOD);
        loop {
            tick.tick().await;
            let running: Vec<(String, PathBuf)> = {
                let world = self.world.borrow();
                let all = world.1.values().flat_map(super::relist::Seen::running);
                all.map(|(one, status)| (one.id.clone(), PathBuf::from(&status.log_path)))
                    .collect()
            };
            for (container, log) in running {
                // One kubelet at a time rotates, but it may be killed in between.
                rotate(&self.machine, &container, &log).await;
            }
        }
    }
}

/// Rotates one log, and reads what was rotated away.
async fn rotate(machine: &Machine, container: &str, log: &Path) {
    let rotated = log.with_extension("log.rotated");
    if rotated.exists() {
        // A kubelet was killed before it could have the log opened again, or right after.
        finish(machine, container, log, &rotated).await;
        return;
    }
    if std::fs::rename(log, &rotated).is_ok() {
        finish(machine, container, log, &rotated).await;
    }
}

async fn finish(machine: &Machine, container: &str, log: &Path, rotated: &Path) {
    let request = ReopenContainerLogRequest {
        container_id: container.to_owned(),
    };
    let mut runtime = machine.cri.runtime.clone();
    let call = async {
        match runtime.reopen_container_log(request).await {
            // It has ended since it was listed.
            Err(status) if matches!(status.code(), Code::NotFound | Code::FailedPrecondition) => {
                Ok(())
            }
            answer => answer.map(drop),
        }
    };
    machine.tally.call("ReopenContainerLog", call).await;
    if log.exists() {
        read(machine, rotated, log);
        drop(std::fs::remove_file(rotated));
    } else {
        // Not opened again: all of it is in one file still.
        drop(std::fs::rename(rotated, log));
    }
}

/// Reads the numbered lines of a file that is a part of `log`: they go on where the last part ended.
pub(super) fn read(machine: &Machine, file: &Path, log: &Path) {
    let Ok(text) = std::fs::read_to_string(file) else {
        return;
    };
    let mut numbers = lock(&machine.numbers);
    let mut last = numbers.get(log).copied();
    for line in text.lines() {
        let Some((_, said)) = line.split_once(" F line ") else {
            continue;
        };
        let number: Option<u64> = said.split(' ').next().and_then(|word| word.parse().ok());
        if number != Some(last.map_or(0, |last| last + 1)) {
            let what = format!("{}: {said:?} after {last:?}", log.display());
            machine.tally.complain(what);
        }
        last = number;
    }
    if let Some(last) = last {
        numbers.insert(log.to_owned(), last);
    }
}
