//! Volumes: of the host's paths, of images, and how mounts travel.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use harness::command::run;
use harness::image::{Image, LayerBuilder, default_config};
use harness::node::Node;
use proto::cri::{Mount, MountPropagation};
use tonic::Code;

/// A tmpfs of the host's that passes on what is mounted below it; gone with the value.
pub(crate) struct SharedMount(pub(crate) PathBuf);

impl SharedMount {
    pub(crate) fn new(path: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&path)?;
        mount(&["-t", "tmpfs", "shared"], &path)?;
        let made = Self(path);
        mount(&["--make-shared"], &made.0)?;
        Ok(made)
    }

    /// Returns the same file system at another place, where what is mounted here shows and nothing
    /// is passed back.
    fn slave(&self, path: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&path)?;
        run(Command::new("mount").arg("--bind").arg(&self.0).arg(&path))?;
        let made = Self(path);
        mount(&["--make-slave"], &made.0)?;
        Ok(made)
    }
}

impl Drop for SharedMount {
    fn drop(&mut self) {
        let unmounted = run(Command::new("umount").arg("-R").arg(&self.0));
        if !std::thread::panicking() {
            assert!(unmounted.is_ok(), "{unmounted:?}");
        }
    }
}

pub(crate) fn mount(arguments: &[&str], path: &Path) -> Result<()> {
    run(Command::new("mount").args(arguments).arg(path)).map(drop)
}

fn volume(container: &str, host: &Path) -> Mount {
    Mount {
        container_path: container.to_owned(),
        host_path: host.display().to_string(),
        ..Mount::default()
    }
}

#[tokio::test]
async fn mounts_travel_as_their_propagation_says() -> Result<()> {
    let node = Node::start().await?;
    let shared = SharedMount::new(node.agent.directory().join("shared"))?;
    for name in ["before", "host", "inside"] {
        std::fs::create_dir(shared.0.join(name))?;
    }
    mount(&["-t", "tmpfs", "before"], &shared.0.join("before"))?;
    let mut config = node.sandbox_config("pod");
    config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default()
        .privileged = true;
    let sandbox = node.sandbox_of(config).await?;
    let mut config = node.container_config("main", &["/bin/pause"]);
    config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default()
        .privileged = true;
    let of = |path: &str, propagation: MountPropagation| Mount {
        propagation: propagation.into(),
        ..volume(path, &shared.0)
    };
    config.mounts = vec![
        of("/private", MountPropagation::PropagationPrivate),
        of("/slave", MountPropagation::PropagationHostToContainer),
        of("/both", MountPropagation::PropagationBidirectional),
    ];
    let id = node.run_of(&sandbox, &config).await?;
    // What was mounted before is there, whatever comes later.
    for path in ["/private", "/slave", "/both"] {
        let line = format!("mount | grep -c ' on {path}/before '");
        assert_eq!(node.exec(&id, &line).await?, "1\n", "{path}");
    }
    mount(&["-t", "tmpfs", "later"], &shared.0.join("host"))?;
    for (path, seen) in [("/private", "0\n"), ("/slave", "1\n"), ("/both", "1\n")] {
        let line = format!("mount | grep -c ' on {path}/host ' || true");
        assert_eq!(node.exec(&id, &line).await?, seen, "{path}");
    }
    node.exec(&id, "mount -t tmpfs inside /both/inside").await?;
    node.exec(&id, "mount -t tmpfs inside /slave/host").await?;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let count = |name: &str| {
        let place = format!(" {} ", shared.0.join(name).display());
        mounts.lines().filter(|line| line.contains(&place)).count()
    };
    assert_eq!((count("inside"), count("host")), (1, 1), "{mounts}");
    let status = node.cri.container_status(&id).await?;
    let shown = status.mounts.iter().find(|m| m.container_path == "/both");
    let shown = shown.context("the status shows the mount")?;
    assert_eq!(
        shown.propagation(),
        MountPropagation::PropagationBidirectional
    );
    node.remove_all().await?;
    drop(shared);
    node.finish().await
}

