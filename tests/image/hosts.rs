//! Registries described by `hosts.toml`: mirrors, certificates, credentials of the node's own.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use harness::agent::Options;
use harness::image::Image;
use harness::node::Node;
use harness::proxy::{Fault, Proxy, Seen};
use harness::registry::{Registry, free_address};
use harness::wait;
use tempfile::TempDir;
use tonic::Code;

/// `tester:secret`, as docker's files have it.
const ENCODED: &str = "dGVzdGVyOnNlY3JldA==";

/// A directory of registries that an agent is told about.
pub(crate) struct Described(TempDir);

impl Described {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    /// Says of a registry what its `hosts.toml` says.
    pub(crate) fn write(&self, registry: &str, text: &str) -> Result<()> {
        let folder = self.0.path().join(registry);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("hosts.toml"), text).context("write hosts.toml")
    }

    pub(crate) fn credentials(&self, text: &str) -> Result<()> {
        std::fs::write(self.0.path().join("config.json"), text).context("write config.json")
    }

    pub(crate) fn options(&self) -> Options {
        let path = self.0.path();
        let file = path.join("config.json");
        Options::default()
            .with("images", format!("registries_directory = {path:?}"))
            .with("images", format!("credential_files = [{file:?}]"))
    }
}

/// Returns the name that leads to a port here and is no loopback address.
fn elsewhere(address: SocketAddr) -> String {
    format!("0.0.0.0:{}", address.port())
}

#[tokio::test]
async fn mirrors_are_asked_first_in_their_order_and_the_registry_last() -> Result<()> {
    let described = Described::new()?;
    let node = Node::start_with(described.options()).await?;
    let image = Image::busybox()?;
    node.registry.push("test/mirrored:1", &image)?;
    let (first, second) = (Proxy::start(&node.registry)?, Proxy::start(&node.registry)?);
    let nobody = free_address()?;
    described.write(
        "registry.test",
        &format!(
            "server = \"http://{nobody}\"\n\
             [host.\"http://{}\"]\n[host.\"http://{}\"]\n",
            first.address(),
            second.address()
        ),
    )?;
    let reference = "registry.test/test/mirrored:1";
    assert_eq!(node.cri.pull(reference).await?, image.id);
    let seen = first.take_seen();
    assert!(!seen.is_empty() && second.take_seen().is_empty());
    assert!(
        seen.iter()
            .all(|one| one.target.contains("ns=registry.test")),
        "{seen:#?}"
    );
    node.cri.remove_image(reference).await?;
    // A mirror that has not got it, or fails, is passed over.
    for status in [404, 500, 403] {
        first.break_with(move |_| Some(Fault::Status(status)));
        assert_eq!(node.cri.pull(reference).await?, image.id, "{status}");
        assert!(!second.take_seen().is_empty(), "{status}");
        node.cri.remove_image(reference).await?;
    }
    // When all fail, the registry itself has the last word.
    second.break_with(|_| Some(Fault::Status(404)));
    let refused = node.cri.pull(reference).await.err();
    let refused = refused.context("nobody has it")?;
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(
        refused.message().contains(&nobody.to_string()),
        "{refused:?}"
    );
    node.finish().await
}

#[tokio::test]
async fn a_mirror_that_breaks_off_is_followed_by_the_next_where_it_stopped() -> Result<()> {
    let described = Described::new()?;
    let node = Node::start_with(described.options()).await?;
    let image = Image::busybox_with(
        vec![harness::image::big_layer(1, 4 << 20)?],
        &harness::image::default_config(),
    )?;
    node.registry.push("test/large:1", &image)?;
    let (mirror, registry) = (Proxy::start(&node.registry)?, Proxy::start(&node.registry)?);
    described.write(
        "registry.test",
        &format!(
            "server = \"http://{}\"\n[host.\"http://{}\"]\ncapabilities = [\"pull\"]\n",
            registry.address(),
            mirror.address()
        ),
    )?;
    mirror.break_with(|seen| seen.is_blob().then_some(Fault::CutAfter(100_000)));
    assert_eq!(node.cri.pull("registry.test/test/large:1").await?, image.id);
    let resolved = registry.take_seen();
    assert!(
        resolved.iter().any(|one| one.method == "HEAD"),
        "tags are not the mirror's"
    );
    assert!(
        resolved
            .iter()
            .any(|one| one.is_blob() && one.header("range").is_some()),
        "{resolved:#?}"
    );
    let asked = mirror.take_seen();
    assert!(asked.iter().all(|one| one.method != "HEAD"), "{asked:#?}");
    node.finish().await
}

