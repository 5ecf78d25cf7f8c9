//! Devices by the names of the Container Device Interface.

use anyhow::Result;
use harness::node::Node;
use proto::cri::{CdiDevice, ContainerConfig};
use serde_json::{Value, json};
use tonic::Code;

pub(crate) fn describe(node: &Node, directory: &str, file: &str, text: &str) -> Result<()> {
    let directory = node.agent.directory().join("cdi").join(directory);
    std::fs::create_dir_all(&directory)?;
    std::fs::write(directory.join(file), text)?;
    Ok(())
}

fn specification(device: &str, edits: Value) -> String {
    json!({
        "cdiVersion": "0.6.0",
        "kind": "vendor.com/device",
        "devices": [{"name": device, "containerEdits": edits}],
        "containerEdits": {"env": ["VENDOR=here"]},
    })
    .to_string()
}

pub(crate) fn named(config: ContainerConfig, names: &[&str]) -> ContainerConfig {
    let device = |name: &&str| CdiDevice {
        name: (*name).to_owned(),
    };
    ContainerConfig {
        cdi_devices: names.iter().map(device).collect(),
        ..config
    }
}

#[tokio::test]
async fn a_container_gets_what_its_devices_bring_along() -> Result<()> {
    let mut node = Node::start().await?;
    let library = node.agent.directory().join("library");
    std::fs::create_dir(&library)?;
    std::fs::write(library.join("driver"), "driver")?;
    let unplugged = library.join("node");
    let mut mknod = std::process::Command::new("mknod");
    harness::command::run(mknod.arg(&unplugged).args(["c", "1", "5"]))?;
    let edits = json!({
        "env": ["DEVICE=one", "PATH=/opt:/bin"],
        "deviceNodes": [
            {"path": "/dev/vendor/zero", "hostPath": "/dev/zero", "permissions": "r"},
            {"path": "/dev/vendor/log", "hostPath": "/dev/kmsg", "permissions": "r"},
            {"path": "/dev/vendor/unplugged", "hostPath": unplugged, "permissions": "r"},
            {"path": "/dev/vendor0", "type": "c", "major": 1, "minor": 7, "fileMode": 0o640, "uid": 7, "gid": 8},
        ],
        "mounts": [{"hostPath": library, "containerPath": "/usr/lib/vendor", "options": ["rbind", "ro", "nosuid"]}],
        "additionalGids": [4242],
    });
    describe(&node, "static", "one.json", &specification("one", edits))?;
    let yaml = "cdiVersion: \"0.5.0\"\nkind: vendor.com/net\ndevices:\n- name: \"0\"\n  containerEdits:\n    env: [\"NET=static\"]\n";
    describe(&node, "static", "net.yaml", yaml)?;
    describe(
        &node,
        "dynamic",
        "net.yaml",
        &yaml.replace("static", "dynamic"),
    )?;
    let sandbox = node.sandbox("pod").await?;
    let config = node.container_config("main", &["/bin/pause"]);
    let config = named(config, &["vendor.com/device=one", "vendor.com/net=0"]);
    let id = node.run_of(&sandbox, &config).await?;
    let lines = [
        (
            "echo $VENDOR $DEVICE $NET $PATH",
            "here one dynamic /opt:/bin\n",
        ),
        ("head -c 2 /dev/vendor/zero | od -An -tx1", " 00 00\n"),
        ("stat -c '%a %u %g %t:%T' /dev/vendor0", "640 7 8 1:7\n"),
        (
            "cat /usr/lib/vendor/driver; ! touch /usr/lib/vendor/x 2>/dev/null",
            "driver",
        ),
        ("id -G | grep -c 4242", "1\n"),
        (
            "! sh -c 'exec 3>/dev/vendor/log' 2>/dev/null && echo refused",
            "refused\n",
        ),
    ];
    for (line, text) in lines {
        assert_eq!(node.exec(&id, line).await?, text, "{line}");
    }
    // Vendors rewrite their files, devices are unplugged, and agents are replaced; the container
    // stays what it is.
    std::fs::remove_dir_all(node.agent.directory().join("cdi"))?;
    std::fs::remove_file(unplugged)?;
    node.restart().await?;
    assert_eq!(
        node.exec(&id, "echo $DEVICE; id -G | grep -c 4242").await?,
        "one\n1\n"
    );
    node.finish().await
}

#[tokio::test]
async fn devices_that_are_not_to_be_had_are_refused_by_create() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let rdt = json!({"intelRdt": {"closID": "class"}});
    describe(&node, "static", "rdt.json", &specification("rdt", rdt))?;
    for file in ["a.json", "b.json"] {
        describe(&node, "static", file, &specification("twice", json!({})))?;
    }
    let gone = json!({"deviceNodes": [{"path": "/dev/nowhere-at-all"}]});
    describe(&node, "static", "gone.json", &specification("gone", gone))?;
    let over = json!({"mounts": [{"hostPath": "/etc", "containerPath": "/proc/sys"}]});
    describe(&node, "static", "over.json", &specification("over", over))?;
    describe(&node, "dynamic", "broken.yaml", "kind: [")?;
    for (device, word) in [
        ("vendor.com/device=none", "broken.yaml"),
        ("vendor.com/device=twice", "b.json"),
        ("vendor.com/device=rdt", "Intel RDT"),
        ("vendor.com/device=gone", "/dev/nowhere-at-all"),
        ("vendor.com/device=over", "/proc/sys"),
        ("no-name", "no-name"),
    ] {
        let config = named(node.container_config("main", &["/bin/pause"]), &[device]);
        let refused = node
            .cri
            .create_container(&sandbox.id, &config, &sandbox.config)
            .await;
        let Err(status) = refused else {
            anyhow::bail!("{device}: accepted")
        };
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(word), "{status:?}");
    }
    node.finish().await
}
