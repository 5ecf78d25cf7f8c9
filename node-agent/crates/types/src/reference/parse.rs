//! Docker's rules for what people type.

use std::str::FromStr;

use super::{
    DEFAULT_REGISTRY, DEFAULT_TAG, LEGACY_REGISTRY, MAX_REGISTRY_LENGTH, MAX_REPOSITORY_LENGTH,
    MAX_TAG_LENGTH, OFFICIAL_FOLDER, Reference, ReferenceError,
};
use crate::Digest;

/// Cuts what is quoted in an error, so that a hostile reference cannot flood a log.
pub(super) fn shown(value: &str) -> String {
    value.chars().take(200).collect()
}

/// Says whether docker takes the first path component for a registry host.
pub(super) fn looks_like_host(first: &str) -> bool {
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

pub(super) fn is_tag(tag: &str) -> bool {
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
