//! `ctl pull`, `images`, `tag`, `rmi`.

use anyhow::Result;
use harness::image::{Image, default_config};
use harness::node::Node;

#[tokio::test]
async fn images_are_pulled_listed_tagged_and_removed() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let made = Image::busybox_with(
        vec![harness::image::big_layer(3, 1 << 20)?],
        &default_config(),
    )?;
    let reference = node.registry.push("team/app:2.1", &made)?;
    let ended = ctl.run(&["pull", &reference])?;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        (ended.stdout.clone() + &ended.stderr).contains(&made.manifest_digest()),
        "{ended:?}"
    );
    assert_eq!(ctl.ok(&["pull", "-q", &reference])?, reference);
    let list = ctl.ok(&["images", "--format", "{{.Repository}}:{{.Tag}}"])?;
    assert_eq!(
        list.lines().collect::<std::collections::BTreeSet<_>>(),
        [reference.as_str(), node.image.as_str()].into()
    );
    ctl.ok(&["tag", &reference, "app:mine"])?;
    assert_eq!(
        ctl.ok(&["run", "--rm", "app:mine", "echo", "tagged"])?,
        "tagged"
    );
    let id = ctl.ok(&["image", "inspect", "--format", "{{.Id}}", "app:mine"])?;
    assert_eq!(id, made.id);
    let untagged = ctl.ok(&["rmi", &reference])?;
    assert!(
        untagged.contains("Untagged:") && !untagged.contains("Deleted:"),
        "{untagged}"
    );
    let deleted = ctl.ok(&["rmi", "app:mine"])?;
    assert!(
        deleted.contains(&format!("Deleted: {}", made.id)),
        "{deleted}"
    );
    assert_eq!(ctl.run(&["rmi", "app:mine"])?.code, 1);
    node.finish().await
}

#[tokio::test]
async fn a_used_image_is_not_removed_unless_forced() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    ctl.ok(&["run", "-d", "--name", "user", &node.image, "/bin/pause"])?;
    let refused = ctl.run(&["rmi", &node.image])?;
    assert!(
        refused.code == 1 && refused.stderr.contains("used by"),
        "{refused:?}"
    );
    ctl.ok(&["rm", "-f", "user"])?;
    ctl.ok(&["rmi", &node.image])?;
    assert_eq!(ctl.ok(&["images", "-q"])?, "");
    node.finish().await
}
