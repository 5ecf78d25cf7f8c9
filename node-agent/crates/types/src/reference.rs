//! Image references as people type them, parsed by docker's rules.
//!
//! `alpine` means `docker.io/library/alpine:latest`; the first component is a
//! registry host only if it looks like one (a dot, a colon, an upper-case letter, or
//! `localhost`). A reference never holds a string that a path or URL could be led astray by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Classify, ErrorKind};
use crate::{Digest, DigestError};

/// Registry that a name without a host means.
pub const DEFAULT_REGISTRY: &str = "docker.io";
/// Older name of [`DEFAULT_REGISTRY`], still typed and still in old configurations.
const LEGACY_REGISTRY: &str = "index.docker.io";
/// Folder of the default registry that a bare name means.
const OFFICIAL_FOLDER: &str = "library";
/// Tag meant when neither a tag nor a digest is given.
pub const DEFAULT_TAG: &str = "latest";
/// Longest repository path, in bytes.
pub const MAX_REPOSITORY_LENGTH: usize = 255;
/// Longest tag, in bytes.
pub const MAX_TAG_LENGTH: usize = 128;
/// Longest registry host with its port, in bytes: a DNS name and `:65535`.
pub const MAX_REGISTRY_LENGTH: usize = 259;

/// Why a string is not an image reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing was given.
    #[error("image reference is empty")]
    Empty,
    /// Longer than any legal reference.
    #[error("image reference has {length} bytes, more than a reference can have")]
    TooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The repository path has an upper-case letter.
    #[error("invalid image reference {value:?}: repository name must be lower case")]
    Uppercase {
        /// The refused text.
        value: String,
    },
    /// The registry host is neither a name nor an address.
    #[error("invalid image reference {value:?}: registry host is not valid")]
    Registry {
        /// The refused text.
        value: String,
    },
    /// The repository path breaks the grammar.
    #[error(
        "invalid image reference {value:?}: repository name must be lower-case letters, digits and single separators"
    )]
    Repository {
        /// The refused text.
        value: String,
    },
    /// The repository path is longer than [`MAX_REPOSITORY_LENGTH`].
    #[error(
        "repository name of the image reference has {length} bytes, more than {MAX_REPOSITORY_LENGTH}"
    )]
    RepositoryTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// 64 hex digits, which could not be told from an image id.
    #[error("invalid image reference {value:?}: a repository name cannot be 64 hexadecimal digits")]
    LooksLikeId {
        /// The refused text.
        value: String,
    },
    /// The tag breaks the grammar.
    #[error("invalid image reference {value:?}: tag is not valid")]
    Tag {
        /// The refused text.
        value: String,
    },
    /// What follows `@` is no digest.
    #[error("invalid image reference {value:?}")]
    Digest {
        /// The refused text.
        value: String,
        /// What is wrong with the digest.
        source: DigestError,
    },
}

impl Classify for ReferenceError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Names an image in a registry: `host/repository[:tag][@digest]`, with a tag or a digest or both.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: Box<str>,
    repository: Box<str>,
    tag: Option<Box<str>>,
    digest: Option<Digest>,
}

impl Reference {
    /// Returns the registry host with its port if it has one, `docker.io` by default.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Returns the path of the repository in its registry, such as `library/alpine`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Returns the tag; there is one whenever there is no digest.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// Returns the digest of the manifest, if the reference is pinned to one.
    #[must_use]
    pub const fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns what a registry is asked for: the digest if there is one, else the tag.
    #[must_use]
    pub fn manifest_name(&self) -> &str {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.as_str(),
            (None, Some(tag)) => tag,
            (None, None) => DEFAULT_TAG,
        }
    }

    /// Returns the registry and repository in full, such as `docker.io/library/alpine`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// Returns the registry and repository as people write them, such as `alpine`.
    #[must_use]
    pub fn familiar_name(&self) -> String {
        if &*self.registry != DEFAULT_REGISTRY {
            return self.name();
        }
        let short = match self.repository.split_once('/') {
            Some((OFFICIAL_FOLDER, rest)) if !rest.contains('/') => rest,
            _ => &*self.repository,
        };
        // A first component that looks like a host keeps the real host before it.
        match short.split_once('/') {
            Some((first, _)) if looks_like_host(first) => self.name(),
            _ => short.to_owned(),
        }
    }

    /// Returns the shortest text that parses to this reference, tag and digest included.
    #[must_use]
    pub fn familiar(&self) -> String {
        self.with_suffix(self.familiar_name())
    }

    /// Returns the same repository with `tag` and without a digest.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Tag {
                value: shown(&format!("{}:{tag}", self.name())),
            });
        }
        Ok(Self {
            tag: Some(tag.into()),
            digest: None,
            ..self.clone()
        })
    }

    /// Returns the same repository pinned to `digest`, without a tag.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            tag: None,
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// Returns the reference without its digest, if a tag is left.
    #[must_use]
    pub fn tagged(&self) -> Option<Self> {
        self.tag.is_some().then(|| Self {
            digest: None,
            ..self.clone()
        })
    }

    fn with_suffix(&self, mut text: String) -> String {
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag);
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(digest.as_str());
        }
        text
    }
}

