//! Runtime handlers: pods whose containers another OCI runtime makes behave as those of the one built in.

use anyhow::{Context as _, Result};
use harness::agent::Options;
use harness::node::{Node, Sandbox};
use harness::wait;
use proto::cri::{
    ContainerState, ContainerStatsRequest, LinuxContainerConfig, LinuxContainerResources, Mount,
    NamespaceMode, NamespaceOption, StatusRequest, UpdateContainerResourcesRequest,
};
use serde_json::{Value, json};
use tonic::Code;

use crate::mount::{SharedMount, mount};

/// What Debian has.
const RUNTIMES: [(&str, &str); 2] = [("runc", "/usr/sbin/runc"), ("crun", "/usr/bin/crun")];

const MIB: i64 = 1 << 20;

fn options() -> Options {
    let mut options = Options::default();
    for (name, path) in RUNTIMES {
        let section = match name {
            "runc" => "runtimes.runc",
            _ => "runtimes.crun",
        };
        options = options.with(section, format!("path = {path:?}"));
    }
    options
        .with("runtimes.gone", "path = \"/nonexistent/runtime\"")
        .with(
            "runtimes.crun",
            "container_annotations = [\"io.example.*\"]",
        )
}

async fn sandbox(node: &Node, handler: &str) -> Result<Sandbox> {
    let config = node.sandbox_config(handler);
    let id = node.cri.run_sandbox_with(&config, handler).await?;
    Ok(Sandbox { id, config })
}

/// Returns the handlers that Status tells, and whether their mounts may be read-only all the way.
async fn told(node: &Node) -> Result<Vec<(String, bool)>> {
    let request = StatusRequest { verbose: false };
    let status = node.cri.runtime.clone().status(request).await?.into_inner();
    Ok(status
        .runtime_handlers
        .into_iter()
        .map(|handler| {
            let features = handler.features.unwrap_or_default();
            (handler.name, features.recursive_read_only_mounts)
        })
        .collect())
}

/// Says whether a runtime's own list of features has recursively read-only mounts.
fn says_rro(path: &str) -> bool {
    let told = std::process::Command::new(path).arg("features").output();
    told.is_ok_and(|told| String::from_utf8_lossy(&told.stdout).contains("\"rro\""))
}

#[tokio::test]
async fn recursively_read_only_mounts_are_made_or_refused() -> Result<()> {
    let node = Node::start_with(options()).await?;
    let tree = SharedMount::new(node.agent.directory().join("tree"))?;
    std::fs::create_dir(tree.0.join("below"))?;
    mount(&["-t", "tmpfs", "below"], &tree.0.join("below"))?;
    for (name, path) in RUNTIMES {
        let pod = sandbox(&node, name).await?;
        let line = "for d in /deep /deep/below; do touch $d/x 2>/dev/null; echo $?; done";
        let mut config = node.container_config("main", &["/bin/sh", "-c", line]);
        config.mounts = vec![Mount {
            container_path: "/deep".to_owned(),
            host_path: tree.0.display().to_string(),
            readonly: true,
            recursive_read_only: true,
            ..Mount::default()
        }];
        if says_rro(path) {
            assert_eq!(
                node.shell_of(&pod, &config).await?,
                (0, "1\n1\n".to_owned())
            );
        } else {
            let made = node.cri.create_container(&pod.id, &config, &pod.config);
            let refused = made.await.err().context("it cannot")?;
            assert_eq!(refused.code(), Code::InvalidArgument, "{name}: {refused:?}");
            assert!(refused.message().contains("/deep"), "{name}: {refused:?}");
        }
    }
    node.remove_all().await?;
    drop(tree);
    node.finish().await
}

