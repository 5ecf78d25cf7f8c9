//! Ending whole cgroups, and the OOM killer.

use std::fs;

use agent_shim_client::{ContainerPid, SignalTarget};

use crate::harness::{Node, until};

fn members(node: &Node) -> usize {
    let procs = node.cgroup("freezer").join("cgroup.procs");
    fs::read_to_string(procs).unwrap().lines().count()
}

#[tokio::test]
async fn without_a_pid_namespace_of_its_own_the_whole_cgroup_ends_with_the_first_process() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    // Sessions of their own, children of nobody, ignoring what can be ignored.
    let mut plan = node.container(
        "trap '' TERM HUP INT; for i in 1 2 3; do (setsid sleep 1000 &) ; (sleep 1000 &); done; exit 2",
    );
    plan.pid = ContainerPid::Host;
    let report = sandbox.run(&plan).await;
    assert_eq!(report.exit_code, 2);
    until("the cgroup is empty", || members(&node) == 0).await;
    let state = fs::read_to_string(node.cgroup("freezer").join("freezer.state")).unwrap();
    assert_eq!(state.trim(), "THAWED");
    sandbox.end().await;
}

#[tokio::test]
async fn a_fork_bomb_without_a_pid_namespace_ends_too() {
    let node = Node::start().await;
    fs::write(node.cgroup("pids").join("pids.max"), "60").unwrap();
    let mut sandbox = node.sandbox().await;
    let mut plan = node.container("f() { while true; do sleep 0.001 & done; }; f 2>/dev/null & f 2>/dev/null & sleep 0.2; exit 0");
    plan.pid = ContainerPid::Host;
    sandbox.run(&plan).await;
    until("the cgroup is empty", || members(&node) == 0).await;
    sandbox.end().await;
}

#[tokio::test]
async fn a_signal_to_all_reaches_all() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    let plan = node.container(
        "(trap 'echo child; exit' USR1; echo one; while true; do sleep 0.01; done) & \
         trap 'echo parent; wait; exit 0' USR1; echo two; while true; do sleep 0.01; done",
    );
    sandbox.start(&plan).await;
    until("both are ready", || {
        node.log(&plan.id, "stdout").lines().count() == 2
    })
    .await;
    let shim = &sandbox.shim;
    shim.signal_container(&plan.id, 10, SignalTarget::All)
        .await
        .unwrap();
    sandbox.exited().await;
    let log = node.log(&plan.id, "stdout");
    assert!(log.contains("child") && log.contains("parent"), "{log}");
    sandbox.end().await;
}

#[tokio::test]
async fn a_container_that_the_oom_killer_ended_says_so() {
    let node = Node::start().await;
    let limit = node.cgroup("memory").join("memory.limit_in_bytes");
    fs::write(limit, "16777216").unwrap();
    let mut sandbox = node.sandbox().await;
    let plan = node.container("exec dd if=/dev/zero of=/dev/null bs=64M count=1");
    let report = sandbox.run(&plan).await;
    assert_eq!(
        (report.exit_code, report.signal),
        (137, Some(9)),
        "{report:?}"
    );
    assert!(report.oom_killed);
    // The count stays; a kill by hand after it is none.
    let plan = node.container("sleep 1000");
    sandbox.start(&plan).await;
    let shim = &sandbox.shim;
    shim.signal_container(&plan.id, 9, SignalTarget::First)
        .await
        .unwrap();
    assert!(!sandbox.exited().await.oom_killed);
    sandbox.end().await;
}

#[tokio::test]
async fn a_frozen_container_takes_no_session_and_does_not_stop_its_shim() {
    use agent_types::{Classify as _, ErrorKind};
    let node = Node::start().await;
    let sandbox = node.sandbox().await;
    let state = node.cgroup("freezer").join("freezer.state");
    let plan = node.container("sleep 1000");
    sandbox.start(&plan).await;
    fs::write(&state, "FROZEN").unwrap();
    let exec = sandbox.exec(&plan.id, "true");
    let error = sandbox.shim.exec(exec).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error:?}");
    assert!(error.to_string().contains("paused"), "{error}");
    fs::write(&state, "THAWED").unwrap();
    assert_eq!(sandbox.output(&plan.id, "echo on").await.1, "on\n");
    sandbox.end().await;
}

#[tokio::test]
async fn a_frozen_container_is_killed_all_the_same() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    let state = node.cgroup("freezer").join("freezer.state");
    let plan = node.container("sleep 1000");
    sandbox.start(&plan).await;
    fs::write(&state, "FROZEN").unwrap();
    let shim = &sandbox.shim;
    shim.signal_container(&plan.id, 9, SignalTarget::First)
        .await
        .unwrap();
    assert_eq!(sandbox.exited().await.signal, Some(9));
    let plan = node.container("sleep 1000");
    sandbox.start(&plan).await;
    fs::write(&state, "FROZEN").unwrap();
    sandbox.end().await;
}