/// Cuts what is quoted in an error, so that a hostile reference cannot flood a log.
fn shown(value: &str) -> String {
    value.chars().take(200).collect()
}

/// Says whether docker takes the first path component for a registry host.
fn looks_like_host(first: &str) -> bool {
    first.contains(['.', ':'])
        || first == "localhost"
        || first.bytes().any(|b| b.is_ascii_uppercase())
}

/// Splits a name into registry and repository, with docker's defaults filled in.
fn split_registry(name: &str) -> (&str, String) {
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if looks_like_host(first) => (first, rest),
        _ => (DEFAULT_REGISTRY, name),
    };
    let registry = match registry {
        LEGACY_REGISTRY => DEFAULT_REGISTRY,
        other => other,
    };
    if registry == DEFAULT_REGISTRY && !path.contains('/') {
        return (registry, format!("{OFFICIAL_FOLDER}/{path}"));
    }
    (registry, path.to_owned())
}

/// Accepts `name`, `name:port`, an IPv4 address or `[IPv6]`, each with an optional port.
fn is_registry(registry: &str) -> bool {
    if registry.is_empty() || registry.len() > MAX_REGISTRY_LENGTH {
        return false;
    }
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, tail)) => {
                if address.parse::<std::net::Ipv6Addr>().is_err() {
                    return false;
                }
                match tail.strip_prefix(':') {
                    Some(port) => return is_port(port),
                    None => return tail.is_empty(),
                }
            }
            None => return false,
        },
        None => match registry.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (registry, None),
        },
    };
    host.split('.').all(is_host_label) && port.is_none_or(is_port)
}

fn is_port(port: &str) -> bool {
    !port.is_empty()
        && port.bytes().all(|b| b.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|number| number != 0)
}

fn is_host_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Accepts `[a-z0-9]+` runs joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(component: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = component.as_bytes();
    if !edge(bytes.first()) || !edge(bytes.last()) {
        return false;
    }
    component
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .filter(|separator| !separator.is_empty())
        .all(|separator| {
            matches!(separator, "." | "_" | "__") || separator.bytes().all(|b| b == b'-')
        })
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= MAX_TAG_LENGTH
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(value: &str) -> Result<Self, ReferenceError> {
        const LONGEST: usize = MAX_REGISTRY_LENGTH + MAX_REPOSITORY_LENGTH + MAX_TAG_LENGTH + 140;
        if value.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if value.len() > LONGEST {
            return Err(ReferenceError::TooLong {
                length: value.len(),
            });
        }
        if value.len() == 64
            && value
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Err(ReferenceError::LooksLikeId {
                value: shown(value),
            });
        }
        let (rest, digest) = split_digest(value)?;
        // A colon after the last slash starts a tag; one before it belongs to the host.
        let after_slash = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[after_slash..].find(':') {
            Some(colon) => {
                let colon = after_slash + colon;
                (&rest[..colon], Some(&rest[colon + 1..]))
            }
            None => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(ReferenceError::Tag {
                value: shown(value),
            });
        }
        let (registry, repository) = split_registry(name);
        check_name(value, registry, &repository)?;
        let tag = match (tag, &digest) {
            (None, None) => Some(DEFAULT_TAG),
            (tag, _) => tag,
        };
        Ok(Self {
            registry: registry.into(),
            repository: repository.into_boxed_str(),
            tag: tag.map(Into::into),
            digest,
        })
    }
}

fn split_digest(value: &str) -> Result<(&str, Option<Digest>), ReferenceError> {
    match value.split_once('@') {
        None => Ok((value, None)),
        Some((rest, digest)) => match digest.parse() {
            Ok(digest) => Ok((rest, Some(digest))),
            Err(source) => Err(ReferenceError::Digest {
                value: shown(value),
                source,
            }),
        },
    }
}

fn check_name(value: &str, registry: &str, repository: &str) -> Result<(), ReferenceError> {
    let value = || shown(value);
    if !is_registry(registry) {
        return Err(ReferenceError::Registry { value: value() });
    }
    if repository.len() > MAX_REPOSITORY_LENGTH {
        return Err(ReferenceError::RepositoryTooLong {
            length: repository.len(),
        });
    }
    if repository.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(ReferenceError::Uppercase { value: value() });
    }
    if !repository.split('/').all(is_path_component) {
        return Err(ReferenceError::Repository { value: value() });
    }
    Ok(())
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;
    fn try_from(value: String) -> Result<Self, ReferenceError> {
        value.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_suffix(self.name()))
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reference({self})")
    }
}

#[cfg(test)]
mod tests {
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
}
