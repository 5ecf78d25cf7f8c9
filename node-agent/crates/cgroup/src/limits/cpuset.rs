//! The kernel's list format: `0-3,6`.

/// Largest number accepted; the kernel's own limit is 8192 processors.
const LARGEST: u32 = 65_535;

/// Parses a list into ranges, or returns `None` if it is not one. An empty list is none.
pub(crate) fn parse(list: &str) -> Option<Vec<(u32, u32)>> {
    if list.is_empty() {
        return None;
    }
    list.split(',').map(parse_range).collect()
}

fn parse_range(range: &str) -> Option<(u32, u32)> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last) = (parse_number(first)?, parse_number(last)?);
    (first <= last).then_some((first, last))
}

fn parse_number(digits: &str) -> Option<u32> {
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let number = plain.then(|| digits.parse().ok())??;
    (number <= LARGEST).then_some(number)
}

/// Returns the first number of `wanted` that is not in `online`.
pub(super) fn first_missing(wanted: &[(u32, u32)], online: &[(u32, u32)]) -> Option<u32> {
    let is_online = |n: &u32| {
        online
            .iter()
            .any(|(first, last)| (first..=last).contains(&n))
    };
    wanted
        .iter()
        .find_map(|(first, last)| (*first..=*last).find(|n| !is_online(n)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_are_parsed_strictly() {
        assert_eq!(parse("0-3,6"), Some(vec![(0, 3), (6, 6)]));
        for bad in [
            "",
            ",",
            "0,",
            "a",
            "3-1",
            "-1",
            "1-",
            " 1",
            "1 ",
            "0x1",
            "+1",
            "1-2-3",
            "99999999999",
            "0\n",
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn missing_numbers_are_named() {
        let online = parse("0-1,4").unwrap();
        assert_eq!(first_missing(&parse("0,4").unwrap(), &online), None);
        assert_eq!(first_missing(&parse("1-4").unwrap(), &online), Some(2));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fail_badly(text in "[0-9,\\-]{0,12}") {
            if let Some(ranges) = parse(&text) {
                prop_assert!(ranges.iter().all(|(first, last)| first <= last));
                prop_assert_eq!(first_missing(&ranges, &ranges), None);
            }
        }
    }
}
