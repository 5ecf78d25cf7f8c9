//! Resource limits.

use oci_spec::runtime::{PosixRlimit, PosixRlimitBuilder, PosixRlimitType};

use crate::Rlimit;
use crate::error::{PlanError, shown};

/// Checks the limits; the later of two with one name wins.
pub(crate) fn to_spec(limits: &[Rlimit]) -> Result<Vec<PosixRlimit>, PlanError> {
    let mut found: Vec<PosixRlimit> = Vec::new();
    for limit in limits {
        let one = one(limit)?;
        match found.iter_mut().find(|there| there.typ() == one.typ()) {
            Some(there) => *there = one,
            None => found.push(one),
        }
    }
    Ok(found)
}

fn one(limit: &Rlimit) -> Result<PosixRlimit, PlanError> {
    let refused = |problem| PlanError::Rlimit {
        name: shown(&limit.name),
        problem,
    };
    let upper = limit.name.to_ascii_uppercase();
    let short = upper.strip_prefix("RLIMIT_").unwrap_or(&upper);
    let kind = kind(short).ok_or_else(|| refused("does not exist"))?;
    if limit.soft > limit.hard {
        return Err(refused("has a soft limit above the hard one"));
    }
    PosixRlimitBuilder::default()
        .typ(kind)
        .soft(limit.soft)
        .hard(limit.hard)
        .build()
        .map_err(|_| refused("cannot be written down"))
}

fn kind(name: &str) -> Option<PosixRlimitType> {
    Some(match name {
        "AS" => PosixRlimitType::RlimitAs,
        "CORE" => PosixRlimitType::RlimitCore,
        "CPU" => PosixRlimitType::RlimitCpu,
        "DATA" => PosixRlimitType::RlimitData,
        "FSIZE" => PosixRlimitType::RlimitFsize,
        "LOCKS" => PosixRlimitType::RlimitLocks,
        "MEMLOCK" => PosixRlimitType::RlimitMemlock,
        "MSGQUEUE" => PosixRlimitType::RlimitMsgqueue,
        "NICE" => PosixRlimitType::RlimitNice,
        "NOFILE" => PosixRlimitType::RlimitNofile,
        "NPROC" => PosixRlimitType::RlimitNproc,
        "RSS" => PosixRlimitType::RlimitRss,
        "RTPRIO" => PosixRlimitType::RlimitRtprio,
        "RTTIME" => PosixRlimitType::RlimitRttime,
        "SIGPENDING" => PosixRlimitType::RlimitSigpending,
        "STACK" => PosixRlimitType::RlimitStack,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(name: &str, soft: u64, hard: u64) -> Rlimit {
        Rlimit {
            name: name.into(),
            soft,
            hard,
        }
    }

    #[test]
    fn names_are_found_and_the_later_wins() {
        let spec = to_spec(&[
            limit("nofile", 1, 2),
            limit("RLIMIT_CORE", 0, 0),
            limit("NOFILE", 5, u64::MAX),
        ])
        .unwrap();
        assert_eq!(spec.len(), 2);
        assert_eq!((spec[0].soft(), spec[0].hard()), (5, u64::MAX));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        assert!(
            to_spec(&[limit("files", 1, 2)])
                .unwrap_err()
                .to_string()
                .contains("files")
        );
        assert!(
            to_spec(&[limit("core", 2, 1)])
                .unwrap_err()
                .to_string()
                .contains("core")
        );
    }
}
