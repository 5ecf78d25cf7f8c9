//! The client against servers that fail, lie and redirect.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that fails should stop"
)]

mod support;

use std::time::Duration;

use agent_registry::document::MediaType;
use agent_registry::{
    Auth, Client, Config, FetchedManifest, ManifestError, Proxies, Repository, RequestError,
    Retries, Secret, Timeouts,
};
use agent_types::{Classify, Digest, ErrorKind, Reference};
use sha2::{Digest as _, Sha256};
use support::scripted::{Reply, Request, Scripted, ranged};

const ANYONE: &Auth = &Auth::Anonymous;

fn digest(bytes: &[u8]) -> Digest {
    Digest::sha256(&Sha256::digest(bytes).into())
}

fn impatient() -> Client {
    Client::new(Config {
        retries: Retries {
            first_wait: Duration::from_millis(1),
            ..Retries::default()
        },
        timeouts: Timeouts {
            progress: Duration::from_secs(5),
            ..Timeouts::default()
        },
        ..Config::default()
    })
    .unwrap()
}

fn reference(server: &Scripted) -> Reference {
    format!("{}/team/app:v1", server.address).parse().unwrap()
}

async fn at(client: &Client, reference: &Reference, auth: &Auth) -> Repository {
    client.repository(reference, auth).await.unwrap()
}

async fn fetched(
    client: &Client,
    reference: &Reference,
    auth: &Auth,
) -> Result<FetchedManifest, ManifestError> {
    at(client, reference, auth).await.manifest(None).await
}

fn blob() -> Vec<u8> {
    (0..20_000_u32)
        .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1])
        .collect()
}

async fn read(client: &Client, server: &Scripted, offset: usize) -> Result<Vec<u8>, RequestError> {
    let repository = at(client, &reference(server), ANYONE).await;
    let size = Some(blob().len() as u64);
    let mut stream = repository.blob(&digest(&blob()), size, offset as u64);
    let mut received = Vec::new();
    while let Some(chunk) = stream.next().await? {
        received.extend_from_slice(&chunk);
    }
    Ok(received)
}

fn manifest() -> String {
    let descriptor = |kind: &str| {
        format!(
            r#"{{"mediaType":"{kind}","digest":"{}","size":1}}"#,
            digest(b"x")
        )
    };
    format!(
        r#"{{"schemaVersion":2,"config":{},"layers":[]}}"#,
        descriptor("application/vnd.oci.image.config.v1+json")
    )
}

fn manifest_reply() -> Reply {
    Reply::new(200)
        .header("Content-Type", MediaType::OciManifest.name())
        .header(
            "Docker-Content-Digest",
            digest(manifest().as_bytes()).to_string(),
        )
        .body(manifest())
}

#[tokio::test]
async fn a_blob_cut_anywhere_is_continued_by_range() {
    for cut in [0, 1, 999, 10_000, 19_999] {
        let server = Scripted::start(move |request, before| {
            let reply = ranged(request, &blob());
            if before == 0 {
                reply.cut_after(cut)
            } else {
                reply
            }
        })
        .await;
        assert_eq!(read(&impatient(), &server, 0).await.unwrap(), blob());
        let asked: Vec<_> = server.requests().iter().map(Request::range_start).collect();
        assert_eq!(asked.len(), 2, "{cut}: {asked:?}");
        assert_eq!(asked[1].unwrap_or(0), cut);
    }
}

#[tokio::test]
async fn a_server_without_ranges_is_read_from_the_start_again() {
    let server = Scripted::start(|_, before| {
        let reply = Reply::new(200).body(blob());
        if before == 0 {
            reply.cut_after(7_000)
        } else {
            reply
        }
    })
    .await;
    assert_eq!(read(&impatient(), &server, 0).await.unwrap(), blob());
    assert_eq!(
        read(&impatient(), &server, 12_345).await.unwrap(),
        &blob()[12_345..]
    );
    let refusing = Scripted::start(|request, _| match request.range_start() {
        Some(_) => Reply::new(416),
        None => Reply::new(200).body(blob()),
    })
    .await;
    assert_eq!(
        read(&impatient(), &refusing, 5).await.unwrap(),
        &blob()[5..]
    );
}

