//! Hooks that devices of the Container Device Interface bring along.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use harness::agent::Options;
use harness::node::{Node, Sandbox};
use harness::wait;
use proto::cri::{ContainerConfig, NamespaceMode};
use serde_json::{Value, json};
use tonic::Code;

use crate::cdi::{describe, named};

/// What a hook of the host's does: it writes down what it is told and where it is, waits while it
/// is held, and ends as it is told to.
const SCRIPT: &str = r#"#!/bin/sh
here=$1 stage=$2
state=$(cat)
echo "$stage" >>"$here/order"
printf %s "$state" >"$here/$stage.state"
for name in mnt net pid ipc uts; do readlink /proc/self/ns/$name; done >"$here/$stage.ns"
ls -l /proc/self/fd | grep -c socket >"$here/$stage.sockets"
bundle=$(printf %s "$state" | sed 's/.*"bundle":"\([^"]*\)".*/\1/')
ls "$bundle/rootfs/bin/pause" >"$here/$stage.root" 2>/dev/null
cat "$bundle/config.json" >"$here/$stage.config"
[ ! -e "$here/linger" ] || { sleep 31547 & sleep 31547; }
while [ -e "$here/hold-$stage" ]; do sleep 0.02; done
echo "said at $stage" >&2
exit ${3:-0}
"#;

const ON_HOST: [&str; 4] = ["prestart", "createRuntime", "poststart", "poststop"];

struct Hooks {
    here: PathBuf,
    node: Node,
}

