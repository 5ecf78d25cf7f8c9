//! The time of day as log lines show it, formatted by hand: once a second the date, once a read
//! the nanoseconds.

use std::time::{SystemTime, UNIX_EPOCH};

use super::format::{Header, Stream, TIME};

/// Formats the present time; remembers the second it formatted last.
#[derive(Debug)]
pub(crate) struct Clock {
    second: u64,
    text: [u8; TIME],
}

impl Clock {
    pub(crate) fn new() -> Self {
        let mut clock = Self {
            second: 0,
            text: *b"0000-00-00T00:00:00.000000000Z",
        };
        clock.set_second(0);
        clock
    }

    /// Returns the head of a record of `stream` made now.
    pub(crate) fn header(&mut self, stream: Stream) -> Header {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Header::new(self.at(now.as_secs(), now.subsec_nanos()), stream)
    }

    fn at(&mut self, second: u64, nanosecond: u32) -> &[u8; TIME] {
        if second != self.second {
            self.set_second(second);
        }
        digits(&mut self.text[20..29], u64::from(nanosecond));
        &self.text
    }

    fn set_second(&mut self, second: u64) {
        self.second = second;
        let (year, month, day) = date(second / 86_400);
        let fields = [
            (0..4, year),
            (5..7, month),
            (8..10, day),
            (11..13, second / 3600 % 24),
            (14..16, second / 60 % 60),
            (17..19, second % 60),
        ];
        for (place, value) in fields {
            digits(&mut self.text[place], value);
        }
    }
}

/// Writes `value` right-aligned in decimal, with leading zeros.
fn digits(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or_default();
        value /= 10;
    }
}

/// Returns year, month and day of the day that many days after 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    // Years begin in March here, so that the leap day is a year's last; 719468 days lie between
    // 0000-03-01 and 1970-01-01, 146097 in each 400 years.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(second: u64, nanosecond: u32) -> String {
        String::from_utf8(Clock::new().at(second, nanosecond).to_vec()).unwrap()
    }

    #[test]
    fn known_moments() {
        assert_eq!(text(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(text(951_782_399, 1), "2000-02-28T23:59:59.000000001Z");
        assert_eq!(text(951_782_400, 0), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(
            text(1_767_225_599, 999_999_999),
            "2025-12-31T23:59:59.999999999Z"
        );
        assert_eq!(text(4_107_542_400, 0), "2100-03-01T00:00:00.000000000Z");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let mut before = date(0);
        for day in 1..80_000 {
            let now = date(day);
            assert!(now > before, "{before:?} {now:?}");
            let first = now.2 == 1;
            assert!(first || (now.0, now.1, now.2) == (before.0, before.1, before.2 + 1));
            before = now;
        }
        assert_eq!(date(79_999), (2189, 1, 11));
    }

    #[test]
    fn the_same_second_keeps_its_date() {
        let mut clock = Clock::new();
        clock.at(951_782_400, 5);
        assert_eq!(clock.at(951_782_400, 7), b"2000-02-29T00:00:00.000000007Z");
    }
}
