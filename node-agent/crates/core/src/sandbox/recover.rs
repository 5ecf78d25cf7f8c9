//! What a shim left behind says of its containers.

use agent_shim_client::{ExitReport, read_exit_file};
use agent_types::{ContainerId, SandboxId};

use crate::services::{Services, blocking};

/// Reads the exits that a dead shim had written.
pub(crate) async fn exit_reports(
    services: &Services,
    sandbox: &SandboxId,
    containers: Vec<ContainerId>,
) -> Vec<ExitReport> {
    let directory = services.paths().sandbox(sandbox);
    let read = move || {
        containers
            .iter()
            .filter_map(|id| match read_exit_file(&directory, id) {
                Ok(report) => report,
                Err(error) => {
                    tracing::warn!(container_id = %id, error = %agent_telemetry::chain(&error), "exit file not read");
                    None
                }
            })
            .collect()
    };
    blocking(read).await.unwrap_or_default()
}
