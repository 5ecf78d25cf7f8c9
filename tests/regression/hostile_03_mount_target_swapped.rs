//! A pod swaps a mount's target for a link while mounts are made.

use anyhow::Result;
use harness::node::Node;
use proto::cri::Mount;

use crate::{host_directory, is_untouched};

#[tokio::test]
async fn mounts_land_in_the_container_or_not_at_all() -> Result<()> {
    let node = Node::start().await?;
    let host = host_directory(&node)?;
    let (shared, source) = (
        node.agent.directory().join("shared"),
        node.agent.directory().join("source"),
    );
    std::fs::create_dir_all(shared.join("dir"))?;
    std::fs::create_dir(&source)?;
    std::os::unix::fs::symlink(&host, shared.join("link"))?;
    let volume = |path: &str, host_path: &std::path::Path| Mount {
        container_path: path.to_owned(),
        host_path: host_path.display().to_string(),
        ..Mount::default()
    };
    let sandbox = node.sandbox("pod").await?;
    let swap = "while :; do mv /vol/dir /vol/tmp; mv /vol/link /vol/dir; mv /vol/dir /vol/link; mv /vol/tmp /vol/dir; done 2>/dev/null";
    let mut attacker = node.container_config("attacker", &["/bin/sh", "-c", swap]);
    attacker.mounts = vec![volume("/vol", &shared)];
    node.run_of(&sandbox, &attacker).await?;
    let mut made = 0;
    for number in 0..40 {
        let mut config = node.container_config(
            &format!("victim-{number}"),
            &["/bin/touch", "/vol/dir/deep/written"],
        );
        config.mounts = vec![volume("/vol", &shared), volume("/vol/dir/deep", &source)];
        // To be refused is as good as to be confined.
        if let Ok(id) = node.run_of(&sandbox, &config).await {
            node.exited(&id).await?;
            made += 1;
        }
    }
    assert!(made > 0, "without one that was made nothing was tried");
    is_untouched(&host)?;
    node.finish().await
}
