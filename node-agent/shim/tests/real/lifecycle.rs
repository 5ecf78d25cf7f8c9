//! From launch to shutdown.

use std::fs;

use agent_shim_client::{Refusal, RequestError, SignalTarget, read_exit_file};

use crate::harness::Node;

#[tokio::test]
async fn a_container_runs_is_logged_and_its_exit_is_reported_and_written() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    assert!(sandbox.ready.netns.is_some() && sandbox.ready.netlink.is_some());
    let plan = node.container("hostname; echo oops >&2; printf end; exit 7");
    let report = sandbox.run(&plan).await;
    assert_eq!((report.exit_code, report.signal), (7, None));
    assert_eq!(report.id, plan.id);
    assert!(report.started_at.unwrap() <= report.finished_at);
    assert!(!report.oom_killed);
    assert_eq!(node.log(&plan.id, "stdout"), "inside\nend");
    assert_eq!(node.log(&plan.id, "stderr"), "oops\n");
    let written = read_exit_file(&sandbox.directory, &plan.id).unwrap();
    assert_eq!(written, Some(report));
    sandbox.shim.delete_container(&plan.id).await.unwrap();
    assert_eq!(read_exit_file(&sandbox.directory, &plan.id).unwrap(), None);
    sandbox.end().await;
}

#[tokio::test]
async fn a_program_that_is_not_there_exits_128_and_says_why() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    for (program, wanted) in [
        ("/bin/nothing", Refusal::ProgramNotFound),
        ("/etc/not-executable", Refusal::ProgramNotExecutable),
    ] {
        let mut plan = node.container("");
        plan.args = vec![program.into()];
        sandbox.create(&plan).await.unwrap();
        let error = sandbox.shim.start_container(&plan.id).await.unwrap_err();
        let RequestError::Refused { refusal, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(*refusal, wanted, "{error}");
        let report = sandbox.exited().await;
        assert_eq!(report.exit_code, 128);
        assert_eq!(report.started_at, None);
        assert!(report.start_error.unwrap().contains(program));
        assert!(
            read_exit_file(&sandbox.directory, &plan.id)
                .unwrap()
                .is_some()
        );
    }
    sandbox.end().await;
}

#[tokio::test]
async fn signals_reach_the_first_process_and_are_reported() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    let plan = node.container("trap 'exit 5' TERM; echo ready; while true; do sleep 0.01; done");
    sandbox.start(&plan).await;
    crate::harness::until("the trap is set", || {
        node.log(&plan.id, "stdout") == "ready\n"
    })
    .await;
    let shim = &sandbox.shim;
    shim.signal_container(&plan.id, 15, SignalTarget::First)
        .await
        .unwrap();
    assert_eq!(sandbox.exited().await.exit_code, 5);
    let again = sandbox
        .shim
        .signal_container(&plan.id, 15, SignalTarget::First)
        .await;
    assert!(is_refused(again, Refusal::State));

    let plan = node.container("sleep 1000");
    sandbox.start(&plan).await;
    let shim = &sandbox.shim;
    shim.signal_container(&plan.id, 9, SignalTarget::All)
        .await
        .unwrap();
    let report = sandbox.exited().await;
    assert_eq!((report.exit_code, report.signal), (137, Some(9)));
    assert!(!report.oom_killed);
    sandbox.end().await;
}

#[tokio::test]
async fn what_the_state_does_not_allow_is_refused() {
    let node = Node::start().await;
    let sandbox = node.sandbox().await;
    let plan = node.container("sleep 1000");
    let shim = &sandbox.shim;
    assert!(is_refused(
        shim.start_container(&plan.id).await,
        Refusal::NotFound
    ));
    assert!(is_refused(
        shim.delete_container(&plan.id).await,
        Refusal::NotFound
    ));
    sandbox.create(&plan).await.unwrap();
    assert!(is_refused(
        sandbox.create(&plan).await,
        Refusal::AlreadyExists
    ));
    assert!(is_refused(shim.open_root(&plan.id).await, Refusal::State));
    let exec = sandbox.exec(&plan.id, "true");
    assert!(is_refused(shim.exec(exec).await, Refusal::State));
    shim.start_container(&plan.id).await.unwrap();
    assert!(is_refused(
        shim.start_container(&plan.id).await,
        Refusal::State
    ));
    assert!(is_refused(
        shim.delete_container(&plan.id).await,
        Refusal::State
    ));
    sandbox.end().await;
}

#[tokio::test]
async fn a_container_never_started_is_deleted_with_its_process() {
    let node = Node::start().await;
    let sandbox = node.sandbox().await;
    let plan = node.container("true");
    let created = sandbox.create(&plan).await.unwrap();
    assert_eq!((created.uid, created.gid), (0, 0));
    let process = format!("/proc/{}", created.pid);
    assert!(fs::exists(&process).unwrap());
    sandbox.shim.delete_container(&plan.id).await.unwrap();
    assert!(!fs::exists(&process).unwrap());
    sandbox.create(&plan).await.unwrap();
    sandbox.end().await;
}

#[tokio::test]
async fn shutdown_ends_what_runs_and_writes_its_exit() {
    let node = Node::start().await;
    let sandbox = node.sandbox().await;
    let running = node.container("sleep 1000");
    let waiting = node.container("true");
    sandbox.start(&running).await;
    sandbox.create(&waiting).await.unwrap();
    let session = sandbox
        .shim
        .exec(sandbox.exec(&running.id, "sleep 1000"))
        .await;
    assert!(session.is_ok());
    let directory = sandbox.directory.clone();
    sandbox.end().await;
    for id in [&running.id, &waiting.id] {
        let report = read_exit_file(&directory, id).unwrap().unwrap();
        assert_eq!(report.exit_code, 137);
    }
}

#[tokio::test]
async fn the_root_of_a_running_container_is_opened_as_it_sees_it() {
    use std::os::fd::AsRawFd as _;
    let node = Node::start().await;
    let sandbox = node.sandbox().await;
    let plan = node.container("echo inside > /tmp/file; echo done; sleep 1000");
    sandbox.start(&plan).await;
    crate::harness::until("the file is there", || {
        node.log(&plan.id, "stdout") == "done\n"
    })
    .await;
    let root = sandbox.shim.open_root(&plan.id).await.unwrap();
    let path = format!("/proc/self/fd/{}/tmp/file", root.as_raw_fd());
    assert_eq!(fs::read_to_string(path).unwrap(), "inside\n");
    sandbox.end().await;
}

fn is_refused<T: std::fmt::Debug>(result: Result<T, RequestError>, wanted: Refusal) -> bool {
    match result {
        Err(RequestError::Refused { refusal, .. }) if refusal == wanted => true,
        other => panic!("{other:?} is no {wanted:?}"),
    }
}
