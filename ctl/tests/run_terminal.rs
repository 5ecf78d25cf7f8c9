//! `run -it`, in a real terminal.

use nix::sys::signal::Signal;
use proto::agent::StreamKind;

use crate::support::Agent;
use crate::support::fake::Behaviour;
use crate::support::pty::Terminal;
use crate::support::samples::busybox;

fn agent() -> Agent {
    Agent::new(|fake| {
        fake.images.push(busybox());
        fake.behaviour = Some(Behaviour::Echoes);
        fake.output = vec![(StreamKind::Stdout, b"$ ")];
    })
}

fn shell(agent: &Agent, flags: &str) -> Terminal {
    let mut terminal = Terminal::start(agent.ctl(&format!("run -it --name sh {flags} busybox sh")));
    terminal.shows("$ ");
    agent.wait_for("Attach sh: resize 24x80");
    terminal
}

#[test]
fn what_is_typed_and_shown_passes_unchanged() {
    let agent = agent();
    let mut terminal = shell(&agent, "");
    assert!(!terminal.is_cooked());
    terminal.types("ls\r\x03\x1b[A");
    terminal.shows("ls\r\x03\x1b[A");
    agent.with(|fake| {
        let size = fake.created[0].terminal_size.expect("a size");
        assert_eq!((size.rows, size.columns), (24, 80));
        assert!(fake.created[0].terminal && fake.created[0].stdin);
    });
    agent.with(|fake| fake.containers[0].exit.send_replace(Some(5)));
    assert_eq!(terminal.ends().code(), Some(5));
    assert!(terminal.is_cooked());
    let requests = agent.requests();
    assert_eq!(
        requests[..3],
        [
            "Create busybox sh",
            "Attach sh stdin,stdout,stderr",
            "Start sh"
        ]
    );
}

#[test]
fn the_size_follows_the_terminals() {
    let agent = agent();
    let mut terminal = shell(&agent, "");
    terminal.resizes(50, 120);
    agent.wait_for("Attach sh: resize 50x120");
    agent.with(|fake| fake.containers[0].exit.send_replace(Some(0)));
    assert_eq!(terminal.ends().code(), Some(0));
}

#[test]
fn ctrl_p_ctrl_q_leaves_the_container_running() {
    let agent = agent();
    let mut terminal = shell(&agent, "");
    // The first key alone is the container's after all.
    terminal.types("a\x10b");
    agent.wait_for("Attach sh: stdin \"a\\u{10}b\"");
    terminal.types("\x10\x11");
    agent.wait_for("Attach sh: detach");
    assert_eq!(terminal.ends().code(), Some(0));
    assert!(terminal.is_cooked());
    agent.with(|fake| assert_eq!(*fake.containers[0].exit.borrow(), None));
    assert!(!agent.requests().contains(&"Attach sh: close".to_owned()));
}

#[test]
fn other_keys_can_be_chosen() {
    let agent = agent();
    let mut terminal = shell(&agent, "--detach-keys ctrl-x,x");
    terminal.types("\x10\x11");
    terminal.shows("\x10\x11");
    terminal.types("\x18x");
    agent.wait_for("Attach sh: detach");
    assert_eq!(terminal.ends().code(), Some(0));
}

#[test]
fn a_signal_restores_the_terminal() {
    let agent = agent();
    let mut terminal = shell(&agent, "");
    terminal.signals(Signal::SIGTERM);
    assert_eq!(terminal.ends().code(), Some(143));
    assert!(terminal.is_cooked());
    agent.with(|fake| assert_eq!(*fake.containers[0].exit.borrow(), None));
}
