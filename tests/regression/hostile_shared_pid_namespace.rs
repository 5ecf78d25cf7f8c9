//! A container that shares its pod's PID namespace and may trace looks into the processes of others:
//! the namespace's first, which is ours, and those that are only just becoming a session.

use anyhow::Result;
use harness::node::Node;
use proto::cri::{Capability, NamespaceMode};

use crate::{context, host_directory};

#[tokio::test]
async fn nothing_of_the_host_is_reachable() -> Result<()> {
    let node = Node::start().await?;
    let host = host_directory(&node)?;
    let mut config = node.sandbox_config("pod");
    let sandbox_context = config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default();
    sandbox_context
        .namespace_options
        .get_or_insert_default()
        .pid = NamespaceMode::Pod.into();
    let sandbox = node.sandbox_of(config).await?;
    let share = |config: &mut proto::cri::ContainerConfig| {
        let context = context(config);
        context.namespace_options.get_or_insert_default().pid = NamespaceMode::Pod.into();
        context.capabilities = Some(Capability {
            add_capabilities: vec!["SYS_PTRACE".to_owned(), "DAC_READ_SEARCH".to_owned()],
            ..Capability::default()
        });
    };
    // It looks through every process for as long as sessions come and go beside it.
    let marker = host.join("marker");
    let line = format!(
        "echo ready; while :; do for one in /proc/[0-9]*; do \
            cat $one/root{marker} $one/cwd{marker} && echo FOUND; \
            for fd in $one/fd/*; do cat $fd{marker} && echo FOUND; done; \
            readlink $one/exe | grep memfd | sed 's/.*/EXE/'; \
         done; done 2>/dev/null",
        marker = marker.display()
    );
    let mut attacker = node.container_config("attacker", &["/bin/sh", "-c", &line]);
    share(&mut attacker);
    node.run_of(&sandbox, &attacker).await?;
    let mut victim = node.container_config("victim", &["/bin/pause"]);
    share(&mut victim);
    let victim = node.run_of(&sandbox, &victim).await?;
    for number in 0..100 {
        node.exec(&victim, "true").await?;
        if number % 20 == 0 {
            let mut config = node.container_config(&format!("more-{number}"), &["/bin/true"]);
            share(&mut config);
            let id = node.run_of(&sandbox, &config).await?;
            node.exited(&id).await?;
        }
    }
    let seen = std::fs::read_to_string(node.log_of(&sandbox, &attacker))?;
    assert!(seen.contains("ready"), "{seen}");
    assert!(
        !seen.contains("FOUND") && !seen.contains("untouched"),
        "{seen}"
    );
    // The first process itself: no files, no memory, no way to write its program.
    let line = "ls -A /proc/1/root/ /proc/1/cwd/ /proc/1/fd/ 2>/dev/null | grep -v '^/proc/1\\|^$'; \
        head -c 1 /proc/1/mem 2>/dev/null | wc -c; cat /proc/1/environ 2>/dev/null | wc -c; \
        (echo x >/proc/1/exe) 2>/dev/null && echo written; \
        (echo x >/proc/1/root/x) 2>/dev/null && echo written; true";
    assert_eq!(node.exec(&victim, line).await?, "0\n0\n");
    node.finish().await
}