impl Hooks {
    async fn start() -> Result<Self> {
        let options = Options::default()
            .with("runtimes.runc", "path = \"/usr/sbin/runc\"")
            .with("runtimes.crun", "path = \"/usr/bin/crun\"");
        let node = Node::start_with(options).await?;
        let here = node.agent.directory().join("hooks");
        std::fs::create_dir(&here)?;
        let script = here.join("hook");
        std::fs::write(&script, SCRIPT)?;
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755))?;
        Ok(Self { here, node })
    }

    /// Returns a hook of the host's at a stage.
    fn hook(&self, stage: &str, more: &[&str]) -> Value {
        let mut args = vec!["hook", self.here.to_str().unwrap_or_default(), stage];
        args.extend(more);
        json!({
            "hookName": stage,
            "path": self.here.join("hook"),
            "args": args,
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"],
        })
    }

    /// Has a device bring these hooks along, and returns the container with it.
    fn with(&self, name: &str, line: &str, hooks: &[Value]) -> Result<ContainerConfig> {
        let text = json!({
            "cdiVersion": "0.8.0",
            "kind": "vendor.com/device",
            "devices": [{"name": name, "containerEdits": {"hooks": hooks}}],
        });
        let file = format!("{name}.json");
        describe(&self.node, "static", &file, &text.to_string())?;
        let config = self.node.container_config(name, &["/bin/sh", "-c", line]);
        Ok(named(config, &[&format!("vendor.com/device={name}")]))
    }

    async fn create(
        &self,
        pod: &Sandbox,
        config: &ContainerConfig,
    ) -> Result<String, tonic::Status> {
        let cri = &self.node.cri;
        cri.create_container(&pod.id, config, &pod.config).await
    }

    fn text(&self, file: &str) -> Result<String> {
        let path = self.here.join(file);
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())
    }

    fn state(&self, stage: &str) -> Result<Value> {
        Ok(serde_json::from_str(
            &self.text(&format!("{stage}.state"))?,
        )?)
    }

    /// Waits until a hook has begun to run.
    fn begun(&self, stage: &str) -> Result<()> {
        wait::until(&format!("{stage} is run"), || {
            let order = self.text("order").unwrap_or_default();
            Ok(order.lines().any(|line| line == stage).then_some(()))
        })
    }

    fn forget(&self) -> Result<()> {
        for entry in std::fs::read_dir(&self.here)? {
            let path = entry?.path();
            if path.file_name().is_none_or(|name| name != "hook") {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

async fn pod(node: &Node, handler: &str) -> Result<Sandbox> {
    let config = node.sandbox_config(&format!("pod-{handler}"));
    let id = node.cri.run_sandbox_with(&config, handler).await?;
    Ok(Sandbox { id, config })
}

/// Returns what links to the namespaces of a process say, in the order of the script's.
fn namespaces_of(pid: &str) -> Result<Vec<String>> {
    let names = ["mnt", "net", "pid", "ipc", "uts"];
    let links = names.map(|name| std::fs::read_link(format!("/proc/{pid}/ns/{name}")));
    let mut all = Vec::new();
    for link in links {
        all.push(link?.display().to_string());
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_are_run_at_their_stages_where_they_belong() -> Result<()> {
    let hooks = Hooks::start().await?;
    let node = &hooks.node;
    let mut all: Vec<_> = [
        "prestart",
        "createRuntime",
        "createContainer",
        "poststart",
        "poststop",
    ]
    .map(|stage| hooks.hook(stage, &[]))
    .into();
    let inside =
        "id -u; grep -E '^(Cap|Seccomp:|NoNew)' /proc/self/status; readlink /proc/self/ns/mnt";
    let line = format!("cat >/tmp/state; {{ {inside}; }} >/tmp/hook");
    all.push(json!({
        "hookName": "startContainer", "path": "/bin/sh", "args": ["sh", "-c", line],
        "env": ["PATH=/bin"],
    }));
    let main = format!("{{ {inside}; }} >/tmp/main; exec sleep 31546");
    for handler in ["", "runc", "crun"] {
        let pod = pod(node, handler).await?;
        let mut config = hooks.with(&format!("all{handler}"), &main, &all)?;
        let context = config.linux.get_or_insert_default();
        let context = context.security_context.get_or_insert_default();
        context.run_as_user = Some(proto::cri::Int64Value { value: 1234 });
        let id = node.run_of(&pod, &config).await?;
        let begun = ["prestart", "createRuntime", "createContainer", "poststart"];
        assert_eq!(hooks.text("order")?.lines().collect::<Vec<_>>(), begun);
        let state = hooks.state("poststart")?;
        let pid = state["pid"].to_string();
        let container = namespaces_of(&pid)?;
        let host = namespaces_of("self")?;
        for stage in begun {
            let state = hooks.state(stage)?;
            assert_eq!(state["id"], id, "{stage}");
            assert!(state["ociVersion"].is_string(), "{stage}");
            let status = match stage {
                "poststart" => "running",
                _ => "creating",
            };
            // Other runtimes have their own words for it.
            if handler.is_empty() {
                assert_eq!(state["status"], status, "{stage}");
            }
            let seen: Vec<_> = hooks
                .text(&format!("{stage}.ns"))?
                .lines()
                .map(str::to_owned)
                .collect();
            let wanted = if stage == "createContainer" {
                &container
            } else {
                &host
            };
            // Another runtime has a copy of the host's mounts.
            let first = usize::from(!handler.is_empty() && stage != "createContainer");
            assert_eq!(seen[first..], wanted[first..], "{handler} {stage}");
            let config: Value = serde_json::from_str(&hooks.text(&format!("{stage}.config"))?)?;
            let root = format!("{}/rootfs", state["bundle"].as_str().unwrap_or_default());
            assert_eq!(config["root"]["path"], root, "{handler} {stage}");
            if handler.is_empty() {
                assert_eq!(hooks.text(&format!("{stage}.sockets"))?, "0\n", "{stage}");
            }
        }
        assert_eq!(hooks.state("createRuntime")?["pid"].to_string(), pid);
        assert!(
            hooks
                .text("createContainer.root")?
                .ends_with("/bin/pause\n"),
            "{handler}"
        );
        // The program of the image's own had no more rights than the container's.
        node.exec(&id, "while ! [ -s /tmp/main ]; do sleep 0.02; done")
            .await?;
        let told = node.exec(&id, "cat /tmp/state").await?;
        let told: Value = serde_json::from_str(&told)?;
        assert_eq!(told["id"], id, "{handler}");
        if handler.is_empty() {
            assert_eq!(
                (&told["status"], &told["pid"]),
                (&json!("created"), &json!(1))
            );
            node.exec(&id, "cmp /tmp/hook /tmp/main").await?;
        }
        // The last ones are run as soon as it has ended.
        assert!(hooks.text("poststop.state").is_err());
        node.cri.stop_container(&id, 0).await?;
        hooks.begun("poststop")?;
        node.cri.remove_container(&id).await?;
        let state = hooks.state("poststop")?;
        assert_eq!(
            (&state["status"], &state["id"]),
            (&json!("stopped"), &json!(id))
        );
        assert_eq!(
            hooks.text("order")?.lines().count(),
            5,
            "{handler}: each once"
        );
        hooks.forget()?;
    }
    hooks.node.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_fails_fails_what_it_belongs_to() -> Result<()> {
    let hooks = Hooks::start().await?;
    let node = &hooks.node;
    let last = hooks.hook("poststop", &[]);
    for handler in ["", "runc", "crun"] {
        let pod = pod(node, handler).await?;
        for stage in ["prestart", "createRuntime", "createContainer"] {
            let name = format!("{}{handler}", stage.to_lowercase());
            let bad = hooks.hook(stage, &["3"]);
            let config = hooks.with(&name, "exec sleep 31546", &[bad, last.clone()])?;
            let Err(status) = hooks.create(&pod, &config).await else {
                bail!("{handler}: {stage} was let through");
            };
            let text = status.message();
            assert!(text.contains("hook"), "{handler} {stage}: {text}");
            if handler.is_empty() {
                assert_eq!(status.code(), Code::Internal, "{stage}");
                for word in [stage, "it ended with 3", "said at"] {
                    assert!(text.contains(word), "{stage}: {text}");
                }
                // What it has made before it failed is undone.
                hooks.begun("poststop")?;
            }
            hooks.forget()?;
        }
        let request = proto::cri::ListContainersRequest::default();
        let listed = node.cri.runtime.clone().list_containers(request).await?;
        assert!(listed.into_inner().containers.is_empty(), "{handler}");
        // One in the container fails the start.
        let bad = json!({
            "hookName": "startContainer", "path": "/bin/sh", "args": ["sh", "-c", "echo no; exit 4"],
        });
        let config = hooks.with(&format!("start{handler}"), "exec sleep 31546", &[bad])?;
        let id = hooks.create(&pod, &config).await?;
        let refused = node.cri.start_container(&id).await;
        // Another runtime does not hear of it before the container ends.
        assert!(refused.is_err() || !handler.is_empty());
        let status = node.exited(&id).await?;
        assert_ne!(status.exit_code, 0, "{handler}: {status:?}");
        if handler.is_empty() {
            assert_eq!(status.exit_code, 128, "{status:?}");
            assert!(status.message.contains("startContainer hook"), "{status:?}");
            assert!(status.message.contains("it ended with 4"), "{status:?}");
        }
        node.cri.remove_container(&id).await?;
    }
    // What comes too late to change anything is told in the log.
    let pod = pod(node, "again").await;
    assert!(pod.is_err(), "no such handler");
    let pod = node.sandbox("last").await?;
    let late = ["poststart", "poststop"].map(|stage| hooks.hook(stage, &["5"]));
    let config = hooks.with("late", "exec sleep 31546", &late)?;
    let id = node.run_of(&pod, &config).await?;
    assert_eq!(node.exec(&id, "echo alive").await?, "alive\n");
    node.cri.stop_container(&id, 0).await?;
    node.cri.remove_container(&id).await?;
    for stage in ["poststart", "poststop"] {
        let word = format!("{stage} hook");
        wait::until("the log tells of it", || {
            Ok(node.agent.log().contains(&word).then_some(()))
        })?;
    }
    // A program of the host's is none of the container's.
    let outside = json!({"hookName": "startContainer", "path": hooks.here.join("hook")});
    let config = hooks.with("outside", "exec sleep 31546", &[outside])?;
    let id = hooks.create(&pod, &config).await?;
    let Err(status) = node.cri.start_container(&id).await else {
        bail!("a program of the host's was found in the container");
    };
    assert!(
        status.message().contains("cannot be executed"),
        "{status:?}"
    );
    hooks.node.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hook_that_hangs_is_killed_with_all_it_has_begun() -> Result<()> {
    let hooks = Hooks::start().await?;
    let pod = hooks.node.sandbox("pod").await?;
    std::fs::write(hooks.here.join("linger"), "")?;
    for stage in ["createRuntime", "createContainer"] {
        let mut hook = hooks.hook(stage, &[]);
        hook["timeout"] = json!(1);
        let config = hooks.with(&stage.to_lowercase(), "exec sleep 31546", &[hook])?;
        let creating = {
            let (cri, id, pod_config) =
                (hooks.node.cri.clone(), pod.id.clone(), pod.config.clone());
            tokio::spawn(async move { cri.create_container(&id, &config, &pod_config).await })
        };
        // A shim's helpers, and whoever has lost a parent, are in the cgroups of this agent.
        let left = || hooks.node.agent.running("sleep 31547");
        let both = || Ok((left().len() == 2 || creating.is_finished()).then_some(()));
        wait::until("it hangs", both)?;
        let Err(status) = creating.await? else {
            bail!("{stage}: it ended");
        };
        assert!(
            status.message().contains("it did not end in 1 s"),
            "{status:?}"
        );
        let gone = || Ok(left().is_empty().then_some(()));
        wait::until("nothing of the hook is left", gone)?;
    }
    hooks.node.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_goes_on_while_a_hook_is_run_and_sees_nothing_of_it() -> Result<()> {
    let mut hooks = Hooks::start().await?;
    let mut config = hooks.node.sandbox_config("pod");
    let context = config.linux.get_or_insert_default();
    let context = context.security_context.get_or_insert_default();
    let options = context.namespace_options.get_or_insert_default();
    options.pid = NamespaceMode::Pod.into();
    let shared = options.clone();
    let pod = hooks.node.sandbox_of(config).await?;
    let share = |config: &mut ContainerConfig| {
        let context = config.linux.get_or_insert_default();
        let context = context.security_context.get_or_insert_default();
        context.namespace_options = Some(shared.clone());
    };
    let mut other = hooks
        .node
        .container_config("other", &["/bin/sleep", "31545"]);
    share(&mut other);
    let other = hooks.node.run_of(&pod, &other).await?;
    let stages = ["createRuntime", "createContainer", "poststart"];
    let list = stages.map(|stage| hooks.hook(stage, &[]));
    let mut config = hooks.with("held", "exec sleep 31546", &list)?;
    share(&mut config);
    let hold = |stage: &str| hooks.here.join(format!("hold-{stage}"));
    for stage in stages {
        std::fs::write(hold(stage), "")?;
    }
    let creating = {
        let (cri, id, pod_config) = (hooks.node.cri.clone(), pod.id.clone(), pod.config.clone());
        let config = config.clone();
        tokio::spawn(async move { cri.create_container(&id, &config, &pod_config).await })
    };
    for stage in ["createRuntime", "createContainer"] {
        hooks.begun(stage)?;
        let seen = hooks
            .node
            .exec(&other, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
            .await?;
        assert!(
            seen.contains("sleep 31545") && !seen.contains(stage),
            "{seen}"
        );
        assert!(!creating.is_finished());
        std::fs::remove_file(hold(stage))?;
    }
    let id = creating.await??;
    // The same for one that is run after the start; and an agent that goes does not end it.
    let hold = hold("poststart");
    let starting = {
        let (cri, id) = (hooks.node.cri.clone(), id.clone());
        tokio::spawn(async move { cri.start_container(&id).await })
    };
    hooks.begun("poststart")?;
    assert_eq!(hooks.node.exec(&other, "echo alive").await?, "alive\n");
    assert!(!starting.is_finished());
    hooks.node.restart().await?;
    assert!(starting.await?.is_err(), "nobody is left to answer");
    std::fs::remove_file(hold)?;
    let inside = wait::until_async("it can be entered", || async {
        Ok(hooks.node.exec(&id, "echo inside").await.ok())
    });
    assert_eq!(inside.await?, "inside\n");
    hooks.node.finish().await
}

#[tokio::test]
async fn hooks_are_refused_in_a_pod_with_users_of_its_own() -> Result<()> {
    let hooks = Hooks::start().await?;
    let pod = crate::user_namespace::pod(&hooks.node, NamespaceMode::Container).await?;
    let list: Vec<_> = ON_HOST.iter().map(|stage| hooks.hook(stage, &[])).collect();
    let config = hooks.with("users", "exec sleep 31546", &list)?;
    let Err(status) = hooks.create(&pod, &config).await else {
        bail!("hooks were run with no rights");
    };
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert!(status.message().contains("user namespace"), "{status:?}");
    assert!(hooks.text("order").is_err(), "none was run");
    hooks.node.finish().await
}
