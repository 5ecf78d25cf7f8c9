//! One line of a log in the CRI format: `TIME STREAM TAG TEXT`.
//!
//! Source: Kubernetes, "CRI stdout/stderr log" (kubelet's log format): RFC 3339 time with
//! nanoseconds, `stdout` or `stderr`, `F` for a whole line and `P` for a part of one.

use crate::time::Timestamp;

/// Which stream a line was written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A line, or a part of one, of a container's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// When it was written.
    pub time: Timestamp,
    /// Where to.
    pub stream: Stream,
    /// The bytes, with the newline where the line is whole.
    pub data: Vec<u8>,
}

/// Parses a line without its final newline; `None` if it is not in the format.
#[must_use]
pub fn parse(line: &[u8]) -> Option<LogLine> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time = parse_time(parts.next()?)?;
    let stream = match parts.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let whole = match parts.next()?.first()? {
        b'F' => true,
        b'P' => false,
        _ => return None,
    };
    let mut data = parts.next().unwrap_or_default().to_vec();
    if whole {
        data.push(b'\n');
    }
    Some(LogLine { time, stream, data })
}

/// Parses `2026-01-02T03:04:05.678901234Z`, or the same with an offset such as `+02:00`.
fn parse_time(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<i64>().ok();
    let days = days_since_epoch(number(0..4)?, number(5..7)?, number(8..10)?)?;
    let seconds = number(11..13)? * 3600 + number(14..16)? * 60 + number(17..19)?;
    let rest = text.get(19..)?;
    let (fraction, zone) = match rest.strip_prefix('.') {
        Some(rest) => {
            let end = rest.find(|c: char| !c.is_ascii_digit())?;
            (rest.get(..end)?, rest.get(end..)?)
        }
        None => ("", rest),
    };
    let nanos = nanos(fraction)?;
    let offset = offset(zone)?;
    let total = (days * 86_400 + seconds - offset).checked_mul(1_000_000_000)?;
    total.checked_add(nanos).map(Timestamp)
}

fn nanos(fraction: &str) -> Option<i64> {
    if fraction.len() > 9 {
        return None;
    }
    let mut value: i64 = if fraction.is_empty() {
        0
    } else {
        fraction.parse().ok()?
    };
    for _ in fraction.len()..9 {
        value *= 10;
    }
    Some(value)
}

/// Returns the seconds that a zone is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours: i64 = zone.get(1..3)?.parse().ok()?;
    let minutes: i64 = zone.get(4..6)?.parse().ok()?;
    Some(sign * (hours * 3600 + minutes * 60))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
///
/// Counts years from March, so that a leap day is the last of its year.
fn days_since_epoch(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    Some(year * 365 + leap_days + day_of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn whole_and_partial_lines_are_told_apart() {
        let whole = parse(b"1970-01-01T00:00:01.000000002Z stdout F hello  world").unwrap();
        assert_eq!(whole.time, Timestamp(1_000_000_002));
        assert_eq!(whole.stream, Stream::Stdout);
        assert_eq!(whole.data, b"hello  world\n");
        let part = parse(b"2024-02-29T12:00:00Z stderr P x").unwrap();
        assert_eq!(
            (part.stream, part.data.as_slice()),
            (Stream::Stderr, &b"x"[..])
        );
        assert_eq!(part.time, Timestamp(1_709_208_000_000_000_000));
    }

    #[test]
    fn an_empty_line_is_a_line() {
        let line = parse(b"1970-01-01T00:00:00Z stdout F ").unwrap();
        assert_eq!(line.data, b"\n");
    }

    #[test]
    fn offsets_count() {
        let line = parse(b"1970-01-01T02:00:00.5+02:00 stdout F x").unwrap();
        assert_eq!(line.time, Timestamp(500_000_000));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&line);
        }
    }
}
