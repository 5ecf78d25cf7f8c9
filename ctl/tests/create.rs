use expect_test::expect;
use tonic::Status;

use crate::support::Agent;
use crate::support::samples::busybox;

#[test]
fn create_shows_the_id_and_starts_nothing() {
    let agent = Agent::new(|fake| fake.images.push(busybox()));
    agent
        .ctl("create --name job busybox true")
        .check(&expect![[r#"
            exit 0
            --- stdout
            00000000000000000000000000000000000000000000000000000000abcdef01
        "#]]);
    agent.ctl("container create busybox").check(&expect![[r#"
        exit 0
        --- stdout
        00000000000000000000000000000000000000000000000000000000abcdef02
    "#]]);
    assert_eq!(agent.requests(), ["Create busybox true", "Create busybox"]);
}

#[test]
fn a_refusal_is_a_failure() {
    let agent = Agent::new(|fake| {
        fake.fail(
            "Create",
            Status::already_exists("container name job is taken"),
        );
    });
    agent.ctl("create --name job busybox").check(&expect![[r#"
        exit 1
        --- stderr
        error: a container of busybox cannot be created
          container name job is taken
        hint: give it another --name, or remove the one that has it with `ctl rm -f`
    "#]]);
}
