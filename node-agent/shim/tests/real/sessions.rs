//! Exec sessions and attach clients.

use std::time::Duration;

use agent_shim_client::{
    Attach, ContainerStdio, ExecStdio, ExecStreams, Refusal, RequestError, Stdin, TerminalSize,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe;

use crate::harness::{Node, PATIENCE, finish, read_all, until};

#[tokio::test]
async fn a_session_has_its_streams_and_its_exit() {
    let node = Node::start().await;
    let sandbox = node.sandbox().await;
    let plan = node.container("sleep 1000");
    sandbox.start(&plan).await;
    let mut exec = sandbox.exec(&plan.id, "cat; echo bad >&2; exit 9");
    exec.stdio = ExecStdio::Pipes { stdin: true };
    let mut session = sandbox.shim.exec(exec).await.unwrap();
    let ExecStreams::Pipes {
        stdin,
        stdout,
        stderr,
    } = session.streams
    else {
        panic!("pipes");
    };
    let mut stdin = pipe::Sender::from_owned_fd(stdin.unwrap()).unwrap();
    stdin.write_all(b"through").await.unwrap();
    drop(stdin);
    assert_eq!(read_all(stdout).await, "through");
    assert_eq!(read_all(stderr).await, "bad\n");
    let exit = session.exit.wait().await.unwrap();
    assert_eq!(
        (exit.exit_code, exit.signal, exit.timed_out),
        (9, None, false)
    );
    sandbox.end().await;
}

#[tokio::test]
async fn a_session_whose_program_is_not_there_is_refused() {
    let node = Node::start().await;
    let sandbox = node.sandbox().await;
    let plan = node.container("sleep 1000");
    sandbox.start(&plan).await;
    let mut exec = sandbox.exec(&plan.id, "");
    exec.process = String::from_utf8(exec.process)
        .unwrap()
        .replace("/bin/sh", "/bin/none")
        .into_bytes();
    let error = sandbox.shim.exec(exec).await.unwrap_err();
    let RequestError::Refused { refusal, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(refusal, Refusal::ProgramNotFound);
    sandbox.end().await;
}

#[tokio::test]
async fn a_timeout_kills_the_whole_session() {
    let node = Node::start().await;
    let sandbox = node.sandbox().await;
    let plan = node.container("sleep 1000");
    sandbox.start(&plan).await;
    // A child in a process group of its own, which a signal to the group would miss.
    let script = "set -m; sleep 2000 & sleep 1000";
    let mut exec = sandbox.exec(&plan.id, script);
    exec.timeout = Some(Duration::from_millis(100));
    let session = sandbox.shim.exec(exec).await.unwrap();
    let (exit, _) = finish(session).await;
    assert!(exit.timed_out);
    assert_eq!(exit.signal, Some(9));
    let left = || {
        let procs = node.cgroup("freezer").join("cgroup.procs");
        std::fs::read_to_string(procs).unwrap().lines().count()
    };
    until("only the container's own process is left", || left() == 1).await;
    sandbox.end().await;
}

#[tokio::test]
async fn a_session_has_a_terminal_and_its_size() {
    let node = Node::start().await;
    let sandbox = node.sandbox().await;
    let plan = node.container("sleep 1000");
    sandbox.start(&plan).await;
    let mut exec = sandbox.exec(&plan.id, "stty size; read line; stty size; echo got $line");
    exec.stdio = ExecStdio::Terminal(TerminalSize {
        rows: 11,
        columns: 22,
    });
    let id = exec.id.clone();
    let mut session = sandbox.shim.exec(exec).await.unwrap();
    let ExecStreams::Terminal(master) = session.streams else {
        panic!("a terminal");
    };
    let mut seen = Vec::new();
    let mut read = |wanted: &str| {
        let mut buffer = [0; 512];
        // Nothing now is no end; the end of a terminal is an error.
        if let Ok(count) = rustix::io::read(&master, &mut buffer) {
            seen.extend_from_slice(&buffer[..count]);
        }
        String::from_utf8_lossy(&seen).contains(wanted)
    };
    until("the first size", || read("11 22")).await;
    let size = TerminalSize {
        rows: 33,
        columns: 44,
    };
    sandbox.shim.resize_exec(&id, size).await.unwrap();
    rustix::io::write(&master, b"hello\n").unwrap();
    until("the second size", || read("33 44")).await;
    until("the line", || read("got hello")).await;
    assert_eq!(session.exit.wait().await.unwrap().exit_code, 0);
    sandbox.end().await;
}

#[tokio::test]
async fn a_session_that_nobody_reads_is_drained_on_request() {
    let node = Node::start().await;
    let sandbox = node.sandbox().await;
    let plan = node.container("sleep 1000");
    sandbox.start(&plan).await;
    let exec = sandbox.exec(&plan.id, "seq 1 500000; exit 8");
    let mut session = sandbox.shim.exec(exec.clone()).await.unwrap();
    sandbox.shim.drain_exec(&exec.id).await.unwrap();
    let exit = tokio::time::timeout(PATIENCE, session.exit.wait()).await;
    assert_eq!(exit.unwrap().unwrap().exit_code, 8);
    sandbox.end().await;
}

const ALL: Attach = Attach {
    stdin: true,
    stdout: true,
    stderr: true,
};

#[tokio::test]
async fn a_client_attached_before_the_start_sees_all_and_is_heard() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    let mut plan = node.container("echo begin; cat; echo end >&2");
    plan.stdio = ContainerStdio::Pipes { stdin: Stdin::Once };
    sandbox.create(&plan).await.unwrap();
    let client = sandbox.shim.attach(&plan.id, ALL).await.unwrap();
    sandbox.shim.start_container(&plan.id).await.unwrap();
    // More than the pipes on the way hold, so that it must wait for the container.
    let input = "0123456789abcde\n".repeat(40_000);
    let mut stdin = pipe::Sender::from_owned_fd(client.stdin.unwrap()).unwrap();
    let sent = input.clone();
    let sending = tokio::spawn(async move { stdin.write_all(sent.as_bytes()).await });
    let text = read_all(client.stdout.unwrap()).await;
    sending.await.unwrap().unwrap();
    assert!(text == format!("begin\n{input}"), "{} bytes", text.len());
    assert_eq!(read_all(client.stderr.unwrap()).await, "end\n");
    assert_eq!(sandbox.exited().await.exit_code, 0);
    assert!(node.log(&plan.id, "stdout") == text);
    sandbox.end().await;
}

#[tokio::test]
async fn a_slow_client_is_cut_off_and_the_container_goes_on() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    let plan = node.container("seq 1 1000000");
    sandbox.create(&plan).await.unwrap();
    let client = sandbox.shim.attach(&plan.id, ALL).await.unwrap();
    let writable = sandbox.shim.start_container(&plan.id).await;
    assert!(writable.is_ok());
    // It never reads.
    let report = sandbox.exited().await;
    assert_eq!(report.dropped_log_lines, 0);
    let text = read_all(client.stdout.unwrap()).await;
    let all = node.log(&plan.id, "stdout");
    assert!(all.len() > 6_000_000);
    assert!(text.len() < all.len() && all.starts_with(&text));
    sandbox.end().await;
}

