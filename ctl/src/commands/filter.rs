//! `--filter KEY=VALUE`, given any number of times.

use crate::parse::ParseError;
use crate::parse::key_value::pair;

/// One filter, as given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Filter {
    pub(super) key: String,
    pub(super) value: String,
}

/// Reads one filter.
pub(super) fn filter(text: &str) -> Result<Filter, ParseError> {
    let (key, value) = pair(text)?;
    Ok(Filter { key, value })
}

/// Returns the values given for `key`.
pub(super) fn values<'a>(filters: &'a [Filter], key: &'a str) -> impl Iterator<Item = &'a str> {
    filters
        .iter()
        .filter(move |filter| filter.key == key)
        .map(|filter| filter.value.as_str())
}

/// Tells whether one of the values given for `key` fits, or there are none.
pub(super) fn any(filters: &[Filter], key: &str, fits: impl FnMut(&str) -> bool) -> bool {
    let mut given = values(filters, key).peekable();
    given.peek().is_none() || given.any(fits)
}

/// Refuses filters that `place` does not know.
pub(super) fn check(
    filters: &[Filter],
    known: &[&str],
    place: &'static str,
) -> Result<(), ParseError> {
    match filters
        .iter()
        .find(|filter| !known.contains(&filter.key.as_str()))
    {
        Some(filter) => Err(ParseError::UnknownFilter {
            key: filter.key.clone(),
            place,
            known: known.join(" "),
        }),
        None => Ok(()),
    }
}

/// Reads a filter's `true` or `false`.
pub(super) fn truth(text: &str) -> Result<bool, ParseError> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(ParseError::form(text, "true or false")),
    }
}