#[tokio::test]
async fn handlers_are_told_and_unknown_ones_refused() -> Result<()> {
    let node = Node::start_with(options()).await?;
    // As they say themselves; one of another version may say more.
    let able = RUNTIMES.map(|(_, path)| says_rro(path));
    let wanted = [
        ("", true),
        ("crun", able[1]),
        ("gone", false),
        ("runc", able[0]),
    ];
    let wanted = wanted.map(|(name, known)| (name.to_owned(), known));
    assert_eq!(told(&node).await?, wanted);
    let refused = sandbox(&node, "kata")
        .await
        .err()
        .context("it is unknown")?;
    let status = refused
        .downcast_ref::<tonic::Status>()
        .context("a status")?;
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert!(status.message().contains("kata"), "{status:?}");
    // One whose program is not there makes no container, and says so.
    let pod = sandbox(&node, "gone").await?;
    let config = node.container_config("main", &["/bin/pause"]);
    let made = node.cri.create_container(&pod.id, &config, &pod.config);
    let refused = made.await.err().context("there is no program")?;
    assert!(
        refused.message().contains("/nonexistent/runtime"),
        "{refused:?}"
    );
    node.finish().await
}

#[tokio::test]
async fn logs_exit_codes_and_errors_are_as_ever() -> Result<()> {
    let node = Node::start_with(options()).await?;
    for (name, _) in RUNTIMES {
        let pod = sandbox(&node, name).await?;
        let line = "echo out; echo err >&2; hostname; exit 7";
        let (code, text) = node.shell(&pod, "short", line).await?;
        assert_eq!(
            (code, text.contains("out\n") && text.contains("err\n")),
            (7, true),
            "{name}: {text}"
        );
        let hostname = &node.sandbox_config(name).hostname;
        assert!(text.lines().any(|line| line == hostname), "{name}: {text}");
        // A program that is not there is told by the start, as ever.
        let config = node.container_config("missing", &["/bin/no-such-program"]);
        let id = node
            .cri
            .create_container(&pod.id, &config, &pod.config)
            .await?;
        assert_eq!(
            node.cri.container_status(&id).await?.state(),
            ContainerState::ContainerCreated
        );
        let refused = node.cri.start_container(&id).await.err();
        let refused = refused.context("there is no such program")?;
        assert!(refused.message().contains("no-such-program"), "{refused:?}");
        let status = node.cri.container_status(&id).await?;
        assert_eq!(
            (status.exit_code, status.reason.as_str()),
            (128, "StartError"),
            "{name}: {status:?}"
        );
        // One that is never started leaves nothing.
        let config = node.container_config("unstarted", &["/bin/pause"]);
        let id = node
            .cri
            .create_container(&pod.id, &config, &pod.config)
            .await?;
        node.cri.remove_container(&id).await?;
    }
    node.finish().await
}

#[tokio::test]
async fn sessions_signals_and_terminals_are_as_ever() -> Result<()> {
    let node = Node::start_with(options()).await?;
    for (name, _) in RUNTIMES {
        let pod = sandbox(&node, name).await?;
        let line = "trap 'exit 9' TERM; while :; do sleep 0.05; done";
        let id = node.run(&pod, "main", &["/bin/sh", "-c", line]).await?;
        let answer = node
            .cri
            .exec(
                &id,
                &["/bin/sh", "-c", "echo out; echo err >&2; id -u; exit 6"],
                10,
            )
            .await?;
        assert_eq!(
            (answer.stdout, answer.stderr, answer.exit_code),
            (b"out\n0\n".to_vec(), b"err\n".to_vec(), 6),
            "{name}"
        );
        let missing = node.cri.exec(&id, &["/no/such/program"], 10).await;
        let shown = format!("{missing:?}");
        assert!(shown.contains("/no/such/program"), "{name}: {shown}");
        let slow = node.cri.exec(&id, &["/bin/sleep", "27182"], 1).await;
        assert_eq!(
            slow.err().map(|status| status.code()),
            Some(Code::DeadlineExceeded),
            "{name}"
        );
        wait::until("the session's process is gone", || {
            let left = node.agent.running("/bin/sleep 27182");
            Ok(left.is_empty().then_some(()))
        })?;
        node.cri.stop_container(&id, 20).await?;
        let status = node.cri.container_status(&id).await?;
        assert_eq!(status.exit_code, 9, "{name}");
        let mut config = node.container_config(
            "terminal",
            &[
                "/bin/sh",
                "-c",
                "test -t 0 && test -t 1 && tty && echo terminal",
            ],
        );
        config.tty = true;
        let (code, text) = node.shell_of(&pod, &config).await?;
        assert_eq!(
            (code, text.contains("terminal")),
            (0, true),
            "{name}: {text}"
        );
    }
    node.finish().await
}

