//! Image references as people type them, parsed by docker's rules.
//!
//! `alpine` means `docker.io/library/alpine:latest`; the first component is a
//! registry host only if it looks like one (a dot, a colon, an upper-case letter, or
//! `localhost`). A reference never holds a string that a path or URL could be led astray by.

mod error;
mod parse;

use std::fmt;

use serde::{Deserialize, Serialize};

use self::parse::{is_tag, looks_like_host, shown};
use crate::Digest;

pub use error::ReferenceError;

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
mod tests;
