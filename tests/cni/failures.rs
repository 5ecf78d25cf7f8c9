//! Plugins that hang, die and refuse: a clear error, DEL as undo, nothing left.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use harness::wait;
use proto::cri::NamespaceMode;
use tonic::Code;

use crate::host::{Host, on_host, pinned};

/// Waits until the process whose id a script wrote down is gone.
fn gone(host: &Host, name: &str) -> Result<()> {
    let pid = host.wrote(name)?.trim().to_owned();
    wait::until("the plugin is gone", || {
        let stat = std::fs::read_to_string(PathBuf::from("/proc").join(&pid).join("stat"));
        Ok(stat.map_or(true, |stat| stat.contains(") Z")).then_some(()))
    })
}

#[test]
fn a_plugin_that_hangs_costs_its_pod_and_nothing_else() -> Result<()> {
    on_host(async |host| {
        host.script("1.0.0")?;
        host.does(
            "ADD",
            r#"echo $$ >"$here/part"; mv "$here/part" "$here/self"; sleep 1000"#,
        )?;
        let node = host.node().await?;
        let cri = node.cri.clone();
        let config = node.sandbox_config("stuck");
        let stuck = tokio::spawn(async move { cri.run_sandbox(&config).await });
        wait::until_async("the plugin hangs", || async {
            Ok(host.path("bin/self").exists().then_some(()))
        })
        .await?;
        // What the plugin waits for may be a pod that has yet to start.
        for number in 0..4 {
            let mut config = node.sandbox_config(&format!("host-{number}"));
            let context = config
                .linux
                .as_mut()
                .and_then(|linux| linux.security_context.as_mut());
            if let Some(options) = context.and_then(|one| one.namespace_options.as_mut()) {
                options.network = NamespaceMode::Node.into();
            }
            let sandbox = node.sandbox_of(config).await?;
            node.run(&sandbox, "main", &["/bin/pause"]).await?;
        }
        ensure!(!stuck.is_finished(), "the others did not wait for it");
        let refused = stuck.await?.unwrap_err();
        assert_eq!(refused.code(), Code::DeadlineExceeded, "{refused}");
        assert!(
            refused
                .message()
                .contains("CNI plugin script did not end within 5 s of ADD and was killed"),
            "{refused}"
        );
        gone(&host, "self")?;
        let calls = host.calls();
        assert!(
            calls[0].starts_with("ADD ") && calls[1].starts_with("DEL "),
            "{calls:?}"
        );
        assert!(host.input("DEL")?.get("prevResult").is_none());
        assert_eq!(pinned(&node.agent.state().join("netns")), 0);

        // The name is free again.
        host.does("ADD", "")?;
        node.sandbox("stuck").await?;
        host.finish(node).await
    })
}

#[test]
fn a_plugin_that_dies_is_named_and_undone() -> Result<()> {
    on_host(async |host| {
        host.script("1.0.0")?;
        let node = host.node().await?;
        for (does, said) in [
            (
                "echo oops >&2; kill -SEGV $$",
                "CNI plugin script was killed by signal 11 during ADD: oops",
            ),
            (
                "echo '{\"code\": 7, \"msg\": \"no subnet\"}'; exit 1",
                "CNI plugin script refused ADD (code 7): no subnet",
            ),
            ("echo '{}'; exit 0", "network scripted gave sandbox"),
            ("exec cat /dev/zero", "more than 1048576 bytes"),
        ] {
            host.does("ADD", does)?;
            let config = node.sandbox_config("unlucky");
            let refused = node.cri.run_sandbox(&config).await.unwrap_err();
            assert!(refused.message().contains(said), "{refused}");
            let calls = host.calls();
            assert!(
                calls.len() == 2 && calls[1].starts_with("DEL "),
                "{calls:?}"
            );
        }
        assert_eq!(pinned(&node.agent.state().join("netns")), 0);
        node.nothing_left().await?;
        host.finish(node).await
    })
}

#[test]
fn a_release_that_fails_is_told_and_tried_again() -> Result<()> {
    on_host(async |host| {
        host.script("1.0.0")?;
        let node = host.node().await?;
        let sandbox = node.sandbox("one").await?;
        host.does(
            "DEL",
            r#"echo '{"code": 11, "msg": "the server is away"}'; exit 1"#,
        )?;
        let refused = node.cri.stop_sandbox(&sandbox.id).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unavailable, "{refused}");
        assert!(
            refused.message().contains("the server is away"),
            "{refused}"
        );
        assert!(
            node.cri.remove_sandbox(&sandbox.id).await.is_err(),
            "the record stays"
        );
        host.does("DEL", "")?;
        host.calls();
        node.cri.stop_sandbox(&sandbox.id).await?;
        assert_eq!(host.calls(), [format!("DEL {}", sandbox.id)]);
        let result = &host.input("DEL")?["prevResult"]["ips"][0]["address"];
        assert_eq!(result, "10.9.0.2/24");
        node.cri.stop_sandbox(&sandbox.id).await?;
        assert_eq!(
            host.calls(),
            [""; 0],
            "what was released is not released again"
        );
        host.finish(node).await
    })
}
