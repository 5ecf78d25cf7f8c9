//! Levels that keep pods apart: each has two categories of its own.

use std::io;

use crate::error::LabelError;

/// Policies have this many categories.
const CATEGORIES: u16 = 1024;

/// Attempts before all pairs count as taken: of half a million, some hundred are.
const ATTEMPTS: u32 = 10_000;

/// Returns a level that nobody has, of the sensitivity that `of` begins with.
pub(crate) fn unused(
    of: Option<&str>,
    is_taken: impl Fn(&str) -> bool,
) -> Result<String, LabelError> {
    let sensitivity = of.and_then(|level| level.split([':', '-']).next());
    let sensitivity = sensitivity.unwrap_or("s0");
    for _ in 0..ATTEMPTS {
        let number = getrandom::u32()
            .map_err(|error| LabelError::Random(io::Error::other(error.to_string())))?;
        let Some(level) = level(sensitivity, number) else {
            continue;
        };
        if !is_taken(&level) {
            return Ok(level);
        }
    }
    Err(LabelError::Taken)
}

/// Makes a level of a random number; `None` where it says the same category twice.
fn level(sensitivity: &str, number: u32) -> Option<String> {
    let [a, b, c, d] = number.to_le_bytes();
    let (one, other) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
    let (one, other) = (one % CATEGORIES, other % CATEGORIES);
    let (low, high) = (one.min(other), one.max(other));
    (low != high).then(|| format!("{sensitivity}:c{low},c{high}"))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn two_categories_below_1024_the_lower_first() {
        assert_eq!(level("s0", 0x03ff_0400).unwrap(), "s0:c0,c1023");
        assert_eq!(level("s3", 0x0001_0002).unwrap(), "s3:c1,c2");
        assert_eq!(level("s0", 0x0402_0002), None);
    }

    #[test]
    fn none_is_given_twice() {
        let given = RefCell::new(HashSet::new());
        for _ in 0..3000 {
            let level = unused(Some("s0-s0:c0.c1023"), |level| {
                given.borrow().contains(level)
            });
            assert!(given.borrow_mut().insert(level.unwrap()));
        }
        assert!(matches!(unused(None, |_| true), Err(LabelError::Taken)));
    }
}
