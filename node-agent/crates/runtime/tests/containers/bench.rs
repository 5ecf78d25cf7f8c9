//! How long the steps take: `containers bench [count]`. Nothing is asserted.

use std::fs;
use std::time::{Duration, Instant};

use agent_runtime::PidMode;

use crate::fixture::{Container, Fixture, exit_code, reaper};
use crate::session::Session;

/// Measures creation, start and end of containers of five layers, and exec sessions.
pub(crate) fn run() {
    let count = std::env::args()
        .filter_map(|word| word.parse().ok())
        .next()
        .unwrap_or(300);
    let fixture = Fixture::new();
    let mut lower = fixture.lower.clone();
    for number in 0..4 {
        let name = format!("l{number}");
        fs::create_dir(fixture.base().join(&name)).unwrap();
        lower.insert(0, name);
    }
    let mut container = fixture.container().args(&["/bin/true"]);
    container.lower = lower;
    measure("own PID namespace", count, &container);
    let shared = reaper(&fixture);
    container.pid = PidMode::Join(&shared);
    measure("shared PID namespace", count, &container);
    container.pid = PidMode::Host;
    measure("host's PID namespace", count, &container);
    sessions(&fixture, count);
    rustix::process::pidfd_send_signal(&shared.pidfd, rustix::process::Signal::KILL).unwrap();
    exit_code(&shared.pidfd);
}

fn measure(name: &str, count: usize, container: &Container<'_>) {
    let mut create = Vec::new();
    let mut start = Vec::new();
    let mut end = Vec::new();
    for _ in 0..count {
        let times = once(container);
        create.push(times[0]);
        start.push(times[1]);
        end.push(times[2]);
    }
    println!(
        "{name}: create {}, start {}, exit and reap {}",
        shown(create),
        shown(start),
        shown(end)
    );
}

fn once(container: &Container<'_>) -> [Duration; 3] {
    // The upper directory is made in here too.
    let begun = Instant::now();
    let (created, ..) = container.create().unwrap();
    let made = Instant::now();
    created.gate.start().unwrap();
    let started = Instant::now();
    exit_code(&created.pidfd);
    [made - begun, started - made, started.elapsed()]
}

fn sessions(fixture: &Fixture, count: usize) {
    let running = fixture
        .container()
        .shell("echo up; sleep 600")
        .start()
        .unwrap();
    let mut start = Vec::new();
    let mut whole = Vec::new();
    for _ in 0..count {
        let session = Session::new(fixture, &running, &["/bin/true"]);
        let begun = Instant::now();
        let (execed, _output) = session.start().unwrap();
        start.push(begun.elapsed());
        exit_code(&execed.pidfd);
        whole.push(begun.elapsed());
    }
    println!(
        "exec: until it runs {}, to its end {}",
        shown(start),
        shown(whole)
    );
    running.kill();
}

fn shown(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: usize| times[(times.len() - 1) * share / 100].as_micros();
    format!("p50 {} p95 {} us", at(50), at(95))
}
