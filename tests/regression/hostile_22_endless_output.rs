//! Output without end fills the daemon's memory.

use anyhow::Result;
use harness::node::Node;
use harness::process;
use tonic::Code;

#[tokio::test]
async fn endless_output_takes_bounded_memory() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let id = node.run(&sandbox, "main", &["/bin/pause"]).await?;
    let calls: Vec<_> = (0..4)
        .map(|_| {
            let (cri, id) = (node.cri.clone(), id.clone());
            tokio::spawn(async move { cri.exec(&id, &["/bin/cat", "/dev/zero"], 3).await })
        })
        .collect();
    for call in calls {
        assert_eq!(
            call.await?.err().map(|status| status.code()),
            Some(Code::DeadlineExceeded)
        );
    }
    // Four sessions of 16 MiB each, and as much again on its way.
    let peak = process::peak_rss_kib(node.agent.pid());
    assert!(peak < 256 << 10, "{peak} KiB in the agent");
    for helper in node.agent.helpers()? {
        let peak = process::peak_rss_kib(helper.pid);
        assert!(peak < 16 << 10, "{peak} KiB in {}", helper.command);
    }
    node.finish().await
}

#[tokio::test]
async fn sessions_that_are_given_up_are_taken_back() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let id = node.run(&sandbox, "main", &["/bin/pause"]).await?;
    let open = || -> Result<usize> {
        Ok(std::fs::read_dir(format!("/proc/{}/fd", node.agent.pid()))?.count())
    };
    node.exec(&id, "true").await?;
    let before = open()?;
    for _ in 0..50 {
        let call = tokio::spawn({
            let (cri, id) = (node.cri.clone(), id.clone());
            async move { cri.exec(&id, &["/bin/cat", "/dev/zero"], 1).await }
        });
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        call.abort();
    }
    harness::wait::until("the agent's descriptors are as before", || {
        Ok((open()? <= before + 2).then_some(()))
    })?;
    node.finish().await
}
