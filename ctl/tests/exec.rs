use expect_test::expect;
use nix::sys::signal::Signal;
use proto::agent::StreamKind;

use crate::support::Agent;
use crate::support::fake::Behaviour;
use crate::support::pty::Terminal;
use crate::support::samples::web;

fn agent(behaviour: Behaviour) -> Agent {
    Agent::new(|fake| {
        fake.container(web());
        fake.behaviour = Some(behaviour);
    })
}

#[test]
fn the_processs_output_and_code_are_ctls() {
    let agent = agent(Behaviour::Ends(3));
    agent.with(|fake| {
        fake.output = vec![
            (StreamKind::Stdout, b"out\n"),
            (StreamKind::Stderr, b"err\n"),
        ]
    });
    agent.ctl("exec web ls -l /").check(&expect![[r#"
        exit 3
        --- stdout
        out
        --- stderr
        err
    "#]]);
    assert_eq!(agent.requests(), ["Exec web [ls -l /]"]);
}

#[test]
fn input_is_sent_only_if_wished() {
    let agent = agent(Behaviour::Echoes);
    agent
        .ctl("exec -i web cat")
        .input(b"hello\n")
        .check(&expect![[r#"
            exit 0
            --- stdout
            hello
        "#]]);
    assert_eq!(agent.requests()[0], "Exec web [cat] stdin");
}

#[test]
fn flags_reach_the_agent() {
    let agent = agent(Behaviour::Ends(0));
    agent
        .ctl("exec -d -e A=1 -e B=2 -w /srv -u 1:2 --privileged web sh -c true")
        .check(&expect![[r#"
            exit 0
        "#]]);
    assert_eq!(
        agent.requests(),
        ["Exec web [sh -c true] privileged detach env=A=1,B=2 dir=/srv user=1:2"]
    );
}

#[test]
fn programs_that_cannot_be_executed_have_dockers_codes() {
    let agent = agent(Behaviour::Ends(0));
    agent.with(|fake| fake.fail_program("Exec", "127", "executable frob was not found in PATH"));
    agent.ctl("exec web frob").check(&expect![[r#"
        exit 127
        --- stderr
        error: container web cannot run frob
          executable frob was not found in PATH
        hint: is it in the image? a name without a slash is looked for along its PATH
    "#]]);
    agent.with(|fake| fake.fail_program("Exec", "126", "/etc/passwd may not be executed"));
    agent.ctl("exec web /etc/passwd").check(&expect![[r#"
        exit 126
        --- stderr
        error: container web cannot run /etc/passwd
          /etc/passwd may not be executed
        hint: is it executable there, and what runs it (the program in its first line) too?
    "#]]);
}

#[test]
fn an_unknown_container_is_125() {
    agent(Behaviour::Ends(0))
        .ctl("exec wb true")
        .check(&expect![[r#"
            exit 125
            --- stderr
            error: there is no container wb
            hint: did you mean `web`?
        "#]]);
}

#[test]
fn signals_are_the_processs() {
    let agent = agent(Behaviour::Waits);
    agent.with(|fake| fake.output = vec![(StreamKind::Stdout, b"ready\n")]);
    let mut terminal = Terminal::start(agent.ctl("exec web sleep 9"));
    terminal.shows("ready");
    terminal.signals(Signal::SIGTERM);
    assert_eq!(terminal.ends().code(), Some(143));
}

#[test]
fn a_terminal_needs_one() {
    agent(Behaviour::Ends(0))
        .ctl("exec -it web sh")
        .check(&expect![[r#"
            exit 125
            --- stderr
            error: stdin is not a terminal, so the container cannot have it as one
            hint: leave out -t to send a file or a pipe
        "#]]);
}

#[test]
fn a_terminal_is_raw_follows_its_size_and_is_restored() {
    let agent = agent(Behaviour::Echoes);
    agent.with(|fake| fake.output = vec![(StreamKind::Stdout, b"$ ")]);
    let mut terminal = Terminal::start(agent.ctl("exec -it web sh"));
    terminal.shows("$ ");
    agent.wait_for("Exec web: resize 24x80");
    assert!(!terminal.is_cooked());
    terminal.types("echo\x03\r");
    // Ctrl-C is a byte like any other, and Enter stays what it is.
    agent.wait_for("Exec web: stdin \"echo\\u{3}\\r\"");
    terminal.resizes(50, 120);
    agent.wait_for("Exec web: resize 50x120");
    terminal.types("\x10\x11");
    agent.wait_for("Exec web: detach");
    assert_eq!(terminal.ends().code(), Some(0));
    assert!(terminal.is_cooked());
}