#[tokio::test]
async fn limits_hold_and_memory_that_runs_out_is_told() -> Result<()> {
    let node = Node::start_with(options()).await?;
    for (name, _) in RUNTIMES {
        let pod = sandbox(&node, name).await?;
        let limited = |container: &str, command: &[&str], bytes: i64| {
            let mut config = node.container_config(container, command);
            config.linux = Some(LinuxContainerConfig {
                resources: Some(LinuxContainerResources {
                    memory_limit_in_bytes: bytes,
                    ..LinuxContainerResources::default()
                }),
                ..LinuxContainerConfig::default()
            });
            config
        };
        let command = ["/bin/sh", "-c", "exec tail /dev/zero"];
        let greedy = limited("greedy", &command, 16 * MIB);
        let id = node.run_of(&pod, &greedy).await?;
        let status = node.exited(&id).await?;
        assert_eq!(
            (status.exit_code, status.reason.as_str()),
            (137, "OOMKilled"),
            "{name}: {}",
            std::fs::read_to_string(node.log_of(&pod, &greedy)).unwrap_or_default()
        );
        let id = node
            .run_of(&pod, &limited("modest", &["/bin/pause"], 64 * MIB))
            .await?;
        let request = UpdateContainerResourcesRequest {
            container_id: id.clone(),
            linux: Some(LinuxContainerResources {
                memory_limit_in_bytes: 48 * MIB,
                ..LinuxContainerResources::default()
            }),
            ..UpdateContainerResourcesRequest::default()
        };
        node.cri
            .runtime
            .clone()
            .update_container_resources(request)
            .await?;
        let seen = node
            .exec(&id, "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null || true")
            .await?;
        assert_eq!(seen.trim(), (48 * MIB).to_string(), "{name}");
        let request = ContainerStatsRequest {
            container_id: id.clone(),
        };
        let stats = node.cri.runtime.clone().container_stats(request).await?;
        let memory = stats.into_inner().stats.and_then(|stats| stats.memory);
        let used = memory.and_then(|memory| memory.working_set_bytes);
        assert!(used.is_some_and(|used| used.value > 0), "{name}: {used:?}");
    }
    node.finish().await
}

