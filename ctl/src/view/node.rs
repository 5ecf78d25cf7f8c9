//! What `version` and `info` know.

use proto::agent::{InfoResponse, VersionResponse};
use serde_json::{Value, json};

/// Returns ctl's own version.
pub(crate) fn client() -> Value {
    json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "ApiVersion": "agent.v1",
        "Os": std::env::consts::OS,
        "Arch": std::env::consts::ARCH,
    })
}

/// Returns the agent's version.
pub(crate) fn server(answer: &VersionResponse) -> Value {
    json!({
        "Version": answer.version,
        "ApiVersion": answer.api_version,
        "GitCommit": answer.git_commit,
        "Os": answer.os,
        "Arch": answer.architecture,
        "KernelVersion": answer.kernel,
    })
}

/// Returns what the agent says of itself and its node.
pub(crate) fn info(answer: &InfoResponse) -> Value {
    json!({
        "Name": answer.name,
        "ServerVersion": answer.version,
        "Containers": answer.containers,
        "ContainersRunning": answer.containers_running,
        "ContainersStopped": answer.containers_exited,
        "Sandboxes": answer.sandboxes,
        "Images": answer.images,
        "ImageBytes": answer.image_bytes,
        "CgroupDriver": answer.cgroup_driver,
        "CgroupVersion": answer.cgroup_version,
        "KernelVersion": answer.kernel,
        "OperatingSystem": answer.os,
        "Architecture": answer.architecture,
        "NCPU": answer.cpus,
        "MemTotal": answer.memory,
        "RootDir": answer.root,
        "StateDir": answer.state,
        "Bridge": answer.bridge,
        "Subnets": answer.subnets,
        "Warnings": answer.warnings,
    })
}
