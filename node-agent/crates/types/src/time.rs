//! Points in time as numbers.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns nanoseconds since the epoch: 0 for what lies before it, the largest number for what
/// lies after the year 2262.
#[must_use]
pub fn nanoseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn system_times_become_nanoseconds() {
        let time = UNIX_EPOCH + Duration::new(3, 5);
        assert_eq!(nanoseconds(time), 3_000_000_005);
        assert_eq!(nanoseconds(UNIX_EPOCH - Duration::from_secs(1)), 0);
    }
}
