//! What attackers have done to programs like this one, tried on a shim; named after the rows of the list of attacks.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;

use agent_shim_client::Shim;

use crate::harness::{Node, until};

#[tokio::test]
async fn hostile_01_no_executable_of_ours_is_written_through_proc() {
    let node = Node::start().await;
    let sandbox = node.sandbox().await;
    let plan = node.container(
        "echo ready; while true; do for p in /proc/[0-9]*; do echo x > $p/exe && echo WROTE; done; done 2>/dev/null",
    );
    sandbox.start(&plan).await;
    until("it tries", || {
        node.log(&plan.id, "stdout").contains("ready")
    })
    .await;
    for _ in 0..30 {
        assert_eq!(sandbox.output(&plan.id, "echo fine").await.1, "fine\n");
    }
    assert_eq!(node.log(&plan.id, "stdout"), "ready\n");
    // Another shim still comes from an unharmed image.
    node.sandbox().await.end().await;
    sandbox.end().await;
}

#[tokio::test]
async fn hostile_02_nothing_of_the_shim_is_open_in_a_container_or_a_session() {
    let node = Node::start().await;
    let mut sandbox = node.sandbox().await;
    // 3 is what lists the directory.
    let script = "for fd in /proc/self/fd/*; do echo ${fd##*/}; done";
    let lasting = node.container("sleep 1000");
    sandbox.start(&lasting).await;
    let plan = node.container(script);
    sandbox.run(&plan).await;
    assert_eq!(node.log(&plan.id, "stdout"), "0\n1\n2\n3\n");
    let (_, seen) = sandbox.output(&lasting.id, script).await;
    assert_eq!(seen, "0\n1\n2\n3\n");
    sandbox.end().await;
}

#[tokio::test]
async fn hostile_11_a_stranger_who_reaches_the_socket_is_not_heard() {
    let node = Node::start().await;
    let sandbox = node.sandbox().await;
    let socket = sandbox.directory.join("shim.sock");
    let mode = fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // As if every other lock had failed.
    for path in [
        &node.path(""),
        &node.path("state"),
        &sandbox.directory,
        &socket,
    ] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    // Hello, in a frame.
    let greet = |mut stream: UnixStream| {
        let _ = stream.write_all(&[4, 0, 0, 0, 0x1a, 2, 8, 1]);
        let mut answer = [0; 16];
        stream.read(&mut answer).unwrap_or_default()
    };
    let stranger = socket.clone();
    let heard = std::thread::spawn(move || {
        let nobody = rustix::process::Uid::from_raw(65534);
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
        greet(UnixStream::connect(stranger).unwrap())
    });
    assert_eq!(heard.join().unwrap(), 0);
    assert!(
        greet(UnixStream::connect(&socket).unwrap()) > 0,
        "root is heard"
    );
    let (shim, _) = Shim::connect(&sandbox.directory).await.unwrap();
    shim.shutdown().await.unwrap();
    shim.gone().await;
}