#[tokio::test]
async fn a_client_that_is_always_late_is_cut_off_in_the_end() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    // At this client's pace that would be a minute.
    let plan = node.container("seq 1 3000000");
    sandbox.create(&plan).await.unwrap();
    let client = sandbox.shim.attach(&plan.id, ALL).await.unwrap();
    sandbox.shim.start_container(&plan.id).await.unwrap();
    let mut stdout = pipe::Receiver::from_owned_fd(client.stdout.unwrap()).unwrap();
    let reading = tokio::spawn(async move {
        let mut taken = 0;
        let mut buffer = vec![0; 128 << 10];
        while let Ok(count @ 1..) = stdout.read(&mut buffer).await {
            taken += count;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        taken
    });
    assert_eq!(sandbox.exited().await.exit_code, 0);
    let all = node.log(&plan.id, "stdout");
    assert!(all.ends_with("\n3000000\n"));
    assert!(reading.await.unwrap() < all.len());
    sandbox.end().await;
}

#[tokio::test]
async fn a_client_that_pauses_holds_the_output_back_and_misses_nothing() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    let plan = node.container("seq 1 1000000; seq 1 3 >&2");
    sandbox.create(&plan).await.unwrap();
    let client = sandbox.shim.attach(&plan.id, ALL).await.unwrap();
    sandbox.shim.start_container(&plan.id).await.unwrap();
    // It takes nothing until its pipe is full and the container has been held back.
    let stdout = client.stdout.unwrap();
    let full = || rustix::io::ioctl_fionread(&stdout).unwrap() >= 1 << 20;
    until("its pipe is full", full).await;
    let text = read_all(stdout).await;
    assert_eq!(sandbox.exited().await.exit_code, 0);
    let all = node.log(&plan.id, "stdout");
    assert!(text == all, "{} of {} bytes", text.len(), all.len());
    assert_eq!(read_all(client.stderr.unwrap()).await, "1\n2\n3\n");
    sandbox.end().await;
}

