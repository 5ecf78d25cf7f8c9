//! Whether and when a person's container that has ended is started again. Pure.
//!
//! The policies, their names and the waits are docker's. A stop or a kill by hand holds, whatever
//! the policy; after a start of the agent it still does, but for [`RestartPolicy::Always`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::state::Exit;

/// The first wait before another start.
const FIRST: Duration = Duration::from_millis(100);

/// The longest.
const LONGEST: Duration = Duration::from_secs(60);

/// Whoever has run as long begins with the first wait again.
const STEADY: Duration = Duration::from_secs(10);

/// What becomes of a container that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum RestartPolicy {
    /// It stays so.
    #[default]
    Never,
    /// It is started again if it failed.
    OnFailure {
        /// So many times; 0: any number.
        most: u32,
    },
    /// It is started again, and when the agent starts too.
    Always,
    /// As [`Self::Always`], but a stop by hand outlives the agent.
    UnlessStopped,
}

/// What a person last asked of a container; kept for those with a policy only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Wish {
    /// Nothing yet, or a start that failed and was told so.
    #[default]
    Nothing,
    /// That it runs.
    Run,
    /// That it does not.
    Rest,
}

impl RestartPolicy {
    /// Says whether a container that ended so is started again, after `count` times.
    #[must_use]
    pub fn restarts(self, wish: Wish, exit: &Exit, count: u32) -> bool {
        let allowed = match self {
            Self::Never => false,
            Self::OnFailure { most } => exit.code != 0 && (most == 0 || count < most),
            Self::Always | Self::UnlessStopped => true,
        };
        allowed && wish == Wish::Run
    }

    /// Returns what counts as asked for once the agent has started.
    #[must_use]
    pub fn wish_after_start(self, wish: Wish) -> Wish {
        match (self, wish) {
            (Self::Always, Wish::Rest) => Wish::Run,
            (_, wish) => wish,
        }
    }
}

/// Returns how long to wait before another start, after a wait of `last` and this end.
#[must_use]
pub(crate) fn wait(last: Duration, exit: &Exit) -> Duration {
    let ran = exit.started_at.map_or(0, |started| {
        exit.finished_at.nanos().saturating_sub(started.nanos())
    });
    let steady = u64::try_from(ran).is_ok_and(|ran| Duration::from_nanos(ran) >= STEADY);
    if last.is_zero() || steady {
        FIRST
    } else {
        (last * 2).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::state::ExitReason;
    use crate::time::Timestamp;

    fn exit(code: i32, seconds: i64) -> Exit {
        Exit {
            code,
            reason: ExitReason::Error,
            message: String::new(),
            started_at: Some(Timestamp(1)),
            finished_at: Timestamp(1 + seconds * 1_000_000_000),
        }
    }

    #[test]
    fn the_policy_says_who_is_started_again() {
        let any = RestartPolicy::OnFailure { most: 0 };
        let twice = RestartPolicy::OnFailure { most: 2 };
        for (policy, code, count, again) in [
            (RestartPolicy::Never, 1, 0, false),
            (any, 0, 0, false),
            (any, 1, 1000, true),
            (twice, 1, 1, true),
            (twice, 1, 2, false),
            (RestartPolicy::Always, 0, 1000, true),
            (RestartPolicy::UnlessStopped, 0, 1000, true),
        ] {
            let restarts = |wish| policy.restarts(wish, &exit(code, 1), count);
            assert_eq!(restarts(Wish::Run), again, "{policy:?} {code} {count}");
            assert!(!restarts(Wish::Rest) && !restarts(Wish::Nothing));
        }
    }

    #[test]
    fn a_stop_by_hand_outlives_the_agent_unless_the_policy_is_always() {
        let any = RestartPolicy::OnFailure { most: 0 };
        for policy in [RestartPolicy::UnlessStopped, any] {
            assert_eq!(policy.wish_after_start(Wish::Rest), Wish::Rest);
        }
        let always = RestartPolicy::Always;
        assert_eq!(always.wish_after_start(Wish::Rest), Wish::Run);
        assert_eq!(always.wish_after_start(Wish::Nothing), Wish::Nothing);
    }

    #[test]
    fn waits_double_up_to_a_minute_and_begin_anew_after_a_steady_run() {
        let mut last = Duration::ZERO;
        let mut waits = Vec::new();
        for _ in 0..12 {
            last = wait(last, &exit(1, 9));
            waits.push(last.as_millis());
        }
        let doubled = [
            100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 60_000, 60_000,
        ];
        assert_eq!(waits, doubled);
        assert_eq!(wait(last, &exit(1, 10)), FIRST);
        let never_ran = Exit::unseen(None, "");
        assert_eq!(wait(FIRST, &never_ran), 2 * FIRST);
    }
}
