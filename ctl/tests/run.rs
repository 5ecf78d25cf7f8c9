use expect_test::expect;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::agent::StreamKind;
use std::process::Stdio;
use tonic::Status;

use crate::pull::steps;
use crate::support::Agent;
use crate::support::fake::{AttachEnd, Behaviour};
use crate::support::samples::busybox;

fn agent(behaviour: Behaviour) -> Agent {
    Agent::new(|fake| {
        fake.images.push(busybox());
        fake.behaviour = Some(behaviour);
    })
}

#[test]
fn the_containers_output_and_code_are_ctls() {
    let agent = agent(Behaviour::Ends(3));
    agent.with(|fake| {
        fake.output = vec![
            (StreamKind::Stdout, b"out\n"),
            (StreamKind::Stderr, b"err\n"),
        ]
    });
    agent
        .ctl("run --rm --name job busybox sh -c true")
        .check(&expect![[r#"
            exit 3
            --- stdout
            out
            --- stderr
            err
        "#]]);
    let requests = agent.requests();
    // Connected before it starts, so that nothing is missed of a container that ends at once.
    assert_eq!(
        requests[..3],
        [
            "Create busybox sh -c true",
            "Attach job ",
            "Logs job follow=true"
        ]
        .map(str::trim)
    );
    assert!(requests.contains(&"Start job".to_owned()), "{requests:?}");
    agent.with(|fake| assert!(fake.created[0].auto_remove && !fake.created[0].stdin));
}

#[test]
fn in_the_background_the_id_is_shown() {
    let agent = agent(Behaviour::Waits);
    agent.ctl("run -d --name web busybox").check(&expect![[r#"
        exit 0
        --- stdout
        00000000000000000000000000000000000000000000000000000000abcdef01
    "#]]);
    assert_eq!(agent.requests(), ["Create busybox", "Start web"]);
}

#[test]
fn input_is_sent_if_wished() {
    let agent = agent(Behaviour::Echoes);
    agent
        .ctl("run -i --name cat busybox cat")
        .input(b"hello\n")
        .check(&expect![[r#"
            exit 0
            --- stdout
            hello
        "#]]);
    agent.with(|fake| assert!(fake.created[0].stdin && fake.created[0].stdin_once));
}

#[test]
fn a_long_input_comes_back_whole() {
    let agent = agent(Behaviour::Echoes);
    let input: Vec<u8> = (0..1_000_000_u32)
        .map(|index| u8::try_from(index % 251).expect("small"))
        .collect();
    let output = agent.ctl("run -i busybox cat").input(&input).output();
    assert_eq!(output.status.code(), Some(0));
    assert!(
        output.stdout == input,
        "{} bytes came back",
        output.stdout.len()
    );
}

#[test]
fn only_the_streams_named_are_joined() {
    let agent = agent(Behaviour::Ends(0));
    agent.with(|fake| {
        fake.output = vec![
            (StreamKind::Stdout, b"out\n"),
            (StreamKind::Stderr, b"err\n"),
        ]
    });
    agent.ctl("run -a stderr busybox").check(&expect![[r#"
        exit 0
        --- stderr
        err
    "#]]);
    agent.ctl("run -d -a stderr busybox").check(&expect![[r#"
        exit 125
        --- stderr
        error: streams cannot be joined in the background
        hint: leave out either -a or -d
    "#]]);
}

#[test]
fn a_missing_image_is_pulled() {
    let agent = agent(Behaviour::Ends(0));
    agent.with(|fake| {
        fake.pulls.insert("web".into(), steps("web"));
        fake.output = vec![(StreamKind::Stdout, b"out\n")];
    });
    agent.ctl("run web").check(&expect![[r#"
        exit 0
        --- stdout
        out
        --- stderr
        Image web is not here yet: pulling it
        Resolving
        aaaaaaaaaaaa: Waiting
        bbbbbbbbbbbb: Already exists
        aaaaaaaaaaaa: Downloading
        aaaaaaaaaaaa: Extracting
        aaaaaaaaaaaa: Pull complete
        Digest: sha256:9999999999999999999999999999999999999999999999999999999999999999
        Status: Downloaded newer image for docker.io/library/web:latest
    "#]]);
    agent.with(|fake| fake.images.retain(|image| *image == busybox()));
    agent.ctl("run -q web").check(&expect![[r#"
        exit 0
        --- stdout
        out
    "#]]);
}

#[test]
fn an_image_is_pulled_always_or_never_if_so_wished() {
    let agent = agent(Behaviour::Ends(0));
    agent.with(|fake| drop(fake.pulls.insert("busybox".into(), steps("busybox"))));
    agent
        .ctl("run -q --pull always busybox")
        .check(&expect![[r#"
            exit 0
        "#]]);
    assert_eq!(agent.requests()[0], "Pull busybox");
    agent.ctl("run --pull never busybx").check(&expect![[r#"
        exit 125
        --- stderr
        error: there is no image busybx
        hint: did you mean `busybox:latest`?
    "#]]);
}

#[test]
fn an_image_that_does_not_exist_is_125() {
    agent(Behaviour::Ends(0))
        .ctl("run nosuch")
        .check(&expect![[r#"
            exit 125
            --- stderr
            Image nosuch is not here yet: pulling it
            error: image nosuch cannot be pulled
              nosuch does not exist in its registry
            hint: are its name and its tag as the registry has them?
        "#]]);
}

#[test]
fn something_else_that_is_missing_is_not_taken_for_the_image() {
    let agent = agent(Behaviour::Ends(0));
    agent.with(|fake| fake.fail("Create", Status::not_found("container db does not exist")));
    agent
        .ctl("run --network container:db busybox")
        .check(&expect![[r#"
            exit 125
            --- stderr
            error: a container of busybox cannot be created
              container db does not exist
            hint: `ctl ps -a` lists all containers
        "#]]);
}

#[test]
fn programs_that_cannot_be_executed_have_dockers_codes() {
    let agent = agent(Behaviour::Ends(0));
    agent.with(|fake| fake.fail_program("Start", "127", "executable frob was not found in PATH"));
    agent.ctl("run --name job busybox frob").check(&expect![[r#"
        exit 127
        --- stderr
        error: container job cannot be started
          executable frob was not found in PATH
        hint: is it in the image? a name without a slash is looked for along its PATH
    "#]]);
    agent.with(|fake| fake.fail_program("Start", "126", "/etc/passwd may not be executed"));
    agent
        .ctl("run -d --name other busybox /etc/passwd")
        .check(&expect![[r#"
            exit 126
            --- stderr
            error: container other cannot be started
              /etc/passwd may not be executed
            hint: is it executable there, and what runs it (the program in its first line) too?
        "#]]);
}

#[test]
fn signals_are_the_containers() {
    let agent = agent(Behaviour::Waits);
    let mut ctl = agent.ctl("run --name web busybox sleep 9");
    let child = ctl
        .command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = child.spawn().expect("ctl starts");
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    agent.wait_for("Start web");
    kill(pid, Signal::SIGUSR1).expect("sent");
    agent.wait_for("Kill web SIGUSR1");
    kill(pid, Signal::SIGINT).expect("sent");
    agent.wait_for("Kill web SIGINT");
    assert_eq!(child.wait().expect("ctl ends").code(), Some(130));
}

#[test]
fn the_id_is_written_to_a_file_that_must_be_new() {
    let agent = agent(Behaviour::Ends(0));
    agent.ctl("run --cidfile id busybox").check(&expect![[r#"
        exit 0
    "#]]);
    let id = std::fs::read_to_string(agent.directory().join("id")).expect("written");
    assert_eq!(id.len(), 64);
    agent.ctl("run --cidfile id busybox").check(&expect![[r#"
        exit 125
        --- stderr
        error: id cannot be created
          File exists (os error 17)
        hint: a path is taken from where ctl is run, and used as whoever runs it
    "#]]);
    // Without a container there is no file either.
    agent.ctl("run --cidfile other nosuch").output();
    assert!(!agent.directory().join("other").exists());
}

#[test]
fn files_of_variables_and_labels_are_read() {
    let agent = agent(Behaviour::Ends(0));
    std::fs::write(agent.directory().join("env"), "A=1\nHOME\n").expect("written");
    std::fs::write(agent.directory().join("labels"), "role=front\n").expect("written");
    agent
        .ctl("run --env-file env -e B=2 --label-file labels -l app busybox")
        .env("HOME", "/root")
        .output();
    agent.with(|fake| {
        assert_eq!(fake.created[0].env, ["A=1", "HOME=/root", "B=2"]);
        assert_eq!(fake.created[0].labels["role"], "front");
        assert_eq!(fake.created[0].labels["app"], "");
    });
    agent
        .ctl("run --env-file nosuch busybox")
        .check(&expect![[r#"
            exit 125
            --- stderr
            error: the environment is not usable
              nosuch cannot be read
              No such file or directory (os error 2)
            hint: a path is taken from where ctl is run, and used as whoever runs it
        "#]]);
}

#[test]
fn a_terminal_needs_one() {
    let agent = agent(Behaviour::Ends(0));
    agent.ctl("run -it busybox").check(&expect![[r#"
        exit 125
        --- stderr
        error: stdin is not a terminal, so the container cannot have it as one
        hint: leave out -t to send a file or a pipe
    "#]]);
    assert_eq!(agent.requests(), [""; 0]);
}

#[test]
fn where_the_streams_do_not_tell_the_code_it_is_asked_for() {
    let agent = agent(Behaviour::Ends(6));
    agent.with(|fake| fake.attach_end = AttachEnd::Silence);
    agent.ctl("run --name job busybox").check(&expect![[r#"
        exit 6
    "#]]);
    assert!(agent.requests().contains(&"Wait job".to_owned()));
}

#[test]
fn an_agent_that_goes_away_leaves_the_container_running() {
    let agent = agent(Behaviour::Ends(0));
    agent.with(|fake| fake.attach_end = AttachEnd::Failure);
    agent.ctl("run --name job busybox").check(&expect![[r#"
        exit 125
        --- stderr
        error: the streams of container job are lost
          the agent stops
        hint: the container goes on; `ctl logs -f job` shows its output
    "#]]);
}

#[test]
fn a_start_that_fails_shows_the_reason_and_nothing_else() {
    let agent = agent(Behaviour::Ends(0));
    agent.with(|fake| {
        fake.fail(
            "Start",
            Status::internal("container job cannot be started: no memory"),
        )
    });
    agent.ctl("run --name job busybox").check(&expect![[r#"
        exit 125
        --- stderr
        error: container job cannot be started
          no memory
        hint: the agent's log may tell more: `journalctl -u node-agent`
    "#]]);
}
