//! Image references as people type them.

const DEFAULT_REGISTRY: &str = "docker.io/";
const OFFICIAL: &str = "library/";

/// Returns a full reference without the parts that are the default: `nginx:1` for
/// `docker.io/library/nginx:1`.
pub(crate) fn familiar(reference: &str) -> String {
    let short = match reference.strip_prefix(DEFAULT_REGISTRY) {
        Some(rest) => match rest.strip_prefix(OFFICIAL) {
            // Without `library/` an `a/b` would be taken for someone else's.
            Some(official) if !official.contains('/') => official,
            _ => rest,
        },
        None => reference,
    };
    short.to_owned()
}

/// Cuts a reference into repository and tag or digest.
pub(crate) fn split(reference: &str) -> (&str, &str) {
    if let Some((repository, digest)) = reference.split_once('@') {
        return (repository, digest);
    }
    match reference.rsplit_once(':') {
        // A colon before the last slash is a registry's port.
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (reference, ""),
    }
}

/// Tells whether `name` matches `pattern`, in which `*` and `?` stand for parts without a slash.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    fn rest(pattern: &[char], name: &[char]) -> bool {
        match (pattern.split_first(), name.split_first()) {
            (None, None) => true,
            (Some(('*', tail)), Some((next, left))) => {
                rest(tail, name) || (*next != '/' && rest(pattern, left))
            }
            (Some(('*', tail)), None) => rest(tail, name),
            (Some((wanted, tail)), Some((next, left))) => {
                (wanted == next || (*wanted == '?' && *next != '/')) && rest(tail, left)
            }
            _ => false,
        }
    }
    let chars = |text: &str| text.chars().collect::<Vec<_>>();
    rest(&chars(pattern), &chars(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_registry_is_left_out() {
        let table = [
            ("docker.io/library/nginx:1", "nginx:1"),
            ("docker.io/someone/thing:2", "someone/thing:2"),
            ("docker.io/library/a/b:1", "library/a/b:1"),
            ("localhost:5000/nginx:1", "localhost:5000/nginx:1"),
        ];
        for (full, expected) in table {
            assert_eq!(familiar(full), expected);
        }
    }

    #[test]
    fn a_port_is_no_tag() {
        assert_eq!(split("localhost:5000/nginx"), ("localhost:5000/nginx", ""));
        assert_eq!(
            split("localhost:5000/nginx:1"),
            ("localhost:5000/nginx", "1")
        );
        assert_eq!(split("nginx@sha256:ab"), ("nginx", "sha256:ab"));
    }

    #[test]
    fn stars_stop_at_slashes() {
        assert!(matches("busy*", "busybox"));
        assert!(matches("*/thing", "someone/thing"));
        assert!(matches("b?sybox", "busybox"));
        assert!(!matches("*", "someone/thing"));
        assert!(!matches("busy", "busybox"));
    }
}