#[tokio::test]
async fn a_source_that_passes_no_mounts_on_is_refused_where_they_are_to_travel() -> Result<()> {
    let node = Node::start().await?;
    let source = SharedMount::new(node.agent.directory().join("source"))?;
    let mut config = node.sandbox_config("pod");
    let linux = config.linux.get_or_insert_default();
    linux.security_context.get_or_insert_default().privileged = true;
    let sandbox = node.sandbox_of(config).await?;
    let create = async |name: &str, source: &SharedMount, propagation: MountPropagation| {
        let mut config = node.container_config(name, &["/bin/pause"]);
        config.mounts = vec![Mount {
            propagation: propagation.into(),
            ..volume("/data", &source.0)
        }];
        let linux = config.linux.get_or_insert_default();
        linux.security_context.get_or_insert_default().privileged = true;
        node.cri
            .create_container(&sandbox.id, &config, &sandbox.config)
            .await
    };
    let (slave, both) = (
        MountPropagation::PropagationHostToContainer,
        MountPropagation::PropagationBidirectional,
    );
    mount(&["--make-private"], &source.0)?;
    for (name, propagation, needs) in [
        ("private-slave", slave, "shared or slave"),
        ("private-both", both, "shared"),
    ] {
        let refused = create(name, &source, propagation).await.err();
        let refused = refused.context("nothing is passed on")?;
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
        let words = format!("is not on a {needs} mount");
        assert!(refused.message().contains(&words), "{refused:?}");
    }
    // A slave passes on what comes to it, and nothing back.
    mount(&["--make-shared"], &source.0)?;
    let follower = source.slave(node.agent.directory().join("follower"))?;
    create("slave-slave", &follower, slave).await?;
    let refused = create("slave-both", &follower, both).await.err();
    let refused = refused.context("nothing comes back")?;
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    node.remove_all().await?;
    drop((follower, source));
    node.finish().await
}

#[tokio::test]
async fn recursively_read_only_reaches_mounts_below() -> Result<()> {
    let node = Node::start().await?;
    let tree = SharedMount::new(node.agent.directory().join("tree"))?;
    std::fs::create_dir(tree.0.join("below"))?;
    mount(&["-t", "tmpfs", "below"], &tree.0.join("below"))?;
    let sandbox = node.sandbox("pod").await?;
    let line =
        "for d in /plain /plain/below /deep /deep/below; do touch $d/x 2>/dev/null; echo $?; done";
    let mut config = node.container_config("main", &["/bin/sh", "-c", line]);
    config.mounts = vec![
        Mount {
            readonly: true,
            ..volume("/plain", &tree.0)
        },
        Mount {
            readonly: true,
            recursive_read_only: true,
            ..volume("/deep", &tree.0)
        },
    ];
    assert_eq!(
        node.shell_of(&sandbox, &config).await?,
        (0, "1\n0\n1\n1\n".to_owned())
    );
    node.remove_all().await?;
    drop(tree);
    node.finish().await
}

#[tokio::test]
async fn host_paths_are_followed_on_the_host_and_options_hold() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let real = node.agent.directory().join("real");
    std::fs::create_dir(&real)?;
    std::fs::copy("/bin/busybox", real.join("busybox"))?;
    let link = node.agent.directory().join("link");
    std::os::unix::fs::symlink("real", &link)?;
    // The kubelet's own: a file for what a container says when it ends.
    let message = node.agent.directory().join("message");
    std::fs::write(&message, "")?;
    let line = "ls /link; /link/busybox true 2>/dev/null; echo $?; mount | grep -c ' on /link .*nosuid.*noexec.*noatime'; echo done >/dev/termination-log";
    let mut config = node.container_config("main", &["/bin/sh", "-c", line]);
    config.mounts = vec![
        Mount {
            mount_options: ["noexec", "nosuid", "noatime"].map(str::to_owned).into(),
            ..volume("/link", &link)
        },
        volume("/dev/termination-log", &message),
    ];
    assert_eq!(
        node.shell_of(&sandbox, &config).await?,
        (0, "busybox\n126\n1\n".to_owned())
    );
    assert_eq!(std::fs::read_to_string(&message)?, "done\n");
    node.finish().await
}

async fn model(node: &Node) -> Result<String> {
    let mut layer = LayerBuilder::new();
    layer.directory("weights", 0o755)?;
    layer.file("weights/one", b"first", 0o644)?;
    layer.symlink("weights/out", "/../../../../etc")?;
    layer.symlink("away", "/weights")?;
    let mut second = LayerBuilder::new();
    second.file("weights/two", b"second", 0o755)?;
    let image = Image::new(vec![layer.gzip()?, second.gzip()?], &default_config());
    let reference = node.registry.push("test/model:1", &image)?;
    node.cri.pull(&reference).await?;
    Ok(reference)
}

