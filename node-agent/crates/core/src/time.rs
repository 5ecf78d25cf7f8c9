//! Points in time as every interface of ours carries them: nanoseconds since the epoch.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Nanoseconds since 1970-01-01 UTC; good until the year 2262.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Reads the clock.
    #[must_use]
    pub fn now() -> Self {
        SystemTime::now().into()
    }

    /// Returns the nanoseconds since the epoch.
    #[must_use]
    pub const fn nanos(self) -> i64 {
        self.0
    }
}

impl From<SystemTime> for Timestamp {
    /// Times before the epoch become 0, times after 2262 the largest number.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_times_become_nanoseconds() {
        let time = UNIX_EPOCH + Duration::new(3, 5);
        assert_eq!(Timestamp::from(time).nanos(), 3_000_000_005);
        assert_eq!(
            Timestamp::from(UNIX_EPOCH - Duration::from_secs(1)).nanos(),
            0
        );
    }
}
