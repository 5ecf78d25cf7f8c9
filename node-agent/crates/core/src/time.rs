//! Points in time as every interface of ours carries them: nanoseconds since the epoch.

use std::time::SystemTime;

use agent_types::time::nanoseconds;
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
        Self(nanoseconds(time))
    }
}
