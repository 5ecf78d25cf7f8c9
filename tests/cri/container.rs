//! Containers: their life, exit codes, retries, what they are started with.

use std::collections::HashMap;

use anyhow::Result;
use harness::image::Image;
use harness::node::Node;
use proto::cri::{
    ContainerFilter, ContainerState, ContainerStateValue, KeyValue, ListContainersRequest,
};
use serde_json::json;
use tonic::Code;

async fn listed(node: &Node, filter: ContainerFilter) -> Result<Vec<String>> {
    let list = node
        .cri
        .runtime
        .clone()
        .list_containers(ListContainersRequest {
            filter: Some(filter),
        })
        .await?;
    let mut names: Vec<_> = list
        .into_inner()
        .containers
        .into_iter()
        .map(|one| one.metadata.unwrap_or_default().name)
        .collect();
    names.sort();
    Ok(names)
}

#[tokio::test]
async fn a_container_is_created_running_exited_and_gone() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let mut config = node.container_config("main", &["/bin/sh", "-c", "sleep 1000 & wait"]);
    config.labels.insert("app".to_owned(), "web".to_owned());
    config
        .annotations
        .insert("note".to_owned(), "kept".to_owned());
    let id = node
        .cri
        .create_container(&sandbox.id, &config, &sandbox.config)
        .await?;
    let created = node.cri.container_status(&id).await?;
    assert_eq!(
        (created.state(), created.started_at, created.finished_at),
        (ContainerState::ContainerCreated, 0, 0)
    );
    assert_eq!(
        (&created.metadata, &created.labels, &created.annotations),
        (&config.metadata, &config.labels, &config.annotations)
    );
    assert_eq!(
        created.image.map(|image| image.image),
        Some(node.image.clone())
    );
    assert!(
        created.image_ref.contains("sha256:"),
        "{}",
        created.image_ref
    );
    assert_eq!(
        created.log_path,
        node.log_of(&sandbox, &config).display().to_string()
    );
    node.cri.start_container(&id).await?;
    let running = node.cri.container_status(&id).await?;
    assert_eq!(
        (running.state(), running.finished_at),
        (ContainerState::ContainerRunning, 0)
    );
    assert!(
        running.started_at >= running.created_at && running.created_at > 0,
        "{running:?}"
    );
    node.cri.stop_container(&id, 0).await?;
    let exited = node.cri.container_status(&id).await?;
    assert_eq!(
        (exited.state(), exited.exit_code, exited.reason.as_str()),
        (ContainerState::ContainerExited, 137, "Error")
    );
    assert!(exited.finished_at >= exited.started_at, "{exited:?}");
    node.cri.remove_container(&id).await?;
    let gone = node
        .cri
        .container_status(&id)
        .await
        .err()
        .map(|status| status.code());
    assert_eq!(gone, Some(Code::NotFound));
    node.finish().await
}

#[tokio::test]
async fn exit_codes_and_reasons_are_told() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    for (name, line, code, reason) in [
        ("zero", "exit 0", 0, "Completed"),
        ("three", "exit 3", 3, "Error"),
        ("signal", "sh -c 'kill -SEGV $$'; exit $?", 139, "Error"),
        ("last", "exit 255", 255, "Error"),
    ] {
        let id = node.run(&sandbox, name, &["/bin/sh", "-c", line]).await?;
        let status = node.exited(&id).await?;
        assert_eq!(
            (status.exit_code, status.reason.as_str()),
            (code, reason),
            "{name}"
        );
    }
    node.finish().await
}

#[tokio::test]
async fn a_program_that_cannot_be_executed_fails_the_start() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    for (name, program) in [
        ("missing", "/no/such/program"),
        ("file", "/etc/passwd"),
        ("directory", "/etc"),
    ] {
        let config = node.container_config(name, &[program]);
        let id = node
            .cri
            .create_container(&sandbox.id, &config, &sandbox.config)
            .await?;
        let refused = node.cri.start_container(&id).await.err();
        assert!(
            refused
                .as_ref()
                .is_some_and(|status| status.message().contains(program)),
            "{name}: {refused:?}"
        );
        let status = node.cri.container_status(&id).await?;
        let seen = (status.state(), status.exit_code, status.reason.as_str());
        assert_eq!(
            seen,
            (ContainerState::ContainerExited, 128, "StartError"),
            "{name}"
        );
        assert!(!status.message.is_empty(), "{name}");
    }
    node.finish().await
}

