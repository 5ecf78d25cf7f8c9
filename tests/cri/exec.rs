//! Running a further process in a container and waiting for it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::node::{Node, Sandbox};
use tonic::Code;

const CAP: usize = 16 << 20;

async fn running() -> Result<(Node, Sandbox, String)> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let id = node.run(&sandbox, "main", &["/bin/pause"]).await?;
    Ok((node, sandbox, id))
}

#[tokio::test]
async fn both_outputs_and_the_exit_code_come_back() -> Result<()> {
    let (node, _, id) = running().await?;
    let answer = node
        .cri
        .exec(
            &id,
            &["/bin/sh", "-c", "echo out; echo err >&2; exit 6"],
            10,
        )
        .await?;
    assert_eq!(
        (answer.stdout, answer.stderr, answer.exit_code),
        (b"out\n".to_vec(), b"err\n".to_vec(), 6)
    );
    let killed = node
        .cri
        .exec(&id, &["/bin/sh", "-c", "kill -9 $$"], 10)
        .await?;
    assert_eq!(killed.exit_code, 137);
    node.finish().await
}

#[tokio::test]
async fn a_timeout_kills_the_session() -> Result<()> {
    let (node, _, id) = running().await?;
    let ended = node
        .cri
        .exec(&id, &["/bin/sh", "-c", "sleep 16180 & sleep 16180"], 1)
        .await;
    assert_eq!(
        ended.err().map(|status| status.code()),
        Some(Code::DeadlineExceeded)
    );
    harness::wait::until("the session's processes are gone", || {
        Ok(node.agent.running("sleep 16180").is_empty().then_some(()))
    })?;
    assert_eq!(node.exec(&id, "echo alive").await?, "alive\n");
    node.finish().await
}

#[tokio::test]
async fn a_grandchild_that_holds_the_pipe_is_not_waited_for() -> Result<()> {
    let (node, _, id) = running().await?;
    let call = node
        .cri
        .exec(&id, &["/bin/sh", "-c", "sleep 1000 & echo done"], 0);
    let answer = tokio::time::timeout(Duration::from_secs(20), call)
        .await
        .context("it waits for the grandchild")??;
    assert_eq!((answer.stdout, answer.exit_code), (b"done\n".to_vec(), 0));
    node.finish().await
}

#[tokio::test]
async fn output_is_capped_and_the_rest_is_dropped() -> Result<()> {
    let (node, _, id) = running().await?;
    let line = "head -c 40000000 /dev/zero; exit 3";
    let answer = node.cri.exec(&id, &["/bin/sh", "-c", line], 60).await?;
    let length = answer.stdout.len();
    assert!((CAP / 2..=CAP).contains(&length), "{length} bytes");
    assert_eq!(answer.exit_code, 3);
    node.finish().await
}

#[tokio::test]
async fn only_a_running_container_can_be_entered() -> Result<()> {
    let (node, sandbox, id) = running().await?;
    let code = |result: Result<proto::cri::ExecSyncResponse, tonic::Status>| {
        result.err().map(|status| status.code())
    };
    let unknown = "0123456789abcdef".repeat(4);
    assert_eq!(
        code(node.cri.exec(&unknown, &["/bin/true"], 10).await),
        Some(Code::NotFound)
    );
    let config = node.container_config("created", &["/bin/pause"]);
    let created = node
        .cri
        .create_container(&sandbox.id, &config, &sandbox.config)
        .await?;
    assert_eq!(
        code(node.cri.exec(&created, &["/bin/true"], 10).await),
        Some(Code::FailedPrecondition)
    );
    node.cri.stop_container(&id, 10).await?;
    assert_eq!(
        code(node.cri.exec(&id, &["/bin/true"], 10).await),
        Some(Code::FailedPrecondition)
    );
    node.finish().await
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_error() -> Result<()> {
    let (node, _, id) = running().await?;
    let ended = node.cri.exec(&id, &["/no/such/program"], 10).await;
    assert!(
        ended
            .as_ref()
            .err()
            .is_some_and(|status| status.message().contains("/no/such/program")),
        "{ended:?}"
    );
    assert_eq!(
        code_of(node.cri.exec(&id, &[], 10).await),
        Some(Code::InvalidArgument)
    );
    node.finish().await
}

fn code_of<T>(result: Result<T, tonic::Status>) -> Option<Code> {
    result.err().map(|status| status.code())
}

#[tokio::test]
async fn a_session_is_like_the_container() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let mut config = node.container_config("main", &["/bin/pause"]);
    config.working_dir = "/var".to_owned();
    config.envs = vec![proto::cri::KeyValue {
        key: "COLOUR".to_owned(),
        value: b"blue".to_vec(),
    }];
    let context = config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default();
    context.run_as_user = Some(proto::cri::Int64Value { value: 1000 });
    let id = node.run_of(&sandbox, &config).await?;
    assert_eq!(
        node.exec(&id, "id -u; id -g; pwd; echo $COLOUR").await?,
        "1000\n1000\n/var\nblue\n"
    );
    // The listing's own descriptor is the fourth.
    assert_eq!(
        node.exec(&id, "ls /proc/self/fd | wc -l").await?.trim(),
        "4"
    );
    let same = "for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done";
    let pid_one = "for n in pid net ipc uts mnt cgroup; do readlink /proc/1/ns/$n; done";
    assert_eq!(node.exec(&id, same).await?, node.exec(&id, pid_one).await?);
    node.finish().await
}

#[tokio::test]
async fn many_sessions_run_at_once() -> Result<()> {
    let (node, _, id) = running().await?;
    let calls: Vec<_> = (0..32)
        .map(|number| {
            let (cri, id) = (node.cri.clone(), id.clone());
            tokio::spawn(
                async move { cri.exec(&id, &["/bin/echo", &number.to_string()], 30).await },
            )
        })
        .collect();
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await??.stdout, format!("{number}\n").into_bytes());
    }
    node.finish().await
}
