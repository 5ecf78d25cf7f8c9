//! What fails half way takes back what it made.

use anyhow::Result;
use harness::node::Node;

#[tokio::test]
async fn a_container_that_cannot_be_made_leaves_nothing() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let scope = node.agent.scope();
    let before = scope.traces()?;
    for (name, change) in changes() {
        let mut config = node.container_config(name, &["/bin/pause"]);
        change(&mut config);
        let refused = node
            .cri
            .create_container(&sandbox.id, &config, &sandbox.config)
            .await;
        assert!(refused.is_err(), "{name}");
        harness::wait::until("what was made is gone", || {
            let more = scope.of_sandboxes(&scope.traces()?, &before);
            anyhow::ensure!(more.is_empty(), "{name}: {more:#?}");
            Ok(Some(()))
        })?;
    }
    // The same names are free.
    for (name, _) in changes() {
        node.run(&sandbox, name, &["/bin/pause"]).await?;
    }
    node.finish().await
}

type Change = fn(&mut proto::cri::ContainerConfig);

fn changes() -> [(&'static str, Change); 3] {
    [
        ("mount-onto-a-file", |config| {
            config.mounts = vec![proto::cri::Mount {
                container_path: "/etc/passwd".to_owned(),
                host_path: "/etc".to_owned(),
                ..Default::default()
            }];
        }),
        ("unknown-user", |config| {
            let context = config
                .linux
                .get_or_insert_default()
                .security_context
                .get_or_insert_default();
            context.run_as_username = "nobody-knows".to_owned();
        }),
        ("directory-is-a-file", |config| {
            config.working_dir = "/etc/passwd".to_owned()
        }),
    ]
}

#[tokio::test]
async fn a_sandbox_that_cannot_be_made_leaves_nothing() -> Result<()> {
    let node = Node::start().await?;
    let mut config = node.sandbox_config("pod");
    // Allowed by its name, refused by the kernel.
    let sysctls = &mut config.linux.get_or_insert_default().sysctls;
    sysctls.insert(
        "net.ipv4.ip_local_port_range".to_owned(),
        "nonsense".to_owned(),
    );
    assert!(node.cri.run_sandbox(&config).await.is_err());
    node.nothing_left().await?;
    node.sandbox("pod").await?;
    node.finish().await
}
