//! Pinned: images that nobody may collect, whoever they were pulled for.

use agent_types::Reference;

use super::Images;
use super::record::{ImageRecord, Pin};
use crate::pattern::Pattern;

/// Returns the pattern for names of images. A name without `*` may be as short as a person types it.
#[must_use]
pub fn pinned_name(text: &str) -> Pattern {
    match text.parse::<Reference>() {
        Ok(reference) => Pattern::new(reference.to_string()),
        Err(_) => Pattern::new(text),
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
    fn short_names_are_meant_in_full() {
        for (pattern, name, covers) in [
            ("busybox", "docker.io/library/busybox:latest", true),
            ("busybox", "docker.io/library/busybox:1", false),
            ("*/busybox:*", "docker.io/library/busybox:1", true),
        ] {
            assert_eq!(
                pinned_name(pattern).covers(name),
                covers,
                "{pattern} {name}"
            );
        }
    }
}
