//! What is to be written below /proc is led elsewhere: by a mount, by a link, by the image's own files.

use anyhow::Result;
use harness::image::LayerBuilder;
use harness::node::Node;
use proto::cri::Mount;

use crate::{host_directory, is_untouched, outcome, plain, pulled};

/// Files of the host that such writes were led to.
const TARGETS: [&str; 2] = ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname"];

fn targets() -> Result<Vec<String>> {
    let read = |path: &&str| Ok(std::fs::read_to_string(path)?);
    TARGETS.iter().map(read).collect()
}

#[tokio::test]
async fn what_is_written_below_proc_goes_to_the_kernel() -> Result<()> {
    let node = Node::start().await?;
    let (host, before) = (host_directory(&node)?, targets()?);
    let mut layer = LayerBuilder::new();
    layer
        .directory("proc/sys/net/ipv4", 0o755)?
        .file("proc/sys/net/ipv4/ip_unprivileged_port_start", b"", 0o666)?
        .directory("proc/self/attr", 0o755)?
        .symlink("proc/self/attr/exec", "/proc/sys/kernel/core_pattern")?
        .symlink("proc/self/oom_score_adj", "/proc/sys/kernel/hostname")?
        .symlink("data", "/proc/sys/kernel")?
        .symlink("attributes", "/proc/self/attr")?;
    let image = pulled(&node, "procfs", layer, &plain()).await?;

    // The image's own files are not what the settings of the sandbox and the process go to.
    let mut sandbox = node.sandbox_config("settings");
    let sysctls = &mut sandbox.linux.get_or_insert_default().sysctls;
    sysctls.insert(
        "net.ipv4.ip_unprivileged_port_start".to_owned(),
        "77".to_owned(),
    );
    let sandbox = node.sandbox_of(sandbox).await?;
    let line = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/self/oom_score_adj";
    let mut config = node.container_config("main", &["/bin/sh", "-c", line]);
    config.image = Some(harness::cri::image_spec(&image));
    config
        .linux
        .get_or_insert_default()
        .resources
        .get_or_insert_default()
        .oom_score_adj = 123;
    assert_eq!(
        node.shell_of(&sandbox, &config).await?,
        (0, "77\n123\n".to_owned())
    );

    // Nothing is mounted into a procfs, whether it is named or a link of the image's leads there.
    for destination in [
        "/proc/self/attr",
        "/proc/sys",
        "/proc/sys/net/ipv4",
        "/proc/1/../sys/kernel",
        "/data",
        "/attributes",
    ] {
        let mut config = node.container_config("main", &["/bin/touch", "/proc/sys/kernel/evil"]);
        config.mounts = vec![Mount {
            container_path: destination.to_owned(),
            host_path: host.display().to_string(),
            ..Mount::default()
        }];
        let result = outcome(&node, &image, &config).await?;
        assert!(!matches!(result, Ok((0, _))), "{destination}: {result:?}");
        is_untouched(&host)?;
    }
    assert_eq!(targets()?, before);
    node.finish().await
}
