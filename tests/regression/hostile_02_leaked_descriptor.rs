//! A working directory of /proc/self/fd/N stands on a leaked descriptor of the host's.

use anyhow::Result;
use harness::node::Node;

use crate::host_directory;

#[tokio::test]
async fn no_descriptor_leads_out() -> Result<()> {
    let node = Node::start().await?;
    let marker = host_directory(&node)?.join("marker");
    let sandbox = node.sandbox("pod").await?;
    for number in 0..50 {
        let line = format!(
            "test ! -e ../../../../../../../..{} && test $(ls /proc/self/fd | wc -l) = 4",
            marker.display()
        );
        let mut config =
            node.container_config(&format!("main-{number}"), &["/bin/sh", "-c", &line]);
        config.working_dir = format!("/proc/self/fd/{number}");
        // To be refused is as good as to be confined.
        if let Ok(id) = node.run_of(&sandbox, &config).await {
            assert_eq!(node.exited(&id).await?.exit_code, 0, "descriptor {number}");
        }
    }
    node.finish().await
}
