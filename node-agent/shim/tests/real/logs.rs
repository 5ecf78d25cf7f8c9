//! Output on its way to the log.

use std::fs;
use std::time::Duration;

use agent_shim_client::{ContainerPid, Rotation};

use crate::harness::{Node, payload, until};

#[tokio::test]
async fn reopening_under_load_loses_and_doubles_nothing() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    let plan = node.container("seq 1 200000");
    sandbox.start(&plan).await;
    let current = node.path("logs").join(format!("{}.log", plan.id));
    let mut moved = Vec::new();
    while sandbox.shim.start_container(&plan.id).await.is_err() {
        let old = node.path("logs").join(format!("old-{}", moved.len()));
        fs::rename(&current, &old).unwrap();
        if sandbox.shim.reopen_log(&plan.id).await.is_err() {
            // It has exited meanwhile.
            fs::rename(&old, &current).unwrap();
            break;
        }
        moved.push(old);
        if moved.len() > 50 {
            break;
        }
    }
    assert_eq!(sandbox.exited().await.dropped_log_lines, 0);
    let mut text: String = moved.iter().map(|old| payload(old, "stdout")).collect();
    text.push_str(&node.log(&plan.id, "stdout"));
    let wanted: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    assert!(text == wanted, "{} bytes of {}", text.len(), wanted.len());
    assert!(!moved.is_empty());
    sandbox.end().await;
}

#[tokio::test]
async fn rotation_keeps_the_newest_lines_whole() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    let mut plan = node.container("seq 1 20000");
    plan.rotation = Some(Rotation {
        max_size: 100_000,
        max_files: 2,
    });
    sandbox.run(&plan).await;
    let path = |suffix: &str| node.path("logs").join(format!("{}.log{suffix}", plan.id));
    let text: String = [".2", ".1", ""]
        .map(|suffix| {
            assert!(fs::metadata(path(suffix)).unwrap().len() <= 100_000);
            payload(&path(suffix), "stdout")
        })
        .concat();
    assert!(!path(".3").exists());
    let first: u32 = text.lines().next().unwrap().parse().unwrap();
    let wanted: String = (first..=20_000).map(|n| format!("{n}\n")).collect();
    assert!(first > 1 && text == wanted);
    sandbox.end().await;
}

#[tokio::test]
async fn a_grandchild_that_holds_the_output_does_not_hold_the_exit() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    // Without a PID namespace of its own, and out of its cgroup: nothing ends it for the shim.
    let mut plan = node.container("echo first; sleep 1000 & echo $! > /tmp/pid; exit 3");
    plan.pid = ContainerPid::Host;
    let report = sandbox.run(&plan).await;
    assert_eq!(report.exit_code, 3);
    assert_eq!(node.log(&plan.id, "stdout"), "first\n");
    sandbox.end().await;
}

#[tokio::test]
async fn a_writer_outside_the_container_is_waited_for_only_shortly() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    let mut plan = node.container("echo $$; exec sleep 1000");
    plan.pid = ContainerPid::Host;
    let pid = sandbox.start(&plan).await;
    until("its output is there", || {
        !node.log(&plan.id, "stdout").is_empty()
    })
    .await;
    // A copy of its output in this process, as a process that left the cgroup would have.
    let copy = fs::File::options()
        .write(true)
        .open(format!("/proc/{pid}/fd/1"))
        .unwrap();
    let shim = &sandbox.shim;
    shim.signal_container(&plan.id, 9, agent_shim_client::SignalTarget::First)
        .await
        .unwrap();
    let report = tokio::time::timeout(Duration::from_secs(10), sandbox.exited()).await;
    assert_eq!(report.unwrap().exit_code, 137);
    drop(copy);
    sandbox.end().await;
}

#[tokio::test]
async fn a_full_disk_drops_lines_counts_them_and_never_blocks() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    let plan = node.container("yes 0123456789 | head -n 100000");
    // The log directory is a small file system of its own.
    let small = agent_small_filesystem();
    let report = sandbox
        .run_with_logs_in(&plan, small.try_clone().unwrap())
        .await;
    assert_eq!(report.exit_code, 0);
    let log = crate::harness::read_in(&small, &format!("{}.log", plan.id));
    let kept = log.lines().count() as u64;
    assert!(log.ends_with("0123456789\n"), "no record is torn");
    assert!(kept > 0 && report.dropped_log_lines > 0);
    assert_eq!(kept + report.dropped_log_lines, 100_000);
    sandbox.end().await;
}

/// A detached tmpfs of 64 KiB.
fn agent_small_filesystem() -> std::os::fd::OwnedFd {
    use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};
    let context = rustix::mount::fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    rustix::mount::fsconfig_set_string(&context, "size", "65536").unwrap();
    rustix::mount::fsconfig_create(&context).unwrap();
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    rustix::mount::fsmount(&context, flags, MountAttrFlags::empty()).unwrap()
}