#[tokio::test]
async fn a_blob_without_an_announced_length_may_not_be_longer_or_shorter() {
    let good = Scripted::start(|_, _| Reply::new(200).body(blob()).chunked()).await;
    assert_eq!(read(&impatient(), &good, 0).await.unwrap(), blob());
    let long = Scripted::start(|_, _| {
        let mut body = blob();
        body.push(0);
        Reply::new(200).body(body).chunked()
    })
    .await;
    assert!(matches!(
        read(&impatient(), &long, 0).await,
        Err(RequestError::TooLarge { cap: 20_000, .. })
    ));
    let short = Scripted::start(|_, _| Reply::new(200).body(&blob()[..5]).chunked()).await;
    let error = read(&impatient(), &short, 0).await.unwrap_err();
    assert!(matches!(error, RequestError::Broken { .. }), "{error}");
    let other_size = Scripted::start(|_, _| Reply::new(200).body(&blob()[..5])).await;
    assert!(matches!(
        read(&impatient(), &other_size, 0).await,
        Err(RequestError::Size {
            expected: 20_000,
            actual: 5,
            ..
        })
    ));
}

#[tokio::test]
async fn busy_servers_are_asked_again_and_not_for_ever() {
    for status in [429, 500, 503] {
        let server = Scripted::start(move |_, before| match before {
            0 | 1 => Reply::new(status).header("Retry-After", "0"),
            _ => manifest_reply(),
        })
        .await;
        let client = impatient();
        fetched(&client, &reference(&server), ANYONE).await.unwrap();
        assert_eq!(server.requests().len(), 3);
    }
    let down = Scripted::start(|_, _| Reply::new(503)).await;
    let error = fetched(&impatient(), &reference(&down), ANYONE)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(down.requests().len(), 5);
    let patient = Scripted::start(|_, _| Reply::new(429).header("Retry-After", "86400")).await;
    let error = fetched(&impatient(), &reference(&patient), ANYONE)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(patient.requests().len(), 1, "a day is not waited for");
}

