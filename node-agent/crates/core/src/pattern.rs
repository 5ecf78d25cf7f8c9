//! Names with wildcards, as configurations have them.

/// A name; `*` stands for any characters, none included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// Makes a pattern of its text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_wildcards_cover_what_they_say() {
        for (pattern, name, covers) in [
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
                Pattern::new(pattern).covers(name),
                covers,
                "{pattern} {name}"
            );
        }
    }
}
