use expect_test::expect;
use proto::agent::StreamKind;

use crate::support::Agent;
use crate::support::samples::{job, web};

#[test]
fn attach_shows_what_is_written_from_now_on() {
    let agent = Agent::new(|fake| {
        fake.container(web()).write(StreamKind::Stdout, b"before\n");
    });
    let ctl = agent.ctl("attach web");
    let running = std::thread::spawn(move || {
        ctl.check(&expect![[r#"
        exit 7
        --- stdout
        now
    "#]])
    });
    agent.wait_for("Attach web stdout,stderr");
    agent.with(|fake| {
        fake.containers[0].write(StreamKind::Stdout, b"now\n");
        fake.containers[0].exit.send_replace(Some(7));
    });
    running.join().expect("as expected");
}

#[test]
fn what_has_ended_cannot_be_attached_to() {
    let agent = Agent::new(|fake| {
        fake.container(job());
    });
    agent.ctl("attach job").check(&expect![[r#"
        exit 1
        --- stderr
        error: container job does not run, so there is nothing to attach to
        hint: `ctl start -a` starts it and attaches
    "#]]);
    agent.ctl("attach jobb").check(&expect![[r#"
        exit 1
        --- stderr
        error: there is no container jobb
        hint: did you mean `job`?
    "#]]);
}
