//! Device rules as systemd takes them: on v1 it writes rules of its own at every reload, and
//! without these would allow everything.

use crate::{DeviceKind, DeviceRule, DeviceRules};

/// Returns pairs of a specifier and what may be done, such as `/dev/char/1:3` and `rwm`; none where
/// the rules take something back, which systemd has no words for: it then allows too little, until
/// the rules are written again.
pub(super) fn allowed(rules: &DeviceRules) -> Vec<(String, String)> {
    if rules.rules().iter().any(|rule| !rule.allow) {
        return Vec::new();
    }
    rules.rules().iter().flat_map(of_rule).collect()
}

fn of_rule(rule: &DeviceRule) -> Vec<(String, String)> {
    let text = rule.to_string();
    let access = text.rsplit(' ').next().unwrap_or_default();
    let kinds: &[&str] = match rule.kind {
        DeviceKind::All => &["char", "block"],
        DeviceKind::Char => &["char"],
        DeviceKind::Block => &["block"],
    };
    let specifier = |kind: &&str| match (rule.major, rule.minor) {
        (Some(major), Some(minor)) => Some(format!("/dev/{kind}/{major}:{minor}")),
        (Some(major), None) => Some(format!("{kind}-{major}")),
        (None, None) => Some(format!("{kind}-*")),
        // One minor of every major: nothing says that.
        (None, Some(_)) => None,
    };
    let specifiers = kinds.iter().filter_map(specifier);
    specifiers
        .map(|specifier| (specifier, access.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rules: &[&str]) -> Vec<(String, String)> {
        allowed(&DeviceRules::from_spec(rules).unwrap())
    }

    #[test]
    fn numbers_and_stars_have_their_words() {
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(
            of(&["c 1:3 rwm", "c 136:* rw", "b *:* m"]),
            [
                pair("/dev/char/1:3", "rwm"),
                pair("char-136", "rw"),
                pair("block-*", "m")
            ]
        );
        assert_eq!(
            of(&["a *:* rwm"]),
            [pair("char-*", "rwm"), pair("block-*", "rwm")]
        );
    }

    #[test]
    fn rules_that_take_back_allow_nothing() {
        let mut taken: DeviceRule = "c 10:200 rwm".parse().unwrap();
        taken.allow = false;
        assert!(allowed(&DeviceRules::all().with(taken)).is_empty());
    }
}
