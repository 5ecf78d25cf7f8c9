//! Reads `WWW-Authenticate`: which proof a registry wants.

/// One way to authenticate that a server offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// A name and a password.
    Basic,
    /// A token from the server at `realm`.
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

/// Reads every challenge of the given header values that this client can answer, bearer first.
pub(crate) fn parse<'a>(values: impl Iterator<Item = &'a str>) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = values.flat_map(parse_value).collect();
    found.sort_by_key(|challenge| matches!(challenge, Challenge::Basic));
    found
}

fn parse_value(value: &str) -> Vec<Challenge> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for item in split_outside_quotes(value) {
        // "Scheme", "Scheme key=value" or a further "key=value".
        let (scheme, parameter) = match item.split_once([' ', '\t']) {
            Some((first, rest)) if !first.contains('=') => (Some(first), rest.trim()),
            None if !item.contains('=') => (Some(item), ""),
            _ => (None, item),
        };
        if let Some(scheme) = scheme {
            found.push((scheme.to_ascii_lowercase(), Vec::new()));
        }
        if let (Some((_, parameters)), Some((key, value))) =
            (found.last_mut(), parameter.split_once('='))
        {
            parameters.push((key.trim().to_ascii_lowercase(), unquote(value.trim())));
        }
    }
    found.into_iter().filter_map(from_parts).collect()
}

fn from_parts((scheme, parameters): (String, Vec<(String, String)>)) -> Option<Challenge> {
    let find = |name: &str| {
        let mut values = parameters.iter().filter(|(key, _)| key == name);
        values.next().map(|(_, value)| value.clone())
    };
    match scheme.as_str() {
        "basic" => Some(Challenge::Basic),
        "bearer" => Some(Challenge::Bearer {
            realm: find("realm")?,
            service: find("service"),
            scope: find("scope"),
        }),
        _ => None,
    }
}

/// Splits at commas that are not inside a quoted string.
fn split_outside_quotes(value: &str) -> Vec<&str> {
    let (mut parts, mut start) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, character) in value.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(&value[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&value[start..]);
    let trimmed = parts.into_iter().map(str::trim);
    trimmed.filter(|part| !part.is_empty()).collect()
}

fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else {
        return value.to_owned();
    };
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => break,
            '\\' => text.extend(characters.next()),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_usual_challenges_are_read() {
        let hub = r#"Bearer realm="https://auth.example/token",service="reg, one",scope="repository:a/b:pull,push""#;
        assert_eq!(
            parse([hub].into_iter()),
            vec![Challenge::Bearer {
                realm: "https://auth.example/token".into(),
                service: Some("reg, one".into()),
                scope: Some("repository:a/b:pull,push".into()),
            }]
        );
        assert_eq!(
            parse(["Basic realm=\"x\""].into_iter()),
            vec![Challenge::Basic]
        );
        assert_eq!(parse(["basic"].into_iter()), vec![Challenge::Basic]);
        assert_eq!(parse(["Negotiate", "Digest qop=auth"].into_iter()), vec![]);
        assert_eq!(parse(["Bearer service=x"].into_iter()), vec![], "no realm");
    }

    #[test]
    fn bearer_is_preferred_and_quotes_may_be_escaped() {
        let both = r#"Basic realm="a\"b, c", Bearer realm=http://t/"#;
        let found = parse([both].into_iter());
        assert!(matches!(&found[0], Challenge::Bearer { realm, .. } if realm == "http://t/"));
        assert_eq!(found[1], Challenge::Basic);
    }

    proptest! {
        #[test]
        fn no_header_makes_it_fall_over(value in "\\PC{0,120}") {
            prop_assert!(parse([value.as_str()].into_iter()).len() <= 60);
        }
    }
}
