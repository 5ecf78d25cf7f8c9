//! Pinned: images that nobody may collect, whoever they were pulled for.

use agent_types::Reference;

use super::Images;
use super::record::{ImageRecord, Pin};

/// A name of images to keep; `*` stands for any characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedName(String);

impl PinnedName {
    /// Makes a pattern. A name without `*` may be as short as a person would type it.
    #[must_use]
    pub fn new(text: &str) -> Self {
        match text.parse::<Reference>() {
            Ok(reference) => Self(reference.to_string()),
            Err(_) => Self(text.to_owned()),
        }
    }

    /// Says whether a name in full is meant.
    #[must_use]
    pub fn covers(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let first = parts.next().unwrap_or_default();
        let Some(mut rest) = name.strip_prefix(first) else {
            return false;
        };
        let mut parts: Vec<_> = parts.collect();
        let Some(last) = parts.pop() else {
            return rest.is_empty();
        };
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl Images {
    /// Says whether an image is kept for a person or has a name that the configuration pins.
    #[must_use]
    pub fn is_pinned(&self, record: &ImageRecord) -> bool {
        let names = || record.references.iter().chain(&record.digests);
        let mut patterns = self.inner.config.pinned.iter();
        record.pinned == Pin::Local
            || patterns.any(|pattern| names().any(|name| pattern.covers(&name.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns_cover_what_they_say() {
        for (pattern, name, covers) in [
            ("busybox", "docker.io/library/busybox:latest", true),
            ("busybox", "docker.io/library/busybox:1", false),
            ("r.io/pause:3.9", "r.io/pause:3.9", true),
            ("r.io/pause:3.9", "r.io/pause:3.9.1", false),
            ("r.io/pause*", "r.io/pause:3.9", true),
            ("*/pause:*", "r.io/k8s/pause:3", true),
            ("*/pause:*", "r.io/k8s/pauses:3", false),
            ("r.io/*/a*b:1", "r.io/x/aab:1", true),
            ("r.io/*ab", "r.io/ab", true),
            ("r.io/ab*ab", "r.io/ab", false),
            ("*", "anything", true),
        ] {
            assert_eq!(
                PinnedName::new(pattern).covers(name),
                covers,
                "{pattern} {name}"
            );
        }
    }
}