#[tokio::test]
async fn annotations_reach_a_runtime_by_allow_list_only() -> Result<()> {
    let node = Node::start_with(options()).await?;
    for (name, wanted) in [
        ("crun", json!({"io.example.one": "1"})),
        ("runc", json!({})),
    ] {
        let pod = sandbox(&node, name).await?;
        let mut config = node.container_config("main", &["/bin/pause"]);
        config.annotations = [("io.example.one", "1"), ("run.oci.hooks.stdout", "/x")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let id = node.run_of(&pod, &config).await?;
        let state = node.agent.state().join("sandboxes").join(&pod.id);
        let file = state.join(format!("{id}.bundle/config.json"));
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        let specification: Value = serde_json::from_str(&text)?;
        let told = specification["annotations"].as_object().cloned();
        assert_eq!(Value::from(told.unwrap_or_default()), wanted, "{name}");
    }
    node.finish().await
}

#[tokio::test]
async fn they_outlive_the_agent() -> Result<()> {
    let mut node = Node::start_with(options()).await?;
    let mut running = Vec::new();
    for (name, _) in RUNTIMES {
        let pod = sandbox(&node, name).await?;
        let line = "trap 'exit 7' TERM; n=0; while :; do echo $n; n=$((n+1)); sleep 0.01; done";
        let config = node.container_config("main", &["/bin/sh", "-c", line]);
        let id = node.run_of(&pod, &config).await?;
        let waiting = node.container_config("waiting", &["/bin/sh", "-c", "exit 3"]);
        let waiting = node
            .cri
            .create_container(&pod.id, &waiting, &pod.config)
            .await?;
        running.push((name, pod, config, id, waiting));
    }
    node.restart().await?;
    for (name, pod, config, id, waiting) in &running {
        let status = node.cri.container_status(id).await?;
        assert_eq!(status.state(), ContainerState::ContainerRunning, "{name}");
        assert_eq!(node.exec(id, "echo inside").await?, "inside\n", "{name}");
        node.cri.start_container(waiting).await?;
        assert_eq!(node.exited(waiting).await?.exit_code, 3, "{name}");
        node.cri.stop_container(id, 30).await?;
        assert_eq!(node.cri.container_status(id).await?.exit_code, 7, "{name}");
        let text = std::fs::read_to_string(node.log_of(pod, config))?;
        let numbers: Vec<usize> = text
            .lines()
            .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
            .collect();
        assert_eq!(numbers, (0..numbers.len()).collect::<Vec<_>>(), "{name}");
    }
    node.finish().await
}

fn shared() -> NamespaceOption {
    NamespaceOption {
        pid: NamespaceMode::Pod.into(),
        ..NamespaceOption::default()
    }
}

#[tokio::test]
async fn users_volumes_and_shared_namespaces_are_as_ever() -> Result<()> {
    let node = Node::start_with(options()).await?;
    for (name, _) in RUNTIMES {
        let mut config = node.sandbox_config(&format!("{name}-shared"));
        let linux = config.linux.get_or_insert_default();
        let security = linux.security_context.get_or_insert_default();
        security.namespace_options = Some(shared());
        let id = node.cri.run_sandbox_with(&config, name).await?;
        let pod = Sandbox { id, config };
        let volume = node.agent.directory().join(name);
        std::fs::create_dir(&volume)?;
        std::fs::write(volume.join("told"), "from the host\n")?;
        let mut first = node.container_config("first", &["/bin/sleep", "31415"]);
        let linux = first.linux.get_or_insert_default();
        let security = linux.security_context.get_or_insert_default();
        security.namespace_options = Some(shared());
        let first = node.run_of(&pod, &first).await?;
        let mut config = node.container_config(
            "second",
            &[
                "/bin/sh",
                "-c",
                "cat /data/told; ! touch /data/x 2>/dev/null; id -u; id -G; touch /dev/shm/mark; \
                 grep Seccomp: /proc/self/status; cat /proc/[0-9]*/comm",
            ],
        );
        config.mounts = vec![Mount {
            container_path: "/data".to_owned(),
            host_path: volume.display().to_string(),
            readonly: true,
            ..Mount::default()
        }];
        let linux = config.linux.get_or_insert_default();
        let security = linux.security_context.get_or_insert_default();
        security.namespace_options = Some(shared());
        security.run_as_user = Some(proto::cri::Int64Value { value: 1234 });
        security.supplemental_groups = vec![77];
        security.seccomp = Some(proto::cri::SecurityProfile::default());
        let (code, text) = node.shell_of(&pod, &config).await?;
        let mut lines = text.lines();
        assert_eq!(code, 0, "{name}: {text}");
        assert_eq!(lines.next(), Some("from the host"), "{name}: {text}");
        assert_eq!(lines.next(), Some("1234"), "{name}: {text}");
        assert!(
            lines.next().is_some_and(|groups| groups.contains("77")),
            "{name}: {text}"
        );
        assert_eq!(lines.next(), Some("Seccomp:\t2"), "{name}: {text}");
        assert!(lines.any(|line| line == "sleep"), "{name}: {text}");
        assert_eq!(node.exec(&first, "ls /dev/shm").await?, "mark\n", "{name}");
    }
    node.finish().await
}
