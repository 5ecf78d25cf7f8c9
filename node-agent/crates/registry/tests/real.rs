//! The client against a real registry.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that fails should stop"
)]

mod support;

use agent_registry::document::{Document, MediaType};
use agent_registry::{Auth, Client, Config, ManifestError, Repository, RequestError};
use agent_types::{Classify, Digest, ErrorKind, Reference};
use sha2::{Digest as _, Sha256};
use support::real::Registry;

fn digest(bytes: &[u8]) -> Digest {
    Digest::sha256(&Sha256::digest(bytes).into())
}

/// Looks a reference up, as anybody.
async fn at(client: &Client, reference: &Reference) -> Repository {
    let found = client.repository(reference, &Auth::Anonymous).await;
    found.unwrap()
}

fn client() -> Client {
    Client::new(Config::default()).unwrap()
}

/// Pushes an image whose one layer is `layer`, and returns its manifest's digest.
fn push(registry: &Registry, layer: &[u8]) -> Digest {
    let config = br#"{"os":"linux"}"#;
    registry.push_blob("team/app", digest(config).as_str(), config);
    registry.push_blob("team/app", digest(layer).as_str(), layer);
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{}","size":{}}}]}}"#,
        digest(config),
        config.len(),
        digest(layer),
        layer.len(),
        kind = MediaType::OciManifest.name(),
    );
    registry.push_manifest(
        "team/app",
        "v1",
        MediaType::OciManifest.name(),
        manifest.as_bytes(),
    );
    digest(manifest.as_bytes())
}

#[tokio::test]
async fn a_pushed_image_is_resolved_and_fetched() {
    let registry = Registry::start();
    let layer: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    let manifest_digest = push(&registry, &layer);
    let client = client();
    let reference: Reference = format!("{}/team/app:v1", registry.address).parse().unwrap();

    let resolved = at(&client, &reference).await.resolve().await.unwrap();
    assert_eq!(resolved.digest.as_ref(), Some(&manifest_digest));
    let pinned = reference.with_digest(manifest_digest.clone());
    for reference in [&reference, &pinned] {
        let repository = at(&client, reference).await;
        let fetched = repository.manifest(None).await.unwrap();
        assert_eq!(fetched.digest, manifest_digest);
        assert_eq!(fetched.media_type, MediaType::OciManifest);
        let Document::Manifest(manifest) = fetched.document else {
            panic!("{:?}", fetched.document)
        };
        assert_eq!(manifest.layers[0].digest, digest(&layer));
    }
    for offset in [0_usize, 1, 2_999_999, 3_000_000] {
        let repository = at(&client, &reference).await;
        let size = Some(layer.len() as u64);
        let mut stream = repository.blob(&digest(&layer), size, offset as u64);
        let mut received = Vec::new();
        while let Some(chunk) = stream.next().await.unwrap() {
            received.extend_from_slice(&chunk);
        }
        assert_eq!(received, &layer[offset..]);
        assert_eq!(stream.offset(), 3_000_000);
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let registry = Registry::start();
    push(&registry, b"layer");
    let client = client();
    let missing: Reference = format!("{}/team/app:v2", registry.address).parse().unwrap();
    let error = at(&client, &missing)
        .await
        .manifest(None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("team/app:v2"), "{error}");

    let absent = digest(b"never pushed");
    let repository = at(&client, &missing).await;
    let mut stream = repository.blob(&absent, None, 0);
    match stream.next().await {
        Err(RequestError::NotFound { what }) => assert!(what.contains(absent.as_str()), "{what}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_registry_that_is_not_there_is_unavailable() {
    let address = {
        let registry = Registry::start();
        registry.address.clone()
    };
    let client = Client::new(Config {
        retries: agent_registry::Retries {
            first_wait: std::time::Duration::from_millis(1),
            ..Default::default()
        },
        ..Config::default()
    })
    .unwrap();
    let reference: Reference = format!("{address}/x").parse().unwrap();
    let error = at(&client, &reference).await.resolve().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    match error {
        ManifestError::Request { source, .. } => assert!(source.to_string().contains(&address)),
        other => panic!("{other}"),
    }
}
