//! `--since` and `--until`: moments, and how long ago they were.

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::ParseError;

const MOMENT: &str = "a time, such as 2026-01-02T15:04:05Z, or how long ago, such as 10m";

/// Nanoseconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) i64);

/// Reads a moment as of now.
pub(crate) fn moment(text: &str) -> Result<Moment, ParseError> {
    moment_at(text, Timestamp::now())
}

fn moment_at(text: &str, now: Timestamp) -> Result<Moment, ParseError> {
    let timestamp = ago(text, now)
        .or_else(|| unix(text))
        .or_else(|| calendar(text));
    timestamp
        .and_then(|timestamp| i64::try_from(timestamp.as_nanosecond()).ok())
        .map(Moment)
        .ok_or_else(|| ParseError::form(text, MOMENT))
}

/// Reads seconds since the epoch, with or without a part of a second.
fn unix(text: &str) -> Option<Timestamp> {
    let (seconds, part) = text.split_once('.').unwrap_or((text, "0"));
    if part.is_empty() || part.len() > 9 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nanoseconds: i32 = format!("{part:0<9}").parse().ok()?;
    Timestamp::new(seconds.parse().ok()?, nanoseconds).ok()
}

/// Reads a date and time; without an offset they are this machine's.
fn calendar(text: &str) -> Option<Timestamp> {
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp);
    }
    let local = match text.parse::<DateTime>() {
        Ok(local) => local,
        Err(_) => text.parse::<Date>().ok()?.into(),
    };
    // A date with a `Z` and no time would be read as local.
    if text.ends_with(['Z', 'z']) {
        return None;
    }
    local
        .to_zoned(TimeZone::system())
        .ok()
        .map(|zoned| zoned.timestamp())
}

/// Reads a duration as Go writes it, such as `1h30m`, back from `now`.
fn ago(text: &str, now: Timestamp) -> Option<Timestamp> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (1.0, rest),
        None => (-1.0, text),
    };
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| c != '.' && !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| c == '.' || c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let scale = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    let distance = SignedDuration::try_from_secs_f64(sign * seconds).ok()?;
    now.checked_add(distance).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000_000;

    fn at(text: &str) -> Option<i64> {
        let now = Timestamp::from_second(1_800_000_000).expect("in range");
        moment_at(text, now).ok().map(|Moment(time)| time)
    }

    #[test]
    fn durations_go_back_from_now() {
        let now = 1_800_000_000;
        for (text, seconds) in [
            ("10m", 600),
            ("1h30m", 5400),
            ("1.5h", 5400),
            ("90s", 90),
            ("0s", 0),
        ] {
            assert_eq!(at(text), Some((now - seconds) * SECOND), "{text}");
        }
        assert_eq!(at("250ms"), Some(now * SECOND - SECOND / 4));
        assert_eq!(at("-10m"), Some((now + 600) * SECOND));
    }

    #[test]
    fn moments_are_seconds_or_dates() {
        let table = [
            ("1767366245", 1_767_366_245 * SECOND),
            ("1767366245.5", 1_767_366_245 * SECOND + SECOND / 2),
            ("2026-01-02T15:04:05Z", 1_767_366_245 * SECOND),
            (
                "2026-01-02T15:04:05.25Z",
                1_767_366_245 * SECOND + SECOND / 4,
            ),
            ("2026-01-02T16:04:05+01:00", 1_767_366_245 * SECOND),
        ];
        for (text, expected) in table {
            assert_eq!(at(text), Some(expected), "{text}");
        }
        // What these are depends on the zone of the machine, but a day is a day.
        let day = at("2026-01-03").expect("a date") - at("2026-01-02").expect("a date");
        assert_eq!(day, 86_400 * SECOND);
        assert!(at("2026-01-02T15:04").is_some());
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "-",
            "m",
            "10",
            "10x",
            "yesterday",
            "2026-13-01",
            "1.2.3s",
            "2026-01-02Z",
        ] {
            let expected = (text == "10").then_some(10 * SECOND);
            assert_eq!(at(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_input_makes_the_parser_panic(text in "[0-9hmsnu.TZ:+-]{0,30}") {
            let _ = moment(&text);
        }
    }
}
