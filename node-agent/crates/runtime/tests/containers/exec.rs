//! Programs run in running containers.

use std::os::unix::fs::MetadataExt;

use agent_runtime::{FailureKind, Onlookers, PidMode};
use serde_json::json;

use crate::Case;
use crate::fixture::{Fixture, exit_code, own_cgroup_line};
use crate::session::Session;

pub(crate) const CASES: &[Case] = &[
    ("an_exec_session_is_in_the_container", inside),
    ("an_exec_session_has_a_terminal", terminal),
    ("an_exec_session_says_why_it_does_not_run", refused),
    (
        "an_exec_session_in_a_container_that_ended_is_refused",
        ended,
    ),
    ("a_maker_is_at_home_after_every_exec_session", at_home),
    ("both_ways_into_a_container_lead_to_the_same_place", ways),
    ("who_may_trace_is_told_of_containers_and_sessions", tracers),
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

/// Every namespace of this process, and of the processes it forks.
fn own_namespaces() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/ns").unwrap();
    let mut all: Vec<_> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            format!("{path:?} {:?}", std::fs::read_link(&path).unwrap())
        })
        .collect();
    for place in ["/", "."] {
        let found = std::fs::metadata(place).unwrap();
        all.push(format!("{place} {}:{}", found.dev(), found.ino()));
    }
    all.sort();
    all
}

fn at_home() {
    let fixture = Fixture::new();
    let before = own_namespaces();
    let apart = fixture.container().args(&["true"]).output();
    assert_eq!((own_namespaces(), apart.as_str()), (before.clone(), ""));
    let running = fixture
        .container()
        .shell("echo up; sleep 60")
        .start()
        .unwrap();
    let session = |args: &[&str]| Session::new(&fixture, &running, args);
    assert_eq!(session(&["true"]).onlookers, Onlookers::Bystanders);
    for _ in 0..3 {
        assert_eq!(session(&["true"]).run().code, 0);
        assert_eq!(own_namespaces(), before);
    }
    session(&["nothing"]).start().err().unwrap();
    assert_eq!(own_namespaces(), before);
    let mut refused = session(&["true"]);
    refused.process["cwd"] = json!("/nothing");
    refused.start().err().unwrap();
    assert_eq!(own_namespaces(), before);
    // Its number is taken and its namespace closed, and nobody has waited for it yet.
    rustix::process::pidfd_send_signal(&running.created.pidfd, rustix::process::Signal::KILL)
        .unwrap();
    for _ in 0..100 {
        // A first process ends after every other of its namespace has been waited for.
        if let Ok((execed, _output)) = session(&["true"]).start() {
            exit_code(&execed.pidfd);
        }
        assert_eq!(own_namespaces(), before);
    }
    exit_code(&running.created.pidfd);
    let gone = session(&["true"]).start().err().unwrap();
    assert_eq!(gone.kind(), FailureKind::NotRunning, "{gone}");
    assert_eq!(own_namespaces(), before);
    // What is forked next is no member of anything that is gone.
    let mut next = fixture.container().args(&["readlink", "/proc/self/ns/pid"]);
    next.pid = PidMode::Host;
    let own = std::fs::read_link("/proc/self/ns/pid").unwrap();
    assert_eq!(next.output().trim(), own.display().to_string());
}

fn ways() {
    let fixture = Fixture::new();
    let running = fixture
        .container()
        .shell("trap '' HUP USR1; echo up; sleep 60")
        .start()
        .unwrap();
    let script = "cd /proc/self; for n in ns/*; do readlink $n; done; cat cgroup; readlink root cwd; ls fd; \
        grep -E '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp:|Sig[BIC]|Shd|NSsid|NSpgid|Umask)' status; cat limits mountinfo oom_score_adj; \
        cut -d ' ' -f 4 stat; ulimit -a; env";
    let seen = |onlookers| {
        let mut session = Session::new(&fixture, &running, &["/bin/sh", "-c", script]);
        session.onlookers = onlookers;
        let output = session.output();
        // The one number that differs: the process itself, which leads its session and group.
        let lines = output.lines().map(|line| match line.split_once(':') {
            Some((name @ ("NSsid" | "NSpgid"), _)) => name,
            _ => line,
        });
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let inside = seen(Onlookers::Bystanders);
    assert!(inside.len() > 50, "{inside:?}");
    assert_eq!(inside, seen(Onlookers::Tracers));
    running.kill();
}

fn tracers() {
    let fixture = Fixture::new();
    let tracer = json!(["CAP_SYS_PTRACE"]);
    let mut container = fixture.container().shell("echo up; sleep 60");
    let running = container.start().unwrap();
    assert_eq!(running.created.onlookers, Onlookers::Bystanders);
    let mut session = Session::new(&fixture, &running, &["true"]);
    for (tracing, expected) in [(false, Onlookers::Bystanders), (true, Onlookers::Tracers)] {
        if tracing {
            session.process["capabilities"]["bounding"] = tracer.clone();
        }
        let (execed, _output) = session.start().unwrap();
        assert_eq!(execed.onlookers, expected);
        assert_eq!(exit_code(&execed.pidfd), 0);
    }
    running.kill();
    container.spec["process"]["capabilities"]["bounding"] = tracer;
    let running = container.start().unwrap();
    assert_eq!(running.created.onlookers, Onlookers::Tracers);
    running.kill();
    let reaper = crate::fixture::reaper(&fixture);
    let mut shared = fixture.container().shell("echo up; sleep 60");
    shared.pid = PidMode::Join(&reaper);
    let running = shared.start().unwrap();
    assert_eq!(running.created.onlookers, Onlookers::Tracers);
    running.kill();
    rustix::process::pidfd_send_signal(&reaper.pidfd, rustix::process::Signal::KILL).unwrap();
    exit_code(&reaper.pidfd);
}
