//! Layers that write, link or change modes outside of their root. (Row 14 is the same corpus.)

use anyhow::Result;
use harness::image::{Image, LayerBuilder};
use harness::node::Node;
use tar::EntryType;

use crate::{host_directory, is_untouched, plain};

#[tokio::test]
async fn nothing_is_written_outside_of_the_layer() -> Result<()> {
    let node = Node::start().await?;
    let host = host_directory(&node)?;
    let path = host.display().to_string();
    let climbing = format!("../../../../../../../../../..{path}");
    let raw = |name: &str, link: &str, kind| -> Result<LayerBuilder> {
        let mut layer = LayerBuilder::new();
        layer.raw(
            name.as_bytes(),
            link.as_bytes(),
            kind,
            if kind == EntryType::Regular {
                b"evil"
            } else {
                b""
            },
        )?;
        Ok(layer)
    };
    let through = |target: &str, then: &str, kind| -> Result<LayerBuilder> {
        let mut layer = LayerBuilder::new();
        layer
            .symlink("out", target)?
            .raw(then.as_bytes(), b"", kind, b"")?;
        Ok(layer)
    };
    let mut chmod = LayerBuilder::new();
    chmod.symlink("out", &path)?.directory("out", 0o777)?;
    let mut hard_link = LayerBuilder::new();
    hard_link
        .symlink("out", &path)?
        .hard_link("mine", "out/marker")?
        .file("mine", b"evil", 0o666)?;
    let mut whiteout = LayerBuilder::new();
    whiteout.symlink("out", &path)?.whiteout("out", "marker")?;
    let mut opaque = LayerBuilder::new();
    opaque.symlink("out", &path)?.opaque("out")?;
    let layers = [
        (
            "climbing",
            raw(&format!("{climbing}/new"), "", EntryType::Regular)?,
        ),
        (
            "absolute",
            raw(&format!("{path}/new"), "", EntryType::Regular)?,
        ),
        (
            "climbing-over",
            raw(&format!("{climbing}/marker"), "", EntryType::Regular)?,
        ),
        (
            "climbing-directory",
            raw(&format!("{climbing}/new/"), "", EntryType::Directory)?,
        ),
        (
            "hard-link-out",
            raw("mine", &format!("{climbing}/marker"), EntryType::Link)?,
        ),
        (
            "through-absolute",
            through(&path, "out/new", EntryType::Regular)?,
        ),
        (
            "through-relative",
            through(&climbing, "out/new", EntryType::Regular)?,
        ),
        (
            "through-over",
            through(&path, "out/marker", EntryType::Regular)?,
        ),
        (
            "through-directory",
            through(&path, "out/new/", EntryType::Directory)?,
        ),
        ("chmod", chmod),
        ("hard-link-through", hard_link),
        ("whiteout-through", whiteout),
        ("opaque-through", opaque),
        (
            "whiteout-climbing",
            raw("x/.wh...", "", EntryType::Regular)?,
        ),
        ("whiteout-self", raw(".wh..", "", EntryType::Regular)?),
    ];
    let mode = std::fs::metadata(&host)?.permissions();
    for (name, layer) in layers {
        let image = Image::busybox_with(vec![layer.gzip()?], &plain())?;
        let reference = node.registry.push(&format!("hostile/{name}:1"), &image)?;
        // To be refused is as good as to be confined.
        let _ = node.cri.pull(&reference).await;
        is_untouched(&host)?;
        assert_eq!(std::fs::metadata(&host)?.permissions(), mode, "{name}");
    }
    node.finish().await
}

#[tokio::test]
async fn layers_unpacked_side_by_side_do_not_open_a_way_either() -> Result<()> {
    let node = Node::start().await?;
    let host = host_directory(&node)?;
    let path = host.display().to_string();
    let mut links = LayerBuilder::new();
    links.symlink("tmp", &path)?;
    let mut files = LayerBuilder::new();
    for number in 0..200 {
        files.file(&format!("tmp/new-{number}"), b"evil", 0o644)?;
    }
    let image = Image::busybox_with(vec![links.gzip()?, files.gzip()?], &plain())?;
    let reference = node.registry.push("hostile/side-by-side:1", &image)?;
    let _ = node.cri.pull(&reference).await;
    is_untouched(&host)?;
    node.finish().await
}
