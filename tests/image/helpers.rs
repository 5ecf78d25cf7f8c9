//! Credential helpers that the node's docker-style file names.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use harness::image::Image;
use harness::node::Node;
use harness::registry::{PASSWORD, Registry, USER};
use tonic::Code;

use crate::hosts::Described;

/// Writes a helper that notes what it is asked, and then does what a line of shell says.
fn helper(directory: &Path, name: &str, line: &str) -> Result<()> {
    let path = directory.join(format!("docker-credential-{name}"));
    let asked = directory.join("asked");
    let script = format!(
        "#!/bin/sh\necho {name} \"$1\" \"$(cat)\" >>{}\n{line}\n",
        asked.display()
    );
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).context("make a helper")
}

/// Returns what helpers have been asked since the last look.
fn asked(directory: &Path) -> Result<Vec<String>> {
    let path = directory.join("asked");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    std::fs::write(&path, "")?;
    Ok(text.lines().map(str::to_owned).collect())
}

#[tokio::test]
async fn helpers_are_asked_by_name_and_their_failures_are_told() -> Result<()> {
    let described = Described::new()?;
    let programs = tempfile::tempdir()?;
    let here = programs.path();
    let path = std::env::var("PATH")?;
    let options = described
        .options()
        .with_variable("PATH", &format!("{}:{path}", here.display()));
    let node = Node::start_with(options).await?;
    let private = Registry::start_private()?;
    let image = Image::busybox()?;
    let reference = private.push("secret/busybox:1", &image)?;
    let open = node.registry.push("test/open:1", &image)?;
    let host = private.address();
    helper(
        here,
        "knows",
        &format!(r#"printf '{{"ServerURL":"x","Username":"{USER}","Secret":"{PASSWORD}"}}'"#),
    )?;
    helper(
        here,
        "empty",
        "echo credentials not found in native keychain; exit 1",
    )?;
    helper(here, "locked", "echo the keychain is locked; exit 1")?;

    let helpers = |name: &str| format!("{{\"credHelpers\":{{\"{host}\":\"{name}\"}}}}");
    let pulled = async |config: String| {
        described.credentials(&config)?;
        let pulled = node.cri.pull(&reference).await;
        if pulled.is_ok() {
            node.cri.remove_image(&reference).await?;
        }
        anyhow::Ok(pulled)
    };
    // For this registry, for all, and where the registry's own has nothing.
    for (config, wanted) in [
        (helpers("knows"), vec!["knows"]),
        (r#"{"credsStore":"knows"}"#.to_owned(), vec!["knows"]),
        (
            format!("{{\"credHelpers\":{{\"{host}\":\"empty\"}},\"credsStore\":\"knows\"}}"),
            vec!["empty", "knows"],
        ),
    ] {
        assert_eq!(pulled(config.clone()).await??, image.id, "{config}");
        let wanted: Vec<_> = wanted
            .iter()
            .map(|name| format!("{name} get {host}"))
            .collect();
        assert_eq!(asked(here)?, wanted, "{config}");
    }
    // One that has nothing is no obstacle, where nothing is needed.
    let nothing = r#"{"credsStore":"empty"}"#.to_owned();
    let refused = pulled(nothing).await?.err().context("nothing is shown")?;
    assert_eq!(refused.code(), Code::PermissionDenied, "{refused:?}");
    assert_eq!(node.cri.pull(&open).await?, image.id);
    node.cri.remove_image(&open).await?;
    for (name, words) in [
        ("locked", "the keychain is locked"),
        ("absent", "docker-credential-absent is not installed"),
        ("../locked", "no usable name"),
    ] {
        let refused = pulled(helpers(name)).await?.err().context("it fails")?;
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
        assert!(refused.message().contains(words), "{refused:?}");
    }
    // Another registry's helper is none of this one's business.
    assert_eq!(node.cri.pull(&open).await?, image.id);
    let _ = asked(here)?;
    // A mirror's own.
    described.write("registry.test", &format!("[host.\"http://{host}\"]\n"))?;
    described.credentials(&helpers("knows"))?;
    let mirrored = "registry.test/secret/busybox:1";
    assert_eq!(node.cri.pull(mirrored).await?, image.id);
    assert_eq!(asked(here)?, [format!("knows get {host}")]);
    node.finish().await
}
