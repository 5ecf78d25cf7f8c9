//! When a container under construction got how far.

use std::time::SystemTime;

use agent_types::time::nanoseconds;

/// When the making of a container began, and when its first process got how far, in nanoseconds
/// since the epoch; 0: nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Times {
    /// The process is about to be cloned.
    pub begun: i64,
    /// It runs.
    pub born: i64,
    /// It is in its cgroup and its namespaces.
    pub joined: i64,
    /// Its file systems are mounted, and it is inside them.
    pub mounted: i64,
}

impl Times {
    /// Reads the clock, which is no system call.
    pub(crate) fn now() -> i64 {
        nanoseconds(SystemTime::now())
    }

    /// Writes what the process itself knows.
    pub(crate) fn encode(self, bytes: &mut Vec<u8>) {
        for time in [self.born, self.joined, self.mounted] {
            bytes.extend_from_slice(&time.to_le_bytes());
        }
    }

    /// Reads what a process wrote, and returns what follows.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (born, bytes) = bytes.split_first_chunk()?;
        let (joined, bytes) = bytes.split_first_chunk()?;
        let (mounted, bytes) = bytes.split_first_chunk()?;
        let times = Self {
            begun: 0,
            born: i64::from_le_bytes(*born),
            joined: i64::from_le_bytes(*joined),
            mounted: i64::from_le_bytes(*mounted),
        };
        Some((times, bytes))
    }
}
