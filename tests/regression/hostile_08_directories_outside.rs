//! The directories that a mount needs are made where a link leads that appears meanwhile.

use anyhow::Result;
use harness::node::Node;
use proto::cri::Mount;

use crate::{host_directory, is_untouched};

#[tokio::test]
async fn missing_directories_are_made_inside() -> Result<()> {
    let node = Node::start().await?;
    let host = host_directory(&node)?;
    let (shared, source) = (
        node.agent.directory().join("shared"),
        node.agent.directory().join("source"),
    );
    std::fs::create_dir(&shared)?;
    std::fs::create_dir(&source)?;
    std::fs::write(node.agent.directory().join("file"), "")?;
    let volume = |path: &str, host_path: &std::path::Path| Mount {
        container_path: path.to_owned(),
        host_path: host_path.display().to_string(),
        ..Mount::default()
    };
    let sandbox = node.sandbox("pod").await?;
    // In turns it is a directory that can be filled, a link out, and nothing.
    let swap = format!(
        "while :; do mkdir /vol/a; rm -rf /vol/a; ln -s {} /vol/a; rm /vol/a; done 2>/dev/null",
        host.display()
    );
    let mut attacker = node.container_config("attacker", &["/bin/sh", "-c", &swap]);
    attacker.mounts = vec![volume("/vol", &shared)];
    node.run_of(&sandbox, &attacker).await?;
    let mut made = 0;
    for number in 0..40 {
        let mut config = node.container_config(&format!("victim-{number}"), &["/bin/true"]);
        config.mounts = vec![
            volume("/vol", &shared),
            volume("/vol/a/b/c", &source),
            volume("/vol/a/d/file", &node.agent.directory().join("file")),
        ];
        // To be refused is as good as to be confined.
        if let Ok(id) = node.run_of(&sandbox, &config).await {
            node.exited(&id).await?;
            made += 1;
        }
        is_untouched(&host)?;
    }
    assert!(made > 0, "without one that was made nothing was tried");
    node.finish().await
}
