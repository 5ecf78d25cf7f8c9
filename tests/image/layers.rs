//! What layers hold arrives in the container as it was packed.

use anyhow::Result;
use harness::image::{Image, LayerBuilder, default_config};
use harness::node::Node;
use proto::cri::Int64Value;
use tar::EntryType;

use crate::run_in;

async fn pulled(node: &Node, name: &str, layers: Vec<LayerBuilder>) -> Result<String> {
    let layers = layers
        .into_iter()
        .map(LayerBuilder::gzip)
        .collect::<Result<Vec<_>>>()?;
    let reference = node.registry.push(
        &format!("test/{name}:1"),
        &Image::busybox_with(layers, &default_config())?,
    )?;
    node.cri.pull(&reference).await?;
    Ok(reference)
}

#[tokio::test]
async fn whiteouts_and_opaque_directories_hide_what_is_below() -> Result<()> {
    let node = Node::start().await?;
    let (mut below, mut above) = (LayerBuilder::new(), LayerBuilder::new());
    below
        .directory("data", 0o755)?
        .file("data/stays", b"1", 0o644)?
        .file("data/goes", b"2", 0o644)?;
    below
        .directory("data/tree", 0o755)?
        .file("data/tree/file", b"3", 0o644)?;
    below
        .directory("opaque", 0o755)?
        .file("opaque/old", b"4", 0o644)?;
    below
        .directory("again", 0o755)?
        .file("again/old", b"5", 0o644)?;
    above.whiteout("data", "goes")?.whiteout("data", "tree")?;
    above
        .directory("opaque", 0o700)?
        .opaque("opaque")?
        .file("opaque/new", b"6", 0o644)?;
    above
        .whiteout(".", "again")?
        .directory("again", 0o755)?
        .file("again/new", b"7", 0o644)?;
    let image = pulled(&node, "whiteouts", vec![below, above]).await?;
    let line =
        "ls -A /data; ls -A /opaque; ls -A /again; stat -c %a /opaque; ls -A / | grep wh || true";
    let text = run_in(&node, &image, line).await?;
    assert_eq!(text, "stays\nnew\nnew\n700\n");
    node.finish().await
}

#[tokio::test]
async fn hard_links_devices_modes_and_owners_are_kept() -> Result<()> {
    let node = Node::start().await?;
    let (mut below, mut above) = (LayerBuilder::new(), LayerBuilder::new());
    below
        .directory("links", 0o1777)?
        .file("links/one", b"linked", 0o600)?
        .hard_link("links/two", "links/one")?;
    below
        .file("links/setuid", b"", 0o6755)?
        .file_of("links/owned", b"", 0o640, (1234, 5678))?;
    below.device("links/null", EntryType::Char, 1, 3)?.device(
        "links/fifo",
        EntryType::Fifo,
        0,
        0,
    )?;
    above
        .hard_link("links/three", "links/one")?
        .symlink("links/absolute", "/links/one")?;
    let image = pulled(&node, "links", vec![below, above]).await?;
    let line = "cd /links; test $(stat -c %i one) = $(stat -c %i two) && echo same; cat three absolute; echo; \
        stat -c '%a %u:%g' . setuid owned; test -p fifo && test -c null && echo gone >null && cat null && stat -c '%t:%T' null";
    let text = run_in(&node, &image, line).await?;
    assert_eq!(
        text,
        "same\nlinkedlinked\n1777 0:0\n6755 0:0\n640 1234:5678\n1:3\n"
    );
    node.finish().await
}

#[tokio::test]
async fn file_capabilities_and_other_attributes_survive() -> Result<()> {
    let node = Node::start().await?;
    let busybox = std::fs::read("/bin/busybox")?;
    // Version 2, effective; permitted: CAP_NET_RAW.
    let capability = [
        1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    let mut layer = LayerBuilder::new();
    layer.directory("opt", 0o755)?;
    layer.file_with_xattrs(
        "opt/grep",
        &busybox,
        0o755,
        &[("security.capability", &capability), ("user.note", b"kept")],
    )?;
    let image = pulled(&node, "capable", vec![layer]).await?;
    let sandbox = node.sandbox("pod").await?;
    let mut config = node.container_config("main", &["/opt/grep", "CapEff", "/proc/self/status"]);
    config.image = Some(harness::cri::image_spec(&image));
    let context = config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default();
    context.run_as_user = Some(Int64Value { value: 1000 });
    assert_eq!(
        node.shell_of(&sandbox, &config).await?,
        (0, "CapEff:\t0000000000002000\n".to_owned())
    );
    node.finish().await
}

#[tokio::test]
async fn long_names_odd_names_and_large_numbers_are_kept() -> Result<()> {
    let node = Node::start().await?;
    let deep = format!("{}/{}", "d".repeat(120), "e".repeat(200));
    let mut layer = LayerBuilder::new();
    layer
        .directory(&"d".repeat(120), 0o755)?
        .file(&deep, b"long", 0o644)?;
    layer.file("sp ace and \u{fc}ml\u{e4}ut", b"odd", 0o644)?;
    layer.symlink("far", &format!("/{deep}"))?;
    layer.file_of("large-ids", b"", 0o644, (2_000_000, 2_097_151))?;
    let image = pulled(&node, "names", vec![layer]).await?;
    let line = format!(
        "cat /{deep}; echo; cat '/sp ace and \u{fc}ml\u{e4}ut'; echo; cat /far; echo; stat -c %u:%g /large-ids"
    );
    assert_eq!(
        run_in(&node, &image, &line).await?,
        "long\nodd\nlong\n2000000:2097151\n"
    );
    node.finish().await
}

#[tokio::test]
async fn an_image_of_120_layers_runs() -> Result<()> {
    let node = Node::start().await?;
    let mut layers = Vec::new();
    for number in 1..120 {
        let mut layer = LayerBuilder::new();
        layer
            .directory("layers", 0o755)?
            .file(&format!("layers/{number}"), b"", 0o644)?;
        layer.file("last", number.to_string().as_bytes(), 0o644)?;
        layers.push(layer);
    }
    let image = pulled(&node, "many", layers).await?;
    assert_eq!(
        run_in(&node, &image, "ls /layers | wc -l; cat /last").await?,
        "119\n119\n"
    );
    node.finish().await
}
