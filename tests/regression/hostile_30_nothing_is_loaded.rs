//! The daemon loads or executes something that the image brings: a library for names, a decompressor.

use anyhow::Result;
use harness::image::LayerBuilder;
use harness::node::Node;

use crate::{context, host_directory, is_untouched, plain, pulled};

/// Libraries and programs that others were made to use.
const LIBRARIES: [&str; 6] = [
    "lib/libnss_evil.so.2",
    "lib/x86_64-linux-gnu/libnss_evil.so.2",
    "lib/x86_64-linux-gnu/libnss_files.so.2",
    "lib/x86_64-linux-gnu/libc.so.6",
    "usr/lib/libnss_evil.so.2",
    "lib64/ld-linux-x86-64.so.2",
];
const PROGRAMS: [&str; 5] = [
    "bin/unpigz",
    "usr/bin/gzip",
    "usr/bin/xz",
    "sbin/ldconfig",
    "usr/bin/newuidmap",
];

#[tokio::test]
async fn nothing_of_an_image_runs_outside_of_its_container() -> Result<()> {
    let node = Node::start().await?;
    let host = host_directory(&node)?;
    let mut layer = LayerBuilder::new();
    let switch = "passwd: evil files\ngroup: evil files\ninitgroups: evil\n";
    layer.file("etc/nsswitch.conf", switch.as_bytes(), 0o644)?;
    // Whoever maps or executes one of these instead of reading a file is found by its name.
    let evil = format!("#!/bin/sh\ntouch {}/loaded\n", host.display());
    for path in LIBRARIES.iter().chain(&PROGRAMS) {
        layer.file(path, evil.as_bytes(), 0o755)?;
    }
    let image = pulled(&node, "loaded", layer, &plain()).await?;
    let sandbox = node.sandbox("pod").await?;
    let mut config = node.container_config("main", &["/bin/pause"]);
    config.image = Some(harness::cri::image_spec(&image));
    context(&mut config).run_as_username = "user".to_owned();
    let id = node.run_of(&sandbox, &config).await?;
    // Users are found in the image's files, whatever its switch says.
    assert_eq!(node.exec(&id, "id -u; id -G").await?, "1000\n1000 2000\n");
    node.ctl()?
        .ok(&["run", "--rm", "-u", "user", &image, "true"])?;
    let root = node.agent.root().display().to_string();
    let mut ours = vec![node.agent.pid()];
    ours.extend(node.agent.helpers()?.iter().map(|one| one.pid));
    for pid in ours {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let evil: Vec<_> = maps
            .lines()
            .filter(|line| {
                line.contains("evil") || (line.contains(&root) && !line.contains(".redb"))
            })
            .collect();
        assert!(evil.is_empty(), "{pid}: {evil:?}");
    }
    is_untouched(&host)?;
    node.finish().await
}
