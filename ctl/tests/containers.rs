//! The commands that ask one thing of each name: stop, kill, rm, restart, wait, port.

use expect_test::expect;
use tonic::Status;

use crate::support::Agent;
use crate::support::samples::{job, web};

fn agent() -> Agent {
    Agent::new(|fake| {
        fake.container(web());
        fake.container(job());
    })
}

#[test]
fn stop_names_what_it_stopped() {
    let agent = agent();
    agent.ctl("stop web job").check(&expect![[r#"
        exit 0
        --- stdout
        web
        job
    "#]]);
    assert_eq!(agent.requests(), ["Stop web", "Stop job"]);
}

#[test]
fn stop_sends_time_and_signal() {
    let agent = agent();
    agent.ctl("stop -t 3 -s SIGINT web").check(&expect![[r#"
        exit 0
        --- stdout
        web
    "#]]);
    agent.ctl("stop --time 0 web").check(&expect![[r#"
        exit 0
        --- stdout
        web
    "#]]);
    assert_eq!(
        agent.requests(),
        ["Stop web timeout=3 signal=SIGINT", "Stop web timeout=0"]
    );
}

#[test]
fn a_failure_keeps_none_of_the_others_from_their_turn() {
    agent().ctl("stop nosuch web wbe").check(&expect![[r#"
        exit 1
        --- stdout
        web
        --- stderr
        error: there is no container nosuch
        hint: `ctl ps -a` lists all containers
        error: there is no container wbe
        hint: did you mean `web`?
    "#]]);
}

#[test]
fn a_refusal_is_shown_with_its_reason() {
    let agent = Agent::new(|fake| {
        fake.fail(
            "Stop",
            Status::internal("container web cannot be stopped: its shim does not answer"),
        );
    });
    agent.ctl("stop web").check(&expect![[r#"
        exit 1
        --- stderr
        error: container web cannot be stopped
          its shim does not answer
        hint: the agent's log may tell more: `journalctl -u node-agent`
    "#]]);
}

#[test]
fn kill_sends_sigkill_unless_told() {
    let agent = agent();
    agent.ctl("kill web").check(&expect![[r#"
        exit 0
        --- stdout
        web
    "#]]);
    agent.ctl("kill -s USR1 web").check(&expect![[r#"
        exit 0
        --- stdout
        web
    "#]]);
    assert_eq!(agent.requests(), ["Kill web SIGKILL", "Kill web USR1"]);
}

#[test]
fn rm_removes() {
    let agent = agent();
    agent.ctl("rm -f web").check(&expect![[r#"
        exit 0
        --- stdout
        web
    "#]]);
    agent.ctl("rm job web").check(&expect![[r#"
        exit 1
        --- stdout
        job
        --- stderr
        error: there is no container web
        hint: `ctl ps -a` lists all containers
    "#]]);
    let requests = agent.requests();
    assert_eq!(requests[0], "Remove web force=true");
    assert_eq!(requests[1], "Remove job force=false");
}

#[test]
fn rm_with_force_is_content_if_there_is_none() {
    agent().ctl("rm -f nosuch").check(&expect![[r#"
        exit 0
        --- stderr
        warning: there is no container nosuch
    "#]]);
}

#[test]
fn restart_stops_and_starts() {
    let agent = agent();
    agent.ctl("restart -t 1 web").check(&expect![[r#"
        exit 0
        --- stdout
        web
    "#]]);
    assert_eq!(agent.requests(), ["Stop web timeout=1", "Start web"]);
}

#[test]
fn wait_prints_codes() {
    agent().ctl("wait job").check(&expect![[r#"
        exit 0
        --- stdout
        3
    "#]]);
}

#[test]
fn port_shows_all_or_one() {
    agent().ctl("port web").check(&expect![[r#"
        exit 0
        --- stdout
        80/tcp -> 0.0.0.0:8080
        80/tcp -> [::]:8080
    "#]]);
    agent().ctl("port web 80").check(&expect![[r#"
        exit 0
        --- stdout
        0.0.0.0:8080
        [::]:8080
    "#]]);
    agent().ctl("port web 80/udp").check(&expect![[r#"
        exit 1
        --- stderr
        error: port 80/udp of container web is not published
        hint: `ctl port web` lists the ports that are, while it runs
    "#]]);
    agent().ctl("port nosuch").check(&expect![[r#"
        exit 1
        --- stderr
        error: there is no container nosuch
        hint: `ctl ps -a` lists all containers
    "#]]);
}
