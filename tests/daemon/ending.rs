//! How the daemon ends, and who may not begin beside it.

use std::time::Duration;

use anyhow::Result;
use harness::agent::{Agent, Options};
use harness::cri::channel;
use harness::image::{Image, big_layer, default_config};
use harness::node::Node;
use harness::process;
use harness::proxy::{Fault, Proxy};
use proto::agent::EventsRequest;
use proto::agent::system_client::SystemClient;

/// Returns what an agent said that would not start.
fn refused(options: Options) -> Result<String> {
    let mut agent = Agent::spawn(options)?;
    let pid = agent.pid();
    harness::wait::until("the agent ends by itself", || {
        Ok(process::read(pid)
            .is_none_or(|one| one.state == 'Z')
            .then_some(()))
    })?;
    let log = agent.log();
    // It has ended; this only takes its exit.
    agent.kill9()?;
    agent.finish()?;
    Ok(log)
}

#[tokio::test]
async fn sigterm_ends_it_in_the_middle_of_a_pull_and_an_event_stream() -> Result<()> {
    let mut node = Node::start().await?;
    let image = Image::busybox_with(vec![big_layer(1, 3 << 20)?], &default_config())?;
    node.registry.push("test/large:1", &image)?;
    let proxy = Proxy::start(&node.registry)?;
    proxy.break_with(|seen| {
        seen.is_blob()
            .then_some(Fault::Slow(16 << 10, Duration::from_millis(50)))
    });
    let mut system = SystemClient::new(channel(node.agent.socket()).await?);
    let mut events = system.events(EventsRequest::default()).await?.into_inner();
    let reference = proxy.reference("test/large:1");
    let pull = tokio::spawn({
        let (cri, reference) = (node.cri.clone(), reference.clone());
        async move { cri.pull(&reference).await }
    });
    harness::wait::until_async("the layer is asked for", || async {
        let asked = proxy.take_seen().iter().any(harness::proxy::Seen::is_blob);
        Ok(asked.then_some(()))
    })
    .await?;
    node.agent.terminate()?;
    assert!(pull.await?.is_err());
    while let Ok(Some(_)) = events.message().await {}
    proxy.mend();
    node.agent.spawn_again()?;
    node.agent.serving().await?;
    node.cri = node.agent.cri().await?;
    node.cri.pull(&reference).await?;
    node.finish().await
}

#[tokio::test]
async fn an_agent_on_the_same_cgroups_is_refused() -> Result<()> {
    let agent = Agent::start().await?;
    let names = agent.slot().names();
    let parent = format!("parent = \"/{}\"", names.cgroup);
    let said = refused(Options::default().with("cgroup", parent))?;
    assert!(
        said.contains(&names.cgroup) && said.contains("used by another agent"),
        "{said}"
    );
    assert_eq!(
        agent.cri().await?.version().await?.runtime_name,
        "node-agent"
    );
    agent.finish()
}

#[tokio::test]
async fn an_agent_on_the_same_socket_is_refused() -> Result<()> {
    let agent = Agent::start().await?;
    let socket = agent.socket().display().to_string();
    let said = refused(Options::default().listening_on(&[format!("unix://{socket}")]))?;
    assert!(
        said.contains(&socket) && said.contains("another process"),
        "{said}"
    );
    assert_eq!(
        agent.cri().await?.version().await?.runtime_name,
        "node-agent"
    );
    agent.finish()
}

#[tokio::test]
async fn an_agent_on_the_same_root_is_refused() -> Result<()> {
    let agent = Agent::start().await?;
    let root = agent.root();
    let said = refused(Options {
        root: Some(root.clone()),
        ..Options::default()
    })?;
    assert!(said.contains(&root.display().to_string()), "{said}");
    assert_eq!(
        agent.cri().await?.version().await?.runtime_name,
        "node-agent"
    );
    agent.finish()
}

#[tokio::test]
async fn what_a_removal_left_is_deleted_before_the_end() -> Result<()> {
    let mut node = Node::start().await?;
    node.cri.remove_image(&node.image).await?;
    node.agent.terminate()?;
    let trash = node.agent.root().join("snapshots/trash");
    assert_eq!(std::fs::read_dir(trash)?.count(), 0);
    node.agent.spawn_again()?;
    node.agent.serving().await?;
    node.cri = node.agent.cri().await?;
    node.finish().await
}

#[tokio::test]
async fn an_idle_agent_takes_its_network_down_without_a_warning() -> Result<()> {
    let mut node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    node.cri.stop_sandbox(&sandbox.id).await?;
    node.cri.remove_sandbox(&sandbox.id).await?;
    node.agent.terminate()?;
    let log = node.agent.log();
    assert!(log.contains("network made ready"), "{log}");
    assert!(log.contains("stopped, containers go on"), "{log}");
    assert!(!log.contains("WARN"), "{log}");
    node.agent.spawn_again()?;
    node.agent.serving().await?;
    node.cri = node.agent.cri().await?;
    node.finish().await
}
