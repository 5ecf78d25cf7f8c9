//! Programs run in running containers.

use agent_runtime::FailureKind;
use serde_json::json;

use crate::Case;
use crate::fixture::{Fixture, own_cgroup_line};
use crate::session::Session;

pub(crate) const CASES: &[Case] = &[
    ("an_exec_session_is_in_the_container", inside),
    ("an_exec_session_has_a_terminal", terminal),
    ("an_exec_session_says_why_it_does_not_run", refused),
    (
        "an_exec_session_in_a_container_that_ended_is_refused",
        ended,
    ),
];

fn inside() {
    let fixture = Fixture::new();
    let running = fixture
        .container()
        .shell("echo up; sleep 60")
        .start()
        .unwrap();
    let script = "echo $$; readlink /proc/1/exe; for n in pid mnt cgroup; do readlink /proc/self/ns/$n; done; cat /proc/self/cgroup";
    let outside = ["pid", "mnt", "cgroup"].map(|name| {
        let link = format!("/proc/{}/ns/{name}", running.created.pid);
        std::fs::read_link(link).unwrap().display().to_string()
    });
    let seen = Session::new(&fixture, &running, &["/bin/sh", "-c", script]).output();
    let lines: Vec<&str> = seen.lines().collect();
    assert_ne!(lines[0], "1");
    assert_eq!(lines[1], "/bin/busybox");
    assert_eq!(lines[2..5], outside);
    let cgroup = format!("{}\n", own_cgroup_line());
    assert!(seen.contains(&cgroup), "{seen}");
    assert_eq!(running.kill(), 137);
}

fn terminal() {
    let fixture = Fixture::new();
    let running = fixture
        .container()
        .shell("echo up; sleep 60")
        .start()
        .unwrap();
    let mut session = Session::new(
        &fixture,
        &running,
        &[
            "sh",
            "-c",
            "tty; stty size; exec 3<>/dev/tty; stat -c %u /dev/pts/0",
        ],
    );
    session.terminal = true;
    session.user = "web";
    assert_eq!(session.output(), "/dev/pts/0\n44 88\n33\n");
    running.kill();
}

fn refused() {
    let fixture = Fixture::new();
    let running = fixture
        .container()
        .shell("echo up; sleep 60")
        .start()
        .unwrap();
    let kind = |args: &[&str], cwd: &str| {
        let mut session = Session::new(&fixture, &running, args);
        session.process["cwd"] = json!(cwd);
        session.start().err().unwrap().kind()
    };
    assert_eq!(kind(&["nothing"], "/"), FailureKind::ProgramNotFound);
    assert_eq!(
        kind(&["/etc/passwd"], "/"),
        FailureKind::ProgramNotExecutable
    );
    assert_eq!(kind(&["true"], "/nothing"), FailureKind::Invalid);
    running.kill();
}

fn ended() {
    let fixture = Fixture::new();
    let running = fixture.container().args(&["true"]).start().unwrap();
    rustix::event::poll(
        &mut [rustix::event::PollFd::new(
            &running.created.pidfd,
            rustix::event::PollFlags::IN,
        )],
        None,
    )
    .unwrap();
    let error = Session::new(&fixture, &running, &["true"])
        .start()
        .err()
        .unwrap();
    assert_eq!(error.kind(), FailureKind::NotRunning, "{error}");
    running.wait();
}