#[tokio::test]
async fn a_retried_create_returns_the_same_id_and_another_request_is_refused() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let config = node.container_config("main", &["/bin/pause"]);
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (cri, config, sandbox) = (node.cri.clone(), config.clone(), sandbox.clone());
            tokio::spawn(async move {
                cri.create_container(&sandbox.id, &config, &sandbox.config)
                    .await
            })
        })
        .collect();
    let mut ids = Vec::new();
    for call in calls {
        ids.push(call.await??);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let mut other = config.clone();
    other.args.push("more".to_owned());
    let refused = node
        .cri
        .create_container(&sandbox.id, &other, &sandbox.config)
        .await
        .err();
    let refused = refused.map(|status| (status.code(), status.message().contains(&ids[0])));
    assert_eq!(refused, Some((Code::AlreadyExists, true)));
    node.finish().await
}

#[tokio::test]
async fn what_cannot_be_created_is_refused_by_create() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let good = node.container_config("main", &["/bin/pause"]);
    let code = |result: Result<String, tonic::Status>| result.err().map(|status| status.code());
    let create = |config| {
        let (node, sandbox) = (&node, &sandbox);
        async move {
            node.cri
                .create_container(&sandbox.id, &config, &sandbox.config)
                .await
        }
    };
    let nowhere = "0123456789abcdef".repeat(4);
    assert_eq!(
        code(
            node.cri
                .create_container(&nowhere, &good, &sandbox.config)
                .await
        ),
        Some(Code::NotFound)
    );
    let mut config = good.clone();
    config.image = Some(harness::cri::image_spec("127.0.0.1:1/no/such:image"));
    assert_eq!(
        code(create(config).await),
        Some(Code::NotFound),
        "an image that is not here"
    );
    let mut config = good.clone();
    config.metadata = None;
    assert_eq!(
        code(create(config).await),
        Some(Code::InvalidArgument),
        "no metadata"
    );
    let mut config = good.clone();
    config.log_path = "../../escape.log".to_owned();
    assert_eq!(
        code(create(config).await),
        Some(Code::InvalidArgument),
        "a log path that climbs"
    );
    let mut config = good.clone();
    config.envs = vec![KeyValue {
        key: "A=B".to_owned(),
        value: b"c".to_vec(),
    }];
    assert_eq!(
        code(create(config).await),
        Some(Code::InvalidArgument),
        "an equals sign in a name"
    );
    node.cri.stop_sandbox(&sandbox.id).await?;
    assert_eq!(
        code(create(good).await),
        Some(Code::FailedPrecondition),
        "a stopped sandbox"
    );
    node.finish().await
}

#[tokio::test]
async fn a_container_starts_once() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let id = node.run(&sandbox, "main", &["/bin/true"]).await?;
    node.exited(&id).await?;
    let again = node
        .cri
        .start_container(&id)
        .await
        .err()
        .map(|status| status.code());
    assert_eq!(again, Some(Code::FailedPrecondition));
    let unknown = node
        .cri
        .start_container(&"0123456789abcdef".repeat(4))
        .await
        .err()
        .map(|status| status.code());
    assert_eq!(unknown, Some(Code::NotFound));
    node.finish().await
}

#[tokio::test]
async fn lists_are_filtered() -> Result<()> {
    let node = Node::start().await?;
    let (one, two) = (node.sandbox("one").await?, node.sandbox("two").await?);
    let mut config = node.container_config("labelled", &["/bin/pause"]);
    config.labels.insert("tier".to_owned(), "back".to_owned());
    let labelled = node.run_of(&one, &config).await?;
    node.cri
        .create_container(
            &one.id,
            &node.container_config("waiting", &["/bin/pause"]),
            &one.config,
        )
        .await?;
    node.run(&two, "other", &["/bin/pause"]).await?;
    let filters = [
        (
            ContainerFilter::default(),
            vec!["labelled", "other", "waiting"],
        ),
        (
            ContainerFilter {
                pod_sandbox_id: one.id.clone(),
                ..Default::default()
            },
            vec!["labelled", "waiting"],
        ),
        (
            ContainerFilter {
                id: labelled,
                ..Default::default()
            },
            vec!["labelled"],
        ),
        (
            ContainerFilter {
                state: Some(ContainerStateValue {
                    state: ContainerState::ContainerRunning.into(),
                }),
                ..Default::default()
            },
            vec!["labelled", "other"],
        ),
        (
            ContainerFilter {
                label_selector: HashMap::from([("tier".to_owned(), "back".to_owned())]),
                ..Default::default()
            },
            vec!["labelled"],
        ),
    ];
    for (filter, wanted) in filters {
        assert_eq!(listed(&node, filter.clone()).await?, wanted, "{filter:?}");
    }
    node.finish().await
}

