use super::*;
use proptest::prelude::*;

fn full(text: &str) -> String {
    match text.parse::<Reference>() {
        Ok(reference) => reference.to_string(),
        Err(error) => panic!("{text}: {error}"),
    }
}

#[test]
fn docker_defaults_are_filled_in() {
    let digest = format!("sha256:{}", "a".repeat(64));
    for (typed, meant) in [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3.20", "docker.io/library/alpine:3.20"),
        ("grafana/grafana", "docker.io/grafana/grafana:latest"),
        ("docker.io/alpine", "docker.io/library/alpine:latest"),
        ("index.docker.io/alpine", "docker.io/library/alpine:latest"),
        ("localhost/a", "localhost/a:latest"),
        ("localhost:5000/a:b", "localhost:5000/a:b"),
        ("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest"),
        ("[::1]:5000/a", "[::1]:5000/a:latest"),
        ("[fe80::1]/a/b", "[fe80::1]/a/b:latest"),
        ("Registry/a", "Registry/a:latest"),
        ("ghcr.io/a/b/c__d--e.f:V_1", "ghcr.io/a/b/c__d--e.f:V_1"),
    ] {
        assert_eq!(full(typed), meant);
    }
    assert_eq!(
        full(&format!("alpine@{digest}")),
        format!("docker.io/library/alpine@{digest}")
    );
    assert_eq!(
        full(&format!("alpine:3@{digest}")),
        format!("docker.io/library/alpine:3@{digest}")
    );
}

#[test]
fn the_digest_wins_over_the_tag_when_asking() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let both: Reference = format!("alpine:3@{digest}").parse().unwrap();
    assert_eq!(both.manifest_name(), digest);
    assert_eq!(both.tagged().unwrap().to_string(), full("alpine:3"));
    assert_eq!(
        "alpine".parse::<Reference>().unwrap().manifest_name(),
        "latest"
    );
}

#[test]
fn familiar_is_what_people_type() {
    for (typed, familiar) in [
        ("docker.io/library/alpine:3", "alpine:3"),
        ("docker.io/a/b", "a/b:latest"),
        ("ghcr.io/a", "ghcr.io/a:latest"),
        ("docker.io/library/a/b", "library/a/b:latest"),
        ("docker.io/a.b/c", "docker.io/a.b/c:latest"),
        ("docker.io/localhost/c", "docker.io/localhost/c:latest"),
    ] {
        assert_eq!(typed.parse::<Reference>().unwrap().familiar(), familiar);
    }
}

#[test]
fn what_is_wrong_is_named() {
    let refused = |text: &str| text.parse::<Reference>().unwrap_err();
    assert_eq!(refused(""), ReferenceError::Empty);
    assert!(matches!(refused("a/B"), ReferenceError::Uppercase { .. }));
    assert!(refused("Alpine").to_string().contains("must be lower case"));
    assert!(matches!(
        refused(&"a".repeat(64)),
        ReferenceError::LooksLikeId { .. }
    ));
    assert!(matches!(
        refused(&format!("x.io/{}", "a".repeat(256))),
        ReferenceError::RepositoryTooLong { length: 256 }
    ));
    assert!(matches!(
        refused(&"a".repeat(2000)),
        ReferenceError::TooLong { .. }
    ));
    assert!(matches!(
        refused("alpine@sha256:../../etc"),
        ReferenceError::Digest { .. }
    ));
    for bad in [
        "a:",
        "a:-b",
        &format!("a:{}", "t".repeat(129)),
        "a:b:c",
        "a:é",
    ] {
        assert!(matches!(refused(bad), ReferenceError::Tag { .. }), "{bad}");
    }
    for bad in [
        "a//b", "/a", "a/", "a/../b", "a/.b", "a___b", "a._b", "é", "a b", "a\n",
    ] {
        assert!(
            matches!(refused(bad), ReferenceError::Repository { .. }),
            "{bad:?}"
        );
    }
    for bad in [
        "-a.io/b",
        "a..io/b",
        "[::1/b",
        "[::g]/b",
        "[::1]x/b",
        "a.io:/b",
        "a.io:0/b",
        "a.io:65536/b",
        "a:1:2/b",
        "u@a.io/b",
    ] {
        assert!(bad.parse::<Reference>().is_err(), "{bad}");
    }
}

#[test]
fn tags_are_set_only_if_they_are_tags() {
    let reference: Reference = "alpine".parse().unwrap();
    assert_eq!(reference.with_tag("x").unwrap().familiar(), "alpine:x");
    assert!(reference.with_tag("../x").is_err());
}

proptest! {
    #[test]
    fn canonical_and_familiar_text_round_trip(
        host in proptest::option::of("(localhost|[a-z]{1,5}\\.[a-z]{2,3}|10\\.0\\.0\\.1|\\[::1\\])(:[1-9][0-9]{0,3})?"),
        path in "[a-z0-9]{1,8}((_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,8}(\\.[a-z]{1,2})?){0,2}",
        tag in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
        pinned in proptest::option::of(any::<[u8; 32]>()),
    ) {
        let mut text = host.map_or(String::new(), |host| host + "/");
        text.push_str(&path);
        if let Some(tag) = tag { text.push(':'); text.push_str(&tag); }
        if let Some(bytes) = pinned { text.push('@'); text.push_str(Digest::sha256(&bytes).as_str()); }
        let reference: Reference = text.parse().unwrap();
        prop_assert_eq!(&reference.to_string().parse::<Reference>().unwrap(), &reference);
        prop_assert_eq!(&reference.familiar().parse::<Reference>().unwrap(), &reference);
        let stored = serde_json::to_string(&reference).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Reference>(&stored).unwrap(), &reference);
    }

    #[test]
    fn any_text_either_parses_to_a_safe_url_path_or_is_refused(text in "\\PC{0,60}") {
        if let Ok(reference) = text.parse::<Reference>() {
            let safe = |b: u8| b.is_ascii_alphanumeric() || b"._-/".contains(&b);
            prop_assert!(reference.repository().bytes().all(safe));
            prop_assert!(!reference.repository().contains(".."));
            prop_assert!(!reference.repository().contains("//"));
            prop_assert_eq!(&reference.to_string().parse::<Reference>().unwrap(), &reference);
        }
    }
}
