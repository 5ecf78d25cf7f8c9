//! Inheritable capabilities give a file's capabilities to whoever runs it.

use anyhow::Result;
use harness::node::Node;

#[tokio::test]
async fn none_are_inheritable_at_start_or_in_a_session() -> Result<()> {
    let node = Node::start().await?;
    let mut config = node.sandbox_config("pod");
    config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default()
        .privileged = true;
    let sandbox = node.sandbox_of(config).await?;
    let line = "grep -E '^Cap(Inh|Amb)' /proc/self/status | cut -f2 | sort -u";
    for privileged in [false, true] {
        let name = format!("main-{privileged}");
        let mut config =
            node.container_config(&name, &["/bin/sh", "-c", &format!("{line}; exec pause")]);
        config
            .linux
            .get_or_insert_default()
            .security_context
            .get_or_insert_default()
            .privileged = privileged;
        let id = node.run_of(&sandbox, &config).await?;
        assert_eq!(
            node.exec(&id, line).await?,
            "0000000000000000\n",
            "a session, privileged: {privileged}"
        );
        let log = std::fs::read_to_string(node.log_of(&sandbox, &config))?;
        assert!(
            log.lines().count() == 1 && log.contains(" 0000000000000000"),
            "{log}"
        );
    }
    node.finish().await
}