#[tokio::test]
async fn command_arguments_environment_and_directory_come_together() -> Result<()> {
    let node = Node::start().await?;
    let runtime = json!({
        "Entrypoint": ["/bin/sh", "-c"],
        "Cmd": ["echo from the image; echo $KEEP $CHANGE; pwd"],
        "Env": ["PATH=/bin", "KEEP=kept", "CHANGE=old"],
        "WorkingDir": "/var",
    });
    let image = node
        .registry
        .push("test/entry:1", &Image::busybox_with(vec![], &runtime)?)?;
    node.cri.pull(&image).await?;
    let sandbox = node.sandbox("pod").await?;
    let mut config = node.container_config("plain", &[]);
    config.image = Some(harness::cri::image_spec(&image));
    config.envs = vec![KeyValue {
        key: "CHANGE".to_owned(),
        value: b"new".to_vec(),
    }];
    assert_eq!(
        node.shell_of(&sandbox, &config).await?,
        (0, "from the image\nkept new\n/var\n".to_owned())
    );
    config.metadata.get_or_insert_default().name = "arguments".to_owned();
    config.log_path = "arguments.log".to_owned();
    config.args = vec!["pwd; exit 4".to_owned()];
    config.working_dir = "/tmp".to_owned();
    assert_eq!(
        node.shell_of(&sandbox, &config).await?,
        (4, "/tmp\n".to_owned())
    );
    config.metadata.get_or_insert_default().name = "command".to_owned();
    config.log_path = "command.log".to_owned();
    config.command = vec!["/bin/echo".to_owned()];
    config.args = vec!["a b".to_owned(), "c".to_owned()];
    assert_eq!(
        node.shell_of(&sandbox, &config).await?,
        (0, "a b c\n".to_owned())
    );
    node.finish().await
}

#[tokio::test]
async fn an_environment_value_that_is_no_text_is_refused_by_name() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let mut config = node.container_config("main", &["/bin/true"]);
    // The runtime specification is JSON and cannot carry it; to change it silently would be worse.
    config.envs = vec![KeyValue {
        key: "RAW".to_owned(),
        value: vec![0x61, 0xff, 0xfe, 0x62],
    }];
    let refused = node
        .cri
        .create_container(&sandbox.id, &config, &sandbox.config)
        .await
        .err();
    let refused = refused.map(|status| (status.code(), status.message().contains("RAW")));
    assert_eq!(refused, Some((Code::InvalidArgument, true)));
    config.envs = vec![KeyValue {
        key: "TEXT".to_owned(),
        value: "a\tb\nü".as_bytes().to_vec(),
    }];
    config.command = vec![
        "/bin/sh".to_owned(),
        "-c".to_owned(),
        "printf %s \"$TEXT\" | od -An -tx1".to_owned(),
    ];
    let (code, text) = node.shell_of(&sandbox, &config).await?;
    assert_eq!((code, text.trim()), (0, "61 09 62 0a c3 bc"));
    node.finish().await
}

#[tokio::test]
async fn a_terminal_is_given_where_asked() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let line =
        "test -t 0 && test -t 1 && test -t 2 && tty && test -c /dev/console && echo terminal";
    let mut config = node.container_config("with", &["/bin/sh", "-c", line]);
    config.tty = true;
    config.stdin = true;
    let (code, text) = node.shell_of(&sandbox, &config).await?;
    assert_eq!(
        (code, text.lines().last().map(str::trim_end)),
        (0, Some("terminal")),
        "{text}"
    );
    let (code, text) = node
        .shell(&sandbox, "without", "test -t 1; echo $?")
        .await?;
    assert_eq!((code, text.as_str()), (0, "1\n"));
    node.finish().await
}