fn image_volume(path: &str, image: &str, sub_path: &str) -> Mount {
    Mount {
        container_path: path.to_owned(),
        image: Some(harness::cri::image_spec(image)),
        image_sub_path: sub_path.to_owned(),
        readonly: true,
        ..Mount::default()
    }
}

#[tokio::test]
async fn an_image_is_a_volume_that_is_only_read() -> Result<()> {
    let node = Node::start().await?;
    let reference = model(&node).await?;
    let sandbox = node.sandbox("pod").await?;
    let mut config = node.container_config("main", &["/bin/pause"]);
    config.mounts = vec![
        image_volume("/whole", &reference, ""),
        image_volume("/part", &reference, "weights"),
        image_volume("/linked", &reference, "away"),
        image_volume("/file", &reference, "weights/two"),
    ];
    let id = node.run_of(&sandbox, &config).await?;
    for (line, text) in [
        ("cat /whole/weights/one /whole/weights/two", "firstsecond"),
        ("cat /part/one /part/two", "firstsecond"),
        ("cat /linked/one /file", "firstsecond"),
        (
            "touch /whole/x /part/x /file 2>&1 | grep -c 'Read-only'",
            "3\n",
        ),
        (
            "mount | grep -cE ' on /(whole|part|linked|file) .*ro,nosuid,nodev,noexec'",
            "4\n",
        ),
    ] {
        assert_eq!(node.exec(&id, line).await?, text, "{line}");
    }
    let status = node.cri.container_status(&id).await?;
    let digest = node.cri.pull(&reference).await?;
    let shown = status.mounts.iter().find(|m| m.container_path == "/part");
    let shown = shown.context("the status shows the mount")?;
    let image = shown.image.clone().unwrap_or_default();
    assert_eq!((image.image, image.image_ref), (reference.clone(), digest));
    assert_eq!(
        (shown.image_sub_path.as_str(), shown.readonly),
        ("weights", true)
    );
    // Its content outlives its name for as long as it is used.
    node.cri.remove_image(&reference).await?;
    assert_eq!(node.exec(&id, "cat /part/one").await?, "first");
    node.finish().await
}

#[tokio::test]
async fn a_volume_of_an_image_stays_in_it_and_must_be_there() -> Result<()> {
    let node = Node::start().await?;
    let reference = model(&node).await?;
    let sandbox = node.sandbox("pod").await?;
    for (image, sub_path, code) in [
        (
            reference.as_str(),
            "weights/out/passwd",
            Code::InvalidArgument,
        ),
        (reference.as_str(), "nowhere", Code::InvalidArgument),
        (
            reference.as_str(),
            "weights/one/deeper",
            Code::InvalidArgument,
        ),
        ("localhost/not/pulled:1", "", Code::NotFound),
    ] {
        let mut config = node.container_config("main", &["/bin/true"]);
        config.mounts = vec![image_volume("/volume", image, sub_path)];
        let refused = node
            .cri
            .create_container(&sandbox.id, &config, &sandbox.config)
            .await;
        let Err(status) = refused else {
            anyhow::bail!("{sub_path}: accepted")
        };
        assert_eq!(status.code(), code, "{sub_path}: {status:?}");
        assert!(status.message().contains("/volume"), "{status:?}");
    }
    node.finish().await
}

#[tokio::test]
async fn volumes_an_image_wants_are_there_and_writable() -> Result<()> {
    let node = Node::start().await?;
    let mut layer = LayerBuilder::new();
    layer.directory("kept", 0o755)?;
    layer.file("kept/file", b"content", 0o644)?;
    let mut wanted = default_config();
    wanted["Volumes"] = serde_json::json!({"/kept": {}, "/made/deep": {}, "/proc/x": {}});
    let image = Image::busybox_with(vec![layer.gzip()?], &wanted)?;
    let image = node.registry.push("test/volumes:1", &image)?;
    node.cri.pull(&image).await?;
    let sandbox = node.sandbox("pod").await?;
    let line =
        "cat /kept/file; for d in /kept /made/deep /home; do touch $d/x 2>/dev/null; echo $?; done";
    for (name, read_only, text) in [
        ("plain", false, "content0\n0\n0\n"),
        ("read-only", true, "content0\n0\n1\n"),
    ] {
        let mut config = crate::isolation::with_context(&node, name, line, |context| {
            context.readonly_rootfs = read_only;
        });
        config.image = Some(harness::cri::image_spec(&image));
        assert_eq!(
            node.shell_of(&sandbox, &config).await?,
            (0, text.to_owned()),
            "{name}"
        );
    }
    node.finish().await
}
