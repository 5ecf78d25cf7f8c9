//! Times in words, and times in full.

use jiff::Timestamp;
use jiff::tz::TimeZone;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;

/// Returns how long ago `time` (nanoseconds since the epoch) was, such as "3 minutes ago".
pub(crate) fn ago(time: i64, now: Timestamp) -> String {
    format!("{} ago", span(time, now))
}

/// Returns the time since `time` (nanoseconds since the epoch) as docker words it.
pub(crate) fn span(time: i64, now: Timestamp) -> String {
    let seconds = now.as_second() - time.div_euclid(1_000_000_000);
    let hours = (seconds + HOUR / 2) / HOUR;
    match (seconds, seconds / MINUTE, hours) {
        (..1, ..) => "Less than a second".into(),
        (1, ..) => "1 second".into(),
        (2..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".into(),
        (_, minutes @ 2..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".into(),
        (_, _, 2..48) => format!("{hours} hours"),
        (_, _, 48..336) => format!("{} days", hours / 24),
        (_, _, 336..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, 1440..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

/// Returns `time` in UTC with all its digits, as in `2026-01-02T03:04:05.000000006Z`.
pub(crate) fn utc_time(time: i64) -> String {
    timestamp(time)
        .strftime("%Y-%m-%dT%H:%M:%S.%9fZ")
        .to_string()
}

/// Returns `time` on this machine's clock, as in `2026-01-02 04:04:05 +0100 CET`.
pub(crate) fn local_time(time: i64) -> String {
    let zoned = timestamp(time).to_zoned(TimeZone::system());
    zoned.strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string()
}

fn timestamp(time: i64) -> Timestamp {
    // An i64 of nanoseconds ends in 2262, well inside the type's range.
    Timestamp::from_nanosecond(time.into()).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(seconds: i64) -> String {
        let now = Timestamp::from_second(1_800_000_000).expect("in range");
        span((1_800_000_000 - seconds) * 1_000_000_000, now)
    }

    #[test]
    fn spans_are_worded_like_dockers() {
        let table = [
            (-5, "Less than a second"),
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (5399, "About an hour"),
            (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (13 * 86400, "13 days"),
            (14 * 86400, "2 weeks"),
            (59 * 86400, "8 weeks"),
            (60 * 86400, "2 months"),
            (729 * 86400, "24 months"),
            (730 * 86400, "2 years"),
        ];
        for (seconds, expected) in table {
            assert_eq!(words(seconds), expected, "{seconds} s");
        }
    }

    #[test]
    fn times_keep_their_nanoseconds() {
        assert_eq!(utc_time(6), "1970-01-01T00:00:00.000000006Z");
        assert_eq!(
            utc_time(1_767_323_045_123_456_789),
            "2026-01-02T03:04:05.123456789Z"
        );
    }
}
