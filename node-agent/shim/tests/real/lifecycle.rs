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
