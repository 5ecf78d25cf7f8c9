//! An agent that goes away, and the next one.

use std::time::Duration;

use agent_shim_client::{ConnectError, ExecStdio, ExecStreams, Shim, ShimEvent, read_exit_file};

use crate::harness::{Node, until};

#[tokio::test]
async fn containers_logs_and_exits_go_on_without_an_agent() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    let slow = node.container("for i in $(seq 1 20); do echo $i; sleep 0.01; done; exit 4");
    let lasting = node.container("sleep 1000");
    let waiting = node.container("true");
    sandbox.start(&slow).await;
    sandbox.start(&lasting).await;
    sandbox.create(&waiting).await.unwrap();
    let crate::harness::Sandbox {
        shim, directory, ..
    } = sandbox;
    drop(shim);
    until("the exit is written", || {
        read_exit_file(&directory, &slow.id).unwrap().is_some()
    })
    .await;
    let wanted: String = (1..=20).map(|n| format!("{n}\n")).collect();
    assert_eq!(node.log(&slow.id, "stdout"), wanted);

    let (shim, ready) = Shim::connect(&directory).await.unwrap();
    assert!(ready.netns.is_some() && ready.netlink.is_none());
    let report = |id: &agent_types::ContainerId| {
        ready
            .containers
            .iter()
            .find(|report| report.id == *id)
            .unwrap()
    };
    assert_eq!(report(&slow.id).exited.as_ref().unwrap().exit_code, 4);
    assert!(report(&lasting.id).exited.is_none() && report(&lasting.id).started_at.is_some());
    assert!(report(&waiting.id).started_at.is_none());

    // Everything works as before.
    shim.start_container(&waiting.id).await.unwrap();
    let mut events = shim.events().unwrap();
    let ShimEvent::ContainerExited(exit) = events.next().await.unwrap() else {
        panic!("an exit");
    };
    assert_eq!((&exit.id, exit.exit_code), (&waiting.id, 0));
    sandbox = crate::harness::Sandbox {
        node: &node,
        shim,
        ready,
        events,
        directory,
    };
    assert_eq!(sandbox.output(&lasting.id, "echo again").await.1, "again\n");
    sandbox.end().await;
}

#[tokio::test]
async fn a_newer_agent_replaces_an_older() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    let (shim, _ready) = Shim::connect(&sandbox.directory).await.unwrap();
    assert_eq!(sandbox.event().await, ShimEvent::Gone);
    assert!(sandbox.shim.shutdown().await.is_err());
    shim.shutdown().await.unwrap();
    sandbox.wait_for_end();
}

#[tokio::test]
async fn nobody_serves_a_directory_whose_shim_is_dead() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    let plan = node.container("sleep 1000");
    sandbox.start(&plan).await;
    sandbox.kill_shim();
    assert_eq!(sandbox.event().await, ShimEvent::Gone);
    let error = Shim::connect(&sandbox.directory).await.unwrap_err();
    assert!(matches!(error, ConnectError::Absent { .. }), "{error}");
    assert!(sandbox.shim.reopen_log(&plan.id).await.is_err());
}

#[tokio::test]
async fn a_session_without_its_agent_is_drained_and_its_input_ends() {
    let node = Node::start().await;
    let sandbox = node.sandbox().await;
    let plan = node.container("sleep 1000");
    sandbox.start(&plan).await;
    // More output than pipes hold, then the end of input, then a trace.
    let script = "seq 1 100000; cat; echo over > /tmp/over; exit 6";
    let mut exec = sandbox.exec(&plan.id, script);
    exec.stdio = ExecStdio::Pipes { stdin: true };
    let session = sandbox.shim.exec(exec.clone()).await.unwrap();
    let ExecStreams::Pipes { .. } = &session.streams else {
        panic!("pipes");
    };
    let pid = session.pid;
    let directory = sandbox.directory.clone();
    drop((session, sandbox));
    until("the session ends", || {
        !std::fs::exists(format!("/proc/{pid}")).unwrap()
    })
    .await;
    let (shim, ready) = Shim::connect(&directory).await.unwrap();
    let events = shim.events().unwrap();
    let sandbox = crate::harness::Sandbox {
        node: &node,
        shim,
        ready,
        events,
        directory,
    };
    assert_eq!(sandbox.output(&plan.id, "cat /tmp/over").await.1, "over\n");
    sandbox.end().await;
}

#[tokio::test]
async fn a_timeout_holds_without_an_agent() {
    let node = Node::start().await;
    let sandbox = node.sandbox().await;
    let plan = node.container("sleep 1000");
    sandbox.start(&plan).await;
    let mut exec = sandbox.exec(&plan.id, "sleep 1000");
    exec.timeout = Some(Duration::from_millis(50));
    let session = sandbox.shim.exec(exec).await.unwrap();
    let pid = session.pid;
    let directory = sandbox.directory.clone();
    drop((session, sandbox));
    until("the session is killed", || {
        !std::fs::exists(format!("/proc/{pid}")).unwrap()
    })
    .await;
    let (shim, ready) = Shim::connect(&directory).await.unwrap();
    assert!(ready.containers[0].exited.is_none());
    shim.shutdown().await.unwrap();
    shim.gone().await;
}
