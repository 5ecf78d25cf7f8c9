//! Whose processes a container sees.

use anyhow::Result;
use harness::node::Node;
use proto::cri::{LinuxContainerSecurityContext, NamespaceMode};

use crate::isolation::with_context;

#[tokio::test]
async fn a_shared_pid_namespace_has_a_reaper_and_its_main_processes() -> Result<()> {
    let node = Node::start().await?;
    let mut config = node.sandbox_config("pod");
    let context = config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default();
    context.namespace_options.get_or_insert_default().pid = NamespaceMode::Pod.into();
    let sandbox = node.sandbox_of(config).await?;
    let share = |context: &mut LinuxContainerSecurityContext| {
        context.namespace_options.get_or_insert_default().pid = NamespaceMode::Pod.into();
    };
    let one = node
        .run_of(&sandbox, &with_context(&node, "one", "exec pause", share))
        .await?;
    let two = node
        .run_of(
            &sandbox,
            &with_context(&node, "two", "exec sleep 1000", share),
        )
        .await?;
    let seen = node.exec(&one, "ps -o comm | sort | tr '\\n' ' '").await?;
    assert!(seen.contains("pause") && seen.contains("sleep"), "{seen}");
    // Orphans go to the reaper, and are reaped.
    let orphan = node.exec(&one, "sh -c 'sleep 1000 >/dev/null 2>&1 & echo $!'");
    let orphan = orphan.await?.trim().to_owned();
    let line = format!("grep PPid: /proc/{orphan}/status | cut -f2");
    assert_eq!(node.exec(&one, &line).await?, "1\n");
    node.exec(&one, &format!("kill {orphan}")).await?;
    harness::wait::until_async("the orphan is reaped", || async {
        let line = format!("test ! -e /proc/{orphan}");
        Ok(node.exec(&one, &line).await.ok())
    })
    .await?;
    node.cri.stop_container(&two, 0).await?;
    assert_eq!(node.exec(&one, "echo alive").await?, "alive\n");
    // Nothing of the reaper is reachable.
    for path in ["/proc/1/root/", "/proc/1/fd/", "/proc/1/cwd/"] {
        assert_eq!(
            node.exec(&one, &format!("ls {path} 2>/dev/null | wc -l"))
                .await?
                .trim(),
            "0",
            "{path}"
        );
    }
    node.finish().await
}

#[tokio::test]
async fn a_container_may_have_a_pid_namespace_of_its_own_in_any_sandbox() -> Result<()> {
    let node = Node::start().await?;
    for mode in [NamespaceMode::Pod, NamespaceMode::Node] {
        let mut config = node.sandbox_config(mode.as_str_name());
        let context = config
            .linux
            .get_or_insert_default()
            .security_context
            .get_or_insert_default();
        context.namespace_options.get_or_insert_default().pid = mode.into();
        config.hostname = "pod".to_owned();
        let sandbox = node.sandbox_of(config).await?;
        let own = |context: &mut LinuxContainerSecurityContext| {
            context.namespace_options.get_or_insert_default().pid = NamespaceMode::Container.into();
        };
        let id = node
            .run_of(&sandbox, &with_context(&node, "own", "exec pause", own))
            .await?;
        let seen = node.exec(&id, "cat /proc/1/comm; set -- /proc/[0-9]*; echo $#");
        let seen = seen.await?;
        // Itself and the session's shell.
        assert_eq!(seen, "pause\n2\n", "{mode:?}");
        // Whoever says nothing is where the sandbox is.
        let none = |context: &mut LinuxContainerSecurityContext| context.namespace_options = None;
        let id = node
            .run_of(&sandbox, &with_context(&node, "none", "exec pause", none))
            .await?;
        assert_ne!(node.exec(&id, "cat /proc/1/comm").await?, "pause\n");
    }
    node.finish().await
}

#[tokio::test]
async fn the_hosts_pid_namespace_is_given_where_asked() -> Result<()> {
    let node = Node::start().await?;
    let mut config = node.sandbox_config("pod");
    let context = config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default();
    context.namespace_options.get_or_insert_default().pid = NamespaceMode::Node.into();
    let sandbox = node.sandbox_of(config).await?;
    let host = |context: &mut LinuxContainerSecurityContext| {
        context.namespace_options.get_or_insert_default().pid = NamespaceMode::Node.into();
    };
    let id = node
        .run_of(&sandbox, &with_context(&node, "main", "exec pause", host))
        .await?;
    let ours = std::fs::read_link("/proc/self/ns/pid")?
        .display()
        .to_string();
    assert_eq!(
        node.exec(&id, "readlink /proc/self/ns/pid").await?.trim(),
        ours
    );
    node.cri.stop_container(&id, 10).await?;
    node.finish().await
}