#[tokio::test]
async fn certificates_are_trusted_and_shown_as_the_file_says_and_read_anew() -> Result<()> {
    let described = Described::new()?;
    let node = Node::start_with(described.options()).await?;
    let image = Image::busybox()?;
    node.registry.push("test/other:1", &image)?;
    let tls = node.registry.start_mutual_tls()?;
    let name = elsewhere(tls.address());
    let reference = format!("{name}/test/other:1");
    let pulled = || async {
        let pulled = node.cri.pull(&reference).await;
        if pulled.is_ok() {
            node.cri.remove_image(&reference).await?;
        }
        pulled
    };
    let file = |name: &str| tls.directory().join(name).display().to_string();
    let (ca, cert, key) = (file("ca.pem"), file("client.pem"), file("client.key"));
    let unknown = pulled().await.err().context("nobody vouches for it")?;
    assert!(unknown.message().contains("certificate"), "{unknown:?}");
    described.write(&name, &format!("ca = {ca:?}\n"))?;
    let unproven = pulled().await.err().context("no certificate is shown")?;
    assert_eq!(unproven.code(), Code::Unavailable, "{unproven:?}");
    let client = format!("client = [[{cert:?}, {key:?}]]\n");
    for text in [
        format!("ca = {ca:?}\n{client}"),
        format!("skip_verify = true\n{client}"),
        format!("server = \"https://{name}\"\nca = [{ca:?}]\n{client}"),
    ] {
        described.write(&name, &text)?;
        assert_eq!(pulled().await?, image.id, "{text}");
    }
    // In docker's way: without a file, by names.
    let folder = described.0.path().join(&name);
    std::fs::remove_file(folder.join("hosts.toml"))?;
    for (from, to) in [(ca, "ca.crt"), (cert, "client.cert"), (key, "client.key")] {
        std::fs::copy(from, folder.join(to))?;
    }
    assert_eq!(pulled().await?, image.id);
    // What cannot be used is told.
    for (text, word) in [
        ("ca = \"/nonexistent/ca.pem\"", "/nonexistent/ca.pem"),
        ("serve = \"https://x\"", "serve"),
        ("server = \"ftp://x\"", "ftp://x"),
        ("[[[", "hosts.toml"),
    ] {
        described.write(&name, text)?;
        let refused = pulled().await.err().context("not usable")?;
        assert!(refused.message().contains(word), "{refused:?}");
    }
    node.finish().await
}

#[tokio::test]
async fn paths_and_headers_are_those_of_the_file() -> Result<()> {
    let described = Described::new()?;
    let node = Node::start_with(described.options()).await?;
    let image = Image::busybox()?;
    node.registry.push("cache/test/other:1", &image)?;
    let mirror = Proxy::start(&node.registry)?;
    described.write(
        "_default",
        &format!(
            "[host.\"http://{}/v2/cache\"]\noverride_path = true\n\
             [host.\"http://{}/v2/cache\".header]\nx-token = \"abc\"\n",
            mirror.address(),
            mirror.address()
        ),
    )?;
    assert_eq!(node.cri.pull("registry.test/test/other:1").await?, image.id);
    let seen = mirror.take_seen();
    assert!(
        seen.iter()
            .all(|one| one.target.starts_with("/v2/cache/test/other/")
                && one.header("x-token") == Some("abc")),
        "{seen:#?}"
    );
    node.finish().await
}

#[tokio::test]
async fn the_nodes_own_credentials_are_shown_where_a_caller_brings_none() -> Result<()> {
    let described = Described::new()?;
    let node = Node::start_with(described.options()).await?;
    let private = Registry::start_private()?;
    let image = Image::busybox()?;
    let reference = private.push("secret/busybox:1", &image)?;
    let code = |pulled: Result<String, tonic::Status>| pulled.err().map(|status| status.code());
    assert_eq!(
        code(node.cri.pull(&reference).await),
        Some(Code::PermissionDenied)
    );
    let host = private.address();
    let auths = |place: &str| format!("{{\"auths\":{{\"{place}\":{{\"auth\":\"{ENCODED}\"}}}}}}");
    described.credentials(&auths(&format!("{host}/other")))?;
    assert_eq!(
        code(node.cri.pull(&reference).await),
        Some(Code::PermissionDenied)
    );
    for place in [
        format!("{host}"),
        format!("http://{host}/v1/"),
        format!("{host}/secret"),
    ] {
        described.credentials(&auths(&place))?;
        assert_eq!(node.cri.pull(&reference).await?, image.id, "{place}");
        node.cri.remove_image(&reference).await?;
    }
    // A mirror's own, though the caller has none for the registry.
    described.credentials(&auths(&host.to_string()))?;
    described.write("registry.test", &format!("[host.\"http://{host}\"]\n"))?;
    let mirrored = "registry.test/secret/busybox:1";
    assert_eq!(node.cri.pull(mirrored).await?, image.id);
    described.credentials("no JSON, hunter2")?;
    let refused = node.cri.pull(&reference).await.err().context("no file")?;
    assert!(
        refused.message().contains("config.json") && !refused.message().contains("hunter2"),
        "{refused:?}"
    );
    node.finish().await
}

