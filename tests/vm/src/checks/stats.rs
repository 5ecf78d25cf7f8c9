//! Statistics of v2.

use anyhow::{Context as _, Result, ensure};
use proto::cri::{ContainerStatsRequest, LinuxContainerResources};

use crate::guest::Guest;

pub(super) async fn tell_what_is_used(guest: &mut Guest) -> Result<()> {
    let sandbox = guest.sandbox("pod", "").await?;
    let line = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; touch /tmp/done; exec pause";
    let resources = LinuxContainerResources {
        memory_limit_in_bytes: 64 << 20,
        ..Default::default()
    };
    let config = guest.container("main", &["/bin/sh", "-c", line], resources);
    let id = guest.run(&sandbox, &config).await?;
    let wait = "until [ -e /tmp/done ]; do sleep 0.1; done";
    guest.exec(&id, wait).await?;
    harness::wait::until_async("the work is counted", || async {
        let request = ContainerStatsRequest {
            container_id: id.clone(),
        };
        let mut runtime = guest.cri.runtime.clone();
        let stats = runtime.container_stats(request).await?.into_inner().stats;
        let stats = stats.context("no stats")?;
        let cpu = stats.cpu.and_then(|cpu| cpu.usage_core_nano_seconds);
        let memory = stats.memory.unwrap_or_default();
        ensure!(cpu.is_some_and(|used| used.value > 1_000_000), "{cpu:?}");
        ensure!(
            memory
                .working_set_bytes
                .is_some_and(|bytes| bytes.value > 0)
                && memory
                    .available_bytes
                    .is_some_and(|bytes| bytes.value < 64 << 20),
            "{memory:?}"
        );
        Ok(Some(()))
    })
    .await
}
