//! A container overwrites the host's binary through /proc/<pid>/exe.

use std::fs::OpenOptions;

use anyhow::Result;
use harness::node::Node;
use proto::cri::NamespaceMode;

#[tokio::test]
async fn no_helper_can_be_opened_for_writing() -> Result<()> {
    let node = Node::start().await?;
    let mut config = node.sandbox_config("pod");
    let context = config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default();
    context.privileged = true;
    context.namespace_options.get_or_insert_default().pid = NamespaceMode::Node.into();
    let sandbox = node.sandbox_of(config).await?;
    let mut config = node.container_config("main", &["/bin/pause"]);
    let context = config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default();
    context.privileged = true;
    context.namespace_options.get_or_insert_default().pid = NamespaceMode::Node.into();
    let id = node.run_of(&sandbox, &config).await?;
    for helper in node.agent.helpers()? {
        let path = format!("/proc/{}/exe", helper.pid);
        assert!(
            OpenOptions::new().write(true).open(&path).is_err(),
            "{path} from the host"
        );
        let line = format!(
            "! sh -c 'echo x >{path}' 2>/dev/null && ! sh -c 'echo x >>{path}' 2>/dev/null"
        );
        node.exec(&id, &line).await?;
    }
    // While sessions come and go, none of their first processes is writable either.
    let attack = "until [ -e /enough ]; do for p in /proc/[0-9]*/exe; do case $(readlink $p) in /memfd:*) \
        sh -c \"echo x >$p\" 2>/dev/null && echo written $p;; esac; done; done; true";
    let attacker = tokio::spawn({
        let (cri, id) = (node.cri.clone(), id.clone());
        async move { cri.exec(&id, &["/bin/sh", "-c", attack], 60).await }
    });
    for _ in 0..50 {
        node.exec(&id, "true").await?;
    }
    node.exec(&id, "touch /enough").await?;
    let answer = attacker.await??;
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "");
    node.exec(&id, "true").await?;
    node.finish().await
}