#[tokio::test]
async fn credentials_for_another_server_are_not_shown() -> Result<()> {
    let node = Node::start().await?;
    let private = Registry::start_private()?;
    let reference = private.push("secret/busybox:1", &Image::busybox()?)?;
    let pull = |server: String| {
        let (mut service, reference) = (node.cri.image.clone(), reference.clone());
        async move {
            let request = proto::cri::PullImageRequest {
                image: Some(harness::cri::image_spec(&reference)),
                auth: Some(proto::cri::AuthConfig {
                    auth: ENCODED.to_owned(),
                    server_address: server,
                    ..proto::cri::AuthConfig::default()
                }),
                ..proto::cri::PullImageRequest::default()
            };
            service.pull_image(request).await
        }
    };
    let refused = pull("https://elsewhere.example".to_owned()).await.err();
    assert_eq!(
        refused.map(|status| status.code()),
        Some(Code::PermissionDenied)
    );
    pull(format!("http://{}/v2/", private.address())).await?;
    node.finish().await
}

/// Says whether a process has a file below a directory open.
fn is_written(pid: u32, directory: &Path) -> Result<bool> {
    let open = std::fs::read_dir(format!("/proc/{pid}/fd"))?;
    let mut targets = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    Ok(targets.any(|target| target.starts_with(directory)))
}

#[tokio::test]
async fn a_pull_without_progress_ends_and_one_that_nobody_waits_for_too() -> Result<()> {
    let described = Described::new()?;
    let options = described
        .options()
        .with("images", "pull_progress_timeout_seconds = 1");
    let node = Node::start_with(options).await?;
    let image = Image::busybox_with(
        vec![harness::image::big_layer(1, 4 << 20)?],
        &harness::image::default_config(),
    )?;
    node.registry.push("test/large:1", &image)?;
    let proxy = Proxy::start(&node.registry)?;
    let reference = proxy.reference("test/large:1");
    let layer = image.blobs[1].digest.clone();
    let slow = |pieces: usize, pause: Duration| {
        let layer = layer.clone();
        move |seen: &Seen| {
            let is_layer = seen.is_blob() && seen.target.contains(&layer);
            is_layer.then_some(Fault::Slow(pieces, pause))
        }
    };
    proxy.break_with(slow(64 << 10, Duration::from_secs(3600)));
    let refused = node.cri.pull(&reference).await.err().context("it stalls")?;
    assert_eq!(refused.code(), Code::DeadlineExceeded, "{refused:?}");
    assert!(
        refused.message().contains("stopped answering"),
        "{refused:?}"
    );
    // One that gets on, slowly, goes on for as long as somebody waits.
    proxy.break_with(slow(1 << 10, Duration::from_millis(100)));
    let _ = proxy.take_seen();
    let mut calls = Vec::new();
    for _ in 0..2 {
        let (cri, reference) = (node.cri.clone(), reference.clone());
        calls.push(tokio::spawn(async move { cri.pull(&reference).await }));
    }
    wait::until_async("a layer is asked for", || async {
        Ok(proxy
            .take_seen()
            .iter()
            .any(|seen| seen.is_blob() && seen.target.contains(&layer))
            .then_some(()))
    })
    .await?;
    for call in &calls {
        call.abort();
    }
    let ingest = node.agent.root().join("content/ingest");
    wait::until_async("the download is given up", || async {
        Ok((!is_written(node.agent.pid(), &ingest)?).then_some(()))
    })
    .await?;
    assert!(
        !crate::files(&ingest)?.is_empty(),
        "what has come is kept for the next pull"
    );
    proxy.mend();
    assert_eq!(node.cri.pull(&reference).await?, image.id);
    node.finish().await
}
