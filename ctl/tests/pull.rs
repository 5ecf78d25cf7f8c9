use expect_test::expect;
use proto::agent::pull_progress::Event;
use proto::agent::{LayerPhase, LayerProgress, PullDone, PullProgress};

use crate::support::Agent;
use crate::support::pty::Terminal;

/// Returns the steps of a pull: a layer that comes and one that is here.
pub(crate) fn steps(name: &str) -> Vec<PullProgress> {
    let layer = |digit: &str, phase: LayerPhase, current: u64| {
        Event::Layer(LayerProgress {
            digest: format!("sha256:{}", digit.repeat(64)),
            phase: phase.into(),
            current,
            total: 2_000_000,
        })
    };
    let done = Event::Done(PullDone {
        image_id: "sha256:11".into(),
        digest: format!("sha256:{}", "9".repeat(64)),
        reference: format!("docker.io/library/{name}:latest"),
        up_to_date: false,
    });
    let events = [
        Event::Status("Resolving".into()),
        layer("a", LayerPhase::Waiting, 0),
        layer("b", LayerPhase::Exists, 2_000_000),
        layer("a", LayerPhase::Fetching, 500_000),
        layer("a", LayerPhase::Fetching, 1_500_000),
        layer("a", LayerPhase::Unpacking, 2_000_000),
        layer("a", LayerPhase::Done, 2_000_000),
        done,
    ];
    events
        .map(|event| PullProgress { event: Some(event) })
        .into()
}

fn agent() -> Agent {
    Agent::new(|fake| drop(fake.pulls.insert("web".into(), steps("web"))))
}

#[test]
fn steps_are_lines_where_there_is_no_terminal() {
    agent().ctl("pull web").check(&expect![[r#"
        exit 0
        --- stdout
        docker.io/library/web:latest
        --- stderr
        Resolving
        aaaaaaaaaaaa: Waiting
        bbbbbbbbbbbb: Already exists
        aaaaaaaaaaaa: Downloading
        aaaaaaaaaaaa: Extracting
        aaaaaaaaaaaa: Pull complete
        Digest: sha256:9999999999999999999999999999999999999999999999999999999999999999
        Status: Downloaded newer image for docker.io/library/web:latest
    "#]]);
}

#[test]
fn quiet_shows_the_name_alone() {
    let agent = agent();
    agent
        .ctl("image pull -q --platform linux/arm64 web")
        .check(&expect![[r#"
            exit 0
            --- stdout
            docker.io/library/web:latest
        "#]]);
    assert_eq!(agent.requests(), ["Pull web for linux/arm64"]);
}

#[test]
fn layers_are_bars_on_a_terminal() {
    let agent = agent();
    let mut terminal = Terminal::start(agent.ctl("pull web"));
    terminal.shows("aaaaaaaaaaaa: Pull complete");
    terminal.shows("docker.io/library/web:latest");
    assert_eq!(terminal.ends().code(), Some(0));
}

#[test]
fn an_unknown_image_is_a_failure() {
    agent().ctl("pull nosuch").check(&expect![[r#"
        exit 1
        --- stderr
        error: image nosuch cannot be pulled
          nosuch does not exist in its registry
        hint: are its name and its tag as the registry has them?
    "#]]);
}

#[test]
fn an_early_end_is_a_failure() {
    let agent = Agent::new(|fake| drop(fake.pulls.insert("web".into(), Vec::new())));
    agent.ctl("pull web").check(&expect![[r#"
        exit 1
        --- stderr
        error: image web cannot be pulled
          the agent stopped before it was done
        hint: the agent's log may tell more: `journalctl -u node-agent`
    "#]]);
}

#[test]
fn credentials_come_from_dockers_file() {
    let agent = agent();
    let directory = agent.directory().join(".docker");
    std::fs::create_dir(&directory).expect("made");
    // "user:secret"
    let text = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "dXNlcjpzZWNyZXQ="}}}"#;
    std::fs::write(directory.join("config.json"), text).expect("written");
    agent.ctl("pull -q web").output();
    assert_eq!(agent.requests(), ["Pull web as user"]);
    std::fs::write(directory.join("config.json"), "{").expect("written");
    agent.ctl("pull -q web").check(&expect![[r#"
        exit 1
        --- stderr
        error: credentials cannot be read from [DIRECTORY]/.docker/config.json
          EOF while parsing an object at line 1 column 1
        hint: it is docker's file of credentials; DOCKER_CONFIG names the directory of another
    "#]]);
}