#[tokio::test]
async fn a_client_that_leaves_lets_the_output_it_held_back_go() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    let plan = node.container("seq 1 1000000");
    sandbox.create(&plan).await.unwrap();
    let client = sandbox.shim.attach(&plan.id, ALL).await.unwrap();
    sandbox.shim.start_container(&plan.id).await.unwrap();
    let stdout = client.stdout.unwrap();
    let full = || rustix::io::ioctl_fionread(&stdout).unwrap() >= 1 << 20;
    until("its pipe is full", full).await;
    drop(stdout);
    drop(client.stderr);
    assert_eq!(sandbox.exited().await.exit_code, 0);
    assert!(node.log(&plan.id, "stdout").ends_with("\n1000000\n"));
    sandbox.end().await;
}

#[tokio::test]
async fn clients_that_come_and_go_leave_nothing() {
    let node = Node::start().await;
    let sandbox = node.sandbox().await;
    let plan = node.container("sleep 1000");
    sandbox.start(&plan).await;
    let count = || {
        std::fs::read_dir(format!("/proc/{}/fd", sandbox.ready.pid))
            .unwrap()
            .count()
    };
    let before = count();
    for _ in 0..1000 {
        drop(sandbox.shim.attach(&plan.id, ALL).await.unwrap());
    }
    until("their descriptors are closed", || count() == before).await;
    sandbox.end().await;
}

#[tokio::test]
async fn a_container_with_a_terminal_is_attached_to_and_resized() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    let mut plan = node.container("stty size; read line; stty size; echo got $line");
    plan.stdio = ContainerStdio::Terminal(TerminalSize {
        rows: 10,
        columns: 20,
    });
    sandbox.create(&plan).await.unwrap();
    let client = sandbox.shim.attach(&plan.id, ALL).await.unwrap();
    sandbox.shim.start_container(&plan.id).await.unwrap();
    let mut output = pipe::Receiver::from_owned_fd(client.stdout.unwrap()).unwrap();
    let mut seen = String::new();
    while !seen.contains("10 20") {
        let mut buffer = [0; 100];
        let count = tokio::time::timeout(PATIENCE, output.read(&mut buffer)).await;
        seen.push_str(std::str::from_utf8(&buffer[..count.unwrap().unwrap()]).unwrap());
    }
    let size = TerminalSize {
        rows: 30,
        columns: 40,
    };
    sandbox.shim.resize_container(&plan.id, size).await.unwrap();
    let mut stdin = pipe::Sender::from_owned_fd(client.stdin.unwrap()).unwrap();
    stdin.write_all(b"hello\n").await.unwrap();
    tokio::time::timeout(PATIENCE, output.read_to_string(&mut seen))
        .await
        .unwrap()
        .unwrap();
    assert!(
        seen.contains("30 40") && seen.contains("got hello"),
        "{seen:?}"
    );
    assert_eq!(sandbox.exited().await.exit_code, 0);
    assert!(node.log(&plan.id, "stdout").contains("got hello"));
    sandbox.end().await;
}

#[tokio::test]
async fn a_terminal_that_nobody_has_open_for_a_while_is_read_again() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    let mut plan = node.container(
        "echo one; exec 0</dev/null 1>/dev/null 2>/dev/null; sleep 0.7; echo two >/dev/pts/0; sleep 0.1",
    );
    plan.stdio = ContainerStdio::Terminal(TerminalSize::default());
    assert_eq!(sandbox.run(&plan).await.exit_code, 0);
    assert_eq!(node.log(&plan.id, "stdout"), "one\r\ntwo\r\n");
    sandbox.end().await;
}
