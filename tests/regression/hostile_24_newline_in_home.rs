//! A value with a newline becomes a line of a generated /etc/passwd.

use anyhow::Result;
use harness::node::Node;
use proto::cri::{Int64Value, KeyValue};

#[tokio::test]
async fn the_images_user_files_stay_as_they_are() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let mut config = node.container_config(
        "main",
        &[
            "/bin/sh",
            "-c",
            "md5sum </etc/passwd; grep -c : /etc/passwd",
        ],
    );
    let plain = node.shell_of(&sandbox, &config).await?;
    for (number, home) in [
        "/\nevil::0:0::/:/bin/sh",
        "/\\nevil::0:0::/:/bin/sh",
        "/:0:0",
    ]
    .iter()
    .enumerate()
    {
        config.metadata.get_or_insert_default().name = format!("main-{number}");
        config.log_path = format!("main-{number}.log");
        config.envs = vec![KeyValue {
            key: "HOME".to_owned(),
            value: home.as_bytes().to_vec(),
        }];
        let context = config
            .linux
            .get_or_insert_default()
            .security_context
            .get_or_insert_default();
        context.run_as_user = Some(Int64Value { value: 4242 });
        assert_eq!(node.shell_of(&sandbox, &config).await?, plain, "{home:?}");
    }
    config.metadata.get_or_insert_default().name = "nul".to_owned();
    config.envs = vec![KeyValue {
        key: "HOME".to_owned(),
        value: b"/\0".to_vec(),
    }];
    assert!(
        node.cri
            .create_container(&sandbox.id, &config, &sandbox.config)
            .await
            .is_err()
    );
    node.finish().await
}
