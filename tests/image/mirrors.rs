//! Mirrors that serve something else than was asked for.

use anyhow::{Context as _, Result};
use harness::image::{Image, big_layer, default_config};
use harness::node::Node;
use harness::proxy::{Fault, Proxy};

use crate::hosts::Described;

const REFERENCE: &str = "registry.test/test/mirrored:1";

#[tokio::test]
async fn a_mirror_that_is_wrong_is_passed_over_and_named() -> Result<()> {
    let described = Described::new()?;
    let node = Node::start_with(described.options()).await?;
    // What is broken, as the place of its blob, and how.
    for (number, what, place, fault) in [
        (0, "a manifest", None, Fault::CorruptAt(40)),
        (1, "another manifest", None, Fault::Replace(b"{}".to_vec())),
        (2, "a config", Some(3), Fault::CorruptAt(3)),
        (3, "a layer", Some(1), Fault::CorruptAt(5000)),
        (4, "a layer's first byte", Some(2), Fault::CorruptAt(0)),
        (5, "a long layer", Some(2), Fault::Append(100)),
        (6, "a short layer", Some(2), Fault::Shorten(100_000)),
    ] {
        // Nothing of it is there yet.
        let layers = vec![
            big_layer(2 * number, 300_000)?,
            big_layer(2 * number + 1, 1 << 20)?,
        ];
        let image = Image::busybox_with(layers, &default_config())?;
        node.registry.push("test/mirrored:1", &image)?;
        let target = match place {
            Some(place) => image.blobs[place].digest.clone(),
            None => "/manifests/".to_owned(),
        };
        let (mirror, registry) = (Proxy::start(&node.registry)?, Proxy::start(&node.registry)?);
        described.write(
            "registry.test",
            &format!(
                "server = \"http://{}\"\n[host.\"http://{}\"]\n",
                registry.address(),
                mirror.address()
            ),
        )?;
        let wrong = target.clone();
        mirror.break_with(move |seen| {
            (seen.method == "GET" && seen.target.contains(&wrong)).then(|| fault.clone())
        });
        let pulled = node.cri.pull(REFERENCE).await;
        let pulled = pulled.with_context(|| format!("{what} is right elsewhere"))?;
        assert_eq!(pulled, image.id, "{what}");
        let asked = mirror.take_seen();
        let asked = asked.iter();
        let asked = asked.filter(|seen| seen.method == "GET" && seen.target.contains(&target));
        assert_eq!(asked.count(), 1, "{what} is asked of a liar once");
        let found = registry.take_seen();
        assert!(
            found.iter().any(|seen| seen.target.contains(&target)),
            "{what}: {found:#?}"
        );
        let address = mirror.address().to_string();
        let log = node.agent.log();
        let named = log
            .lines()
            .any(|line| line.contains("passed over") && line.contains(&address));
        assert!(named, "{what}: nobody is told of {address}");
    }
    node.finish().await
}

#[tokio::test]
async fn the_registry_itself_has_the_last_word_on_what_is_right() -> Result<()> {
    let described = Described::new()?;
    let node = Node::start_with(described.options()).await?;
    let image = Image::busybox_with(vec![big_layer(1, 1 << 20)?], &default_config())?;
    node.registry.push("test/mirrored:1", &image)?;
    let (mirror, registry) = (Proxy::start(&node.registry)?, Proxy::start(&node.registry)?);
    described.write(
        "registry.test",
        &format!(
            "server = \"http://{}\"\n[host.\"http://{}\"]\n",
            registry.address(),
            mirror.address()
        ),
    )?;
    let layer = image.blobs[1].digest.clone();
    for proxy in [&mirror, &registry] {
        let layer = layer.clone();
        proxy.break_with(move |seen| {
            seen.target
                .contains(&layer)
                .then_some(Fault::CorruptAt(100))
        });
    }
    let refused = node.cri.pull(REFERENCE).await.err();
    let refused = refused.context("nobody has it right")?;
    assert!(
        refused.message().to_lowercase().contains("corrupt"),
        "{refused:?}"
    );
    for proxy in [&mirror, &registry] {
        let seen = proxy.take_seen();
        let asked = seen.iter().filter(|seen| seen.target.contains(&layer));
        assert_eq!(asked.count(), 1);
    }
    // The next pull begins anew, with the mirror.
    mirror.mend();
    assert_eq!(node.cri.pull(REFERENCE).await?, image.id);
    assert!(mirror.take_seen().iter().any(|seen| seen.is_blob()));
    node.finish().await
}
