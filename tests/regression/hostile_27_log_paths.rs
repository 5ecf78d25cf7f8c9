//! A log's path leads elsewhere.

use anyhow::Result;
use harness::node::Node;
use tonic::Code;

use crate::{host_directory, is_untouched};

#[tokio::test]
async fn logs_are_written_below_their_directory() -> Result<()> {
    let node = Node::start().await?;
    let host = host_directory(&node)?;
    let sandbox = node.sandbox("pod").await?;
    for path in [
        "../host/marker",
        "/etc/passwd",
        "a/../../host/marker",
        "a\0b",
        "a/../..",
        ".",
    ] {
        let mut config = node.container_config("main", &["/bin/echo", "evil"]);
        config.log_path = path.to_owned();
        let refused = node
            .cri
            .create_container(&sandbox.id, &config, &sandbox.config)
            .await
            .err();
        assert_eq!(
            refused.map(|status| status.code()),
            Some(Code::InvalidArgument),
            "{path:?}"
        );
    }
    // A link that lies there already is not followed.
    let directory = std::path::PathBuf::from(&sandbox.config.log_directory);
    std::fs::create_dir_all(&directory)?;
    std::os::unix::fs::symlink(host.join("marker"), directory.join("linked.log"))?;
    let mut config = node.container_config("linked", &["/bin/echo", "evil"]);
    config.log_path = "linked.log".to_owned();
    if let Ok(id) = node.run_of(&sandbox, &config).await {
        node.exited(&id).await?;
    }
    is_untouched(&host)?;
    node.finish().await
}
