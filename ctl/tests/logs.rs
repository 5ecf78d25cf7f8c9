use expect_test::expect;
use proto::agent::StreamKind;

use crate::support::Agent;
use crate::support::samples::{job, web};

fn agent() -> Agent {
    Agent::new(|fake| {
        let container = fake.container(job());
        container.write(StreamKind::Stdout, b"one\n");
        container.write(StreamKind::Stderr, b"bad\n");
        container.write(StreamKind::Stdout, b"tw");
        container.write(StreamKind::Stdout, b"o\n");
    })
}

#[test]
fn each_stream_goes_its_way() {
    let agent = agent();
    agent.ctl("logs job").check(&expect![[r#"
        exit 0
        --- stdout
        one
        two
        --- stderr
        bad
    "#]]);
    assert_eq!(agent.requests(), ["Logs job follow=false"]);
}

#[test]
fn times_stand_at_the_start_of_lines() {
    agent().ctl("logs -t job").check(&expect![[r#"
        exit 0
        --- stdout
        2026-01-02T15:04:05.000000000Z one
        2026-01-02T15:04:07.000000000Z two
        --- stderr
        2026-01-02T15:04:06.000000000Z bad
    "#]]);
}

#[test]
fn the_tail_and_the_beginning_are_asked_for() {
    let agent = agent();
    agent.ctl("logs -n 2 --since 10m job").check(&expect![[r#"
        exit 0
        --- stdout
        two
    "#]]);
    agent.ctl("logs --tail all job").output();
    assert_eq!(
        agent.requests(),
        [
            "Logs job follow=false tail=2 since",
            "Logs job follow=false"
        ]
    );
}

#[test]
fn following_ends_with_the_container() {
    let agent = Agent::new(|fake| {
        fake.container(web()).write(StreamKind::Stdout, b"one\n");
    });
    let ctl = agent.ctl("logs -f web");
    let running = std::thread::spawn(move || {
        ctl.check(&expect![[r#"
        exit 0
        --- stdout
        one
        two
    "#]])
    });
    agent.wait_for("Logs web follow=true");
    agent.with(|fake| {
        fake.containers[0].write(StreamKind::Stdout, b"two\n");
        fake.containers[0].exit.send_replace(Some(0));
    });
    running.join().expect("as expected");
}

#[test]
fn mistakes_are_explained() {
    agent().ctl("logs jbo").check(&expect![[r#"
        exit 1
        --- stderr
        error: there is no container jbo
        hint: did you mean `job`?
    "#]]);
    agent().ctl("logs --tail some job").check(&expect![[r#"
        exit 2
        --- stderr
        error: invalid value 'some' for '--tail <LINES>': "some" is not a number of lines, or all

        For more information, try '--help'.
    "#]]);
    agent()
        .ctl("logs --since yesterday job")
        .check(&expect![[r#"
            exit 2
            --- stderr
            error: invalid value 'yesterday' for '--since <TIME>': "yesterday" is not a time, such as 2026-01-02T15:04:05Z, or how long ago, such as 10m

            For more information, try '--help'.
        "#]]);
}
