use std::collections::HashMap;

use expect_test::expect;
use proto::agent::Event;

use crate::support::Agent;
use crate::support::samples::MOMENT;

fn agent() -> Agent {
    let event = |kind: &str, action: &str, id: &str, attributes: &[(&str, &str)]| Event {
        time: MOMENT,
        kind: kind.into(),
        action: action.into(),
        id: id.into(),
        owner: "local".into(),
        attributes: attributes
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect::<HashMap<_, _>>(),
    };
    Agent::new(|fake| {
        fake.events = vec![
            event("image", "pull", "docker.io/library/nginx:1", &[]),
            event(
                "container",
                "start",
                "aaaa",
                &[("name", "web"), ("image", "nginx:1")],
            ),
            event(
                "container",
                "exit",
                "bbbb",
                &[("name", "job"), ("exitCode", "3")],
            ),
        ];
    })
}

#[test]
fn each_event_is_a_line() {
    agent().ctl("events").check(&expect![[r#"
        exit 0
        --- stdout
        2026-01-02T15:04:05.000000000Z image pull docker.io/library/nginx:1
        2026-01-02T15:04:05.000000000Z container start aaaa (image=nginx:1, name=web)
        2026-01-02T15:04:05.000000000Z container exit bbbb (exitCode=3, name=job)
    "#]]);
}

#[test]
fn filters_choose() {
    let agent = agent();
    agent
        .ctl("events --filter type=container --filter container=web")
        .check(&expect![[r#"
            exit 0
            --- stdout
            2026-01-02T15:04:05.000000000Z container start aaaa (image=nginx:1, name=web)
        "#]]);
    agent
        .ctl(
            "system events --filter event=exit --format {{.Action}}:{{.Actor.Attributes.exitCode}}",
        )
        .check(&expect![[r#"
            exit 0
            --- stdout
            exit:3
        "#]]);
    assert_eq!(agent.requests(), ["Events container", "Events"]);
}

#[test]
fn json_has_a_line_for_each() {
    agent()
        .ctl("events --format json --filter event=pull")
        .check(&expect![[r#"
            exit 0
            --- stdout
            {"Type":"image","Action":"pull","ID":"docker.io/library/nginx:1","Owner":"local","Actor":{"ID":"docker.io/library/nginx:1","Attributes":{}},"Time":1767366245,"TimeNano":1767366245000000000}
        "#]]);
}
