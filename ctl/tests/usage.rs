use expect_test::expect;

use crate::support::{Agent, Ctl};

#[test]
fn no_command_shows_the_help() {
    let output = Ctl::alone("").output();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Usage: ctl [OPTIONS] <COMMAND>"));
}

#[test]
fn an_unknown_command_comes_with_a_near_one() {
    Ctl::alone("imags").check(&expect![[r#"
        exit 2
        --- stderr
        error: unrecognized subcommand 'imags'

          tip: some similar subcommands exist: 'image', 'images'

        Usage: ctl [OPTIONS] <COMMAND>

        For more information, try '--help'.
    "#]]);
}

#[test]
fn an_unknown_flag_is_wrong_usage() {
    Ctl::alone("ps --frob").check(&expect![[r#"
        exit 2
        --- stderr
        error: unexpected argument '--frob' found

        Usage: ctl ps [OPTIONS]

        For more information, try '--help'.
    "#]]);
}

#[test]
fn wrong_usage_of_run_exec_and_create_has_dockers_code() {
    for line in [
        "run --frob web",
        "exec --frob web true",
        "create --frob web",
        "container run",
        "run -p 99999 web",
    ] {
        assert_eq!(Ctl::alone(line).output().status.code(), Some(125), "{line}");
    }
}

#[test]
fn a_value_that_cannot_be_used_is_explained() {
    Ctl::alone("run -v data:/data web").check(&expect![[r#"
        exit 125
        --- stderr
        error: invalid value 'data:/data' for '--volume <PATHS>': named volume "data" cannot be mounted: only paths of the host can, so far

        For more information, try '--help'.
    "#]]);
}

#[test]
fn the_agent_being_down_is_said_with_what_to_do() {
    Ctl::alone("ps").check(&expect![[r#"
        exit 1
        --- stderr
        error: cannot reach the agent at unix:///does/not/exist.sock
          there is no such socket
        hint: is node-agent running? `systemctl status node-agent` tells
        hint: another socket is named by -H/--host or NODE_AGENT_HOST
    "#]]);
}

#[test]
fn the_agent_being_down_fails_run_with_125() {
    Ctl::alone("run web").check(&expect![[r#"
        exit 125
        --- stderr
        error: cannot reach the agent at unix:///does/not/exist.sock
          there is no such socket
        hint: is node-agent running? `systemctl status node-agent` tells
        hint: another socket is named by -H/--host or NODE_AGENT_HOST
    "#]]);
}

#[test]
fn the_host_flag_wins_over_the_environment() {
    Ctl::alone("-H unix:///not/there/either.sock ps -q").check(&expect![[r#"
        exit 1
        --- stderr
        error: cannot reach the agent at unix:///not/there/either.sock
          there is no such socket
        hint: is node-agent running? `systemctl status node-agent` tells
        hint: another socket is named by -H/--host or NODE_AGENT_HOST
    "#]]);
}

#[test]
fn other_addresses_are_refused() {
    Ctl::alone("-H tcp://127.0.0.1:2375 ps").check(&expect![[r#"
        exit 2
        --- stderr
        error: "tcp://127.0.0.1:2375" is not an address of an agent
        hint: give it as unix:///run/node-agent/node-agent.sock
    "#]]);
}

#[test]
fn switches_take_values_as_dockers_do() {
    let agent = Agent::empty();
    agent
        .ctl("ps --all=true --quiet=false --no-trunc=1")
        .check(&expect![[r#"
            exit 0
            --- stdout
            CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES
        "#]]);
    agent.ctl("ps -a=true -q=false").check(&expect![[r#"
        exit 0
        --- stdout
        CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES
    "#]]);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    use std::io::Read as _;
    use std::process::Stdio;

    let mut ctl = Ctl::alone("completion bash");
    let mut child = ctl
        .command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ctl starts");
    drop(child.stdout.take());
    let mut said = String::new();
    child
        .stderr
        .take()
        .expect("a pipe")
        .read_to_string(&mut said)
        .expect("read");
    let code = child.wait().expect("ctl ends").code();
    // What fits in the pipe may be written before the reader has gone.
    assert!(code == Some(141) || code == Some(0), "{code:?}");
    assert_eq!(said, "");
}