#[tokio::test]
async fn a_server_that_stops_sending_is_left() {
    let server = Scripted::start(|_, _| {
        // Announces more than it sends and keeps the connection open.
        Reply::new(200)
            .header("Content-Length", "20000")
            .body(&blob()[..10])
    })
    .await;
    let client = Client::new(Config {
        retries: Retries {
            attempts: 2,
            first_wait: Duration::from_millis(1),
            ..Retries::default()
        },
        timeouts: Timeouts {
            progress: Duration::from_millis(200),
            ..Timeouts::default()
        },
        ..Config::default()
    })
    .unwrap();
    let error = read(&client, &server, 0).await.unwrap_err();
    assert!(matches!(error, RequestError::TimedOut { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
}

fn token_script(request: &Request) -> Reply {
    let host = request.header("host").unwrap().to_owned();
    if request.path.starts_with("/token") {
        return Reply::new(200).body(r#"{"token":"t0k3n","expires_in":300}"#);
    }
    if request.header("authorization") == Some("Bearer t0k3n") {
        return match request.path.contains("/blobs/") {
            true => ranged(request, &blob()),
            false => manifest_reply(),
        };
    }
    let challenge = format!(
        r#"Bearer realm="http://{host}/token",service="reg",scope="repository:team/app:pull""#
    );
    Reply::new(401).header("WWW-Authenticate", challenge)
}

#[tokio::test]
async fn a_token_is_fetched_once_and_used_again() {
    let server = Scripted::start(|request, _| token_script(request)).await;
    let client = impatient();
    let auth = Auth::Basic {
        username: "ada".into(),
        password: Secret::new("hunter2"),
    };
    at(&client, &reference(&server), &auth)
        .await
        .resolve()
        .await
        .unwrap();
    fetched(&client, &reference(&server), &auth).await.unwrap();
    let repository = at(&client, &reference(&server), &auth).await;
    let mut stream = repository.blob(&digest(&blob()), Some(20_000), 0);
    while stream.next().await.unwrap().is_some() {}
    let requests = server.requests();
    let paths: Vec<_> = requests
        .iter()
        .map(|request| request.path.as_str())
        .collect();
    assert_eq!(paths.len(), 5, "{paths:?}");
    assert_eq!(
        paths[1],
        "/token?service=reg&scope=repository%3Ateam%2Fapp%3Apull&account=ada"
    );
    assert_eq!(
        requests[1].header("authorization"),
        Some("Basic YWRhOmh1bnRlcjI=")
    );
    assert_eq!(
        requests[0].header("authorization"),
        None,
        "nothing before it is asked for"
    );
}

#[tokio::test]
async fn identity_tokens_are_exchanged_and_registry_tokens_sent_as_they_are() {
    let server = Scripted::start(|request, _| token_script(request)).await;
    let client = impatient();
    let identity = Auth::IdentityToken(Secret::new("refresh me"));
    fetched(&client, &reference(&server), &identity)
        .await
        .unwrap();
    let exchange = server.requests()[1].clone();
    assert_eq!(exchange.method, "POST");
    assert!(
        exchange.body.contains("refresh_token=refresh+me"),
        "{}",
        exchange.body
    );
    assert!(
        !exchange.path.contains("refresh"),
        "not in an address that logs keep"
    );

    let before = server.requests().len();
    let registry = Auth::RegistryToken(Secret::new("t0k3n"));
    fetched(&client, &reference(&server), &registry)
        .await
        .unwrap();
    assert_eq!(server.requests().len(), before + 1);
}

#[tokio::test]
async fn refused_credentials_are_permission_denied_and_name_the_repository() {
    let basic =
        Scripted::start(|_, _| Reply::new(401).header("WWW-Authenticate", "Basic realm=x")).await;
    let token = Scripted::start(|request, _| match request.path.starts_with("/token") {
        true => Reply::new(401),
        false => token_script(request),
    })
    .await;
    let forbidden = Scripted::start(|_, _| Reply::new(403)).await;
    let auth = Auth::Basic {
        username: "ada".into(),
        password: Secret::new("hunter2"),
    };
    for server in [&basic, &token, &forbidden] {
        for auth in [ANYONE, &auth, &Auth::RegistryToken(Secret::new("old"))] {
            let error = fetched(&impatient(), &reference(server), auth)
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
            let ManifestError::Request { source, .. } = &error else {
                panic!("{error}")
            };
            assert!(source.to_string().contains("team/app"), "{source}");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }
}

#[tokio::test]
async fn basic_credentials_are_sent_once_asked_for() {
    let server = Scripted::start(|request, _| match request.header("authorization") {
        Some("Basic YWRhOmh1bnRlcjI=") => manifest_reply(),
        _ => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"r\""),
    })
    .await;
    let auth = Auth::Basic {
        username: "ada".into(),
        password: Secret::new("hunter2"),
    };
    let client = impatient();
    fetched(&client, &reference(&server), &auth).await.unwrap();
    fetched(&client, &reference(&server), &auth).await.unwrap();
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn redirects_to_another_host_carry_no_credentials() {
    let storage = Scripted::start(|request, _| ranged(request, &blob())).await;
    let target = format!("http://{}/signed?key=1", storage.address);
    let server = Scripted::start(move |request, _| match request.header("authorization") {
        Some(_) => Reply::new(307).header("Location", target.clone()),
        None => token_script(request),
    })
    .await;
    let client = impatient();
    let repository = at(&client, &reference(&server), ANYONE).await;
    let mut stream = repository.blob(&digest(&blob()), Some(20_000), 11);
    let mut received = Vec::new();
    while let Some(chunk) = stream.next().await.unwrap() {
        received.extend_from_slice(&chunk);
    }
    assert_eq!(received, &blob()[11..]);
    let there = storage.requests();
    assert_eq!(there.len(), 1);
    assert_eq!(there[0].path, "/signed?key=1");
    assert_eq!(there[0].header("authorization"), None);
    assert_eq!(there[0].range_start(), Some(11), "the range goes along");
}

#[tokio::test]
async fn redirects_to_plain_http_elsewhere_and_loops_are_refused() {
    for location in [
        "http://registry.example.com/x",
        "ftp://127.0.0.1/x",
        "/v2/team/app/again",
    ] {
        let server =
            Scripted::start(move |_, _| Reply::new(302).header("Location", location)).await;
        let error = read(&impatient(), &server, 0).await.unwrap_err();
        assert!(matches!(error, RequestError::Redirect { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    }
}

#[tokio::test]
async fn a_manifest_that_is_not_what_it_was_announced_to_be_is_refused() {
    let other = digest(b"something else");
    let announced = other.to_string();
    let server = Scripted::start(move |_, _| {
        let mut reply = manifest_reply();
        reply.headers[1].1 = announced.clone();
        reply
    })
    .await;
    let client = impatient();
    for reference in [reference(&server), reference(&server).with_digest(other)] {
        let error = fetched(&client, &reference, ANYONE).await.unwrap_err();
        assert!(matches!(error, ManifestError::Digest { .. }), "{error}");
    }
    let pinned = reference(&server).with_digest(digest(b"asked for"));
    let error = at(&client, &pinned, ANYONE)
        .await
        .resolve()
        .await
        .unwrap_err();
    assert!(matches!(error, ManifestError::Digest { .. }), "{error}");
}

#[tokio::test]
async fn hostile_15_and_16_ambiguous_and_oversized_manifests_are_refused() {
    let both = manifest().replacen('{', r#"{"manifests":[],"#, 1);
    let server = Scripted::start(move |request, _| {
        let reply = Reply::new(200).header("Content-Type", MediaType::OciIndex.name());
        match request.path.ends_with("big") {
            true => reply.body(vec![b' '; (4 << 20) + 1]),
            false => reply.body(both.clone()),
        }
    })
    .await;
    let client = impatient();
    let error = fetched(&client, &reference(&server), ANYONE)
        .await
        .unwrap_err();
    assert!(matches!(error, ManifestError::Document { .. }), "{error}");
    let big = reference(&server).with_tag("big").unwrap();
    let error = fetched(&client, &big, ANYONE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}");
}

#[tokio::test]
async fn a_server_that_only_knows_get_is_asked_with_get() {
    let server = Scripted::start(|request, _| match request.method.as_str() {
        "HEAD" => Reply::new(405),
        _ => manifest_reply(),
    })
    .await;
    let client = impatient();
    let resolved = at(&client, &reference(&server), ANYONE)
        .await
        .resolve()
        .await
        .unwrap();
    assert_eq!(resolved.digest, None);
    fetched(&client, &reference(&server), ANYONE).await.unwrap();
}

#[tokio::test]
async fn proxies_serve_all_but_loopback_and_the_hosts_that_are_named() {
    let registry = Scripted::start(|_, _| manifest_reply()).await;
    let proxy = Scripted::start(|_, _| manifest_reply()).await;
    let proxied = |none: Option<&str>| {
        Client::new(Config {
            plain_http: vec!["255.255.255.255".parse().unwrap()],
            proxies: Proxies {
                http: Some(format!("http://{}", proxy.address)),
                https: None,
                none: none.map(str::to_owned),
            },
            retries: Retries {
                connect_attempts: 1,
                ..Retries::default()
            },
            ..Config::default()
        })
        .unwrap()
    };
    let remote: Reference = "255.255.255.255:5000/team/app:v1".parse().unwrap();
    fetched(&proxied(None), &remote, ANYONE).await.unwrap();
    let asked = proxy.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        asked[0].path,
        "http://255.255.255.255:5000/v2/team/app/manifests/v1"
    );
    fetched(&proxied(None), &reference(&registry), ANYONE)
        .await
        .unwrap();
    assert_eq!((proxy.requests().len(), registry.requests().len()), (1, 1));
    let direct = at(&proxied(Some("255.255.255.0/24")), &remote, ANYONE)
        .await
        .manifest(None)
        .await;
    assert_eq!(
        direct.unwrap_err().kind(),
        ErrorKind::Unavailable,
        "nobody can be at that address"
    );
    assert_eq!(proxy.requests().len(), 1);
}
