use expect_test::expect;
use proto::agent::StreamKind;
use tonic::Status;

use crate::support::Agent;
use crate::support::fake::Behaviour;
use crate::support::samples::{job, web};

fn agent() -> Agent {
    Agent::new(|fake| {
        fake.container(web());
        fake.container(job()).behaviour = Behaviour::Ends(4);
        fake.output = vec![
            (StreamKind::Stdout, b"out\n"),
            (StreamKind::Stderr, b"err\n"),
        ];
    })
}

#[test]
fn start_names_what_it_started() {
    let agent = agent();
    agent.ctl("start job web nosuch").check(&expect![[r#"
        exit 1
        --- stdout
        job
        web
        --- stderr
        error: there is no container nosuch
        hint: `ctl ps -a` lists all containers
    "#]]);
    assert_eq!(
        agent.requests()[..3],
        ["Start job", "Start web", "Start nosuch"]
    );
}

#[test]
fn attached_it_shows_the_output_and_ends_with_the_containers_code() {
    let agent = agent();
    agent.ctl("start -a job").check(&expect![[r#"
        exit 4
        --- stdout
        out
        --- stderr
        err
    "#]]);
    assert_eq!(
        agent.requests(),
        ["Inspect job", "Attach job stdout,stderr", "Start job"]
    );
}

#[test]
fn interactive_it_sends_the_input() {
    let agent = Agent::new(|fake| fake.container(job()).behaviour = Behaviour::Echoes);
    agent
        .ctl("start -ai job")
        .input(b"hello\n")
        .check(&expect![[r#"
            exit 0
            --- stdout
            hello
        "#]]);
}

#[test]
fn only_one_can_be_attached_to() {
    agent().ctl("start -a job web").check(&expect![[r#"
        exit 2
        --- stderr
        error: only one container can be attached to
        hint: leave out -a and -i, or start one at a time
    "#]]);
}

#[test]
fn a_failed_start_is_a_failure() {
    let agent = agent();
    agent.with(|fake| {
        fake.fail(
            "Start",
            Status::failed_precondition("container job runs already"),
        )
    });
    agent.ctl("start job").check(&expect![[r#"
        exit 1
        --- stderr
        error: container job cannot be started
          container job runs already
        hint: `ctl ps -a` shows what runs, `ctl inspect` what it is set up with
    "#]]);
}
