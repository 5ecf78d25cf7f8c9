//! `--ulimit`, `--device` and `--tail`.

use proto::agent::{Device, Ulimit};

use super::ParseError;

const ULIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Reads `nofile=1024[:2048]`; -1 is no limit.
pub(crate) fn ulimit(text: &str) -> Result<Ulimit, ParseError> {
    let malformed = || ParseError::form(text, "NAME=SOFT[:HARD], such as nofile=1024:2048");
    let (name, limits) = text.split_once('=').ok_or_else(malformed)?;
    if !ULIMITS.contains(&name) {
        return Err(ParseError::UnknownKey {
            key: name.to_owned(),
            place: "--ulimit",
        });
    }
    let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
    let limit = |text: &str| match text {
        "-1" | "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    };
    let (soft, hard) = limit(soft).zip(limit(hard)).ok_or_else(malformed)?;
    if soft > hard {
        return Err(ParseError::form(
            text,
            "a soft limit at or below the hard one",
        ));
    }
    Ok(Ulimit {
        name: name.to_owned(),
        soft,
        hard,
    })
}

/// Reads `/dev/fuse[:/dev/inside][:rwm]`.
pub(crate) fn device(text: &str) -> Result<Device, ParseError> {
    let malformed = || ParseError::form(text, "HOST_PATH[:CONTAINER_PATH][:rwm]");
    let parts: Vec<_> = text.split(':').collect();
    let (host, container, permissions) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, permissions] if !permissions.starts_with('/') => (*host, *host, *permissions),
        [host, container] => (*host, *container, "rwm"),
        [host, container, permissions] => (*host, *container, *permissions),
        _ => return Err(malformed()),
    };
    let permitted = !permissions.is_empty() && permissions.chars().all(|c| "rwm".contains(c));
    if !host.starts_with('/') || !container.starts_with('/') || !permitted {
        return Err(malformed());
    }
    Ok(Device {
        host_path: host.to_owned(),
        container_path: container.to_owned(),
        permissions: permissions.to_owned(),
    })
}

/// How many of the last lines are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail(pub(crate) Option<u64>);

/// Reads a number of lines, or `all`.
pub(crate) fn tail(text: &str) -> Result<Tail, ParseError> {
    match text {
        "all" | "-1" => Ok(Tail(None)),
        number => {
            let lines = number
                .parse()
                .map_err(|_| ParseError::form(text, "a number of lines, or all"))?;
            Ok(Tail(Some(lines)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ulimits_have_a_soft_and_a_hard_limit() {
        let limit = |soft, hard| Ulimit {
            name: "nofile".into(),
            soft,
            hard,
        };
        assert_eq!(ulimit("nofile=10").expect("a limit"), limit(10, 10));
        assert_eq!(ulimit("nofile=10:20").expect("a limit"), limit(10, 20));
        assert_eq!(
            ulimit("nofile=-1").expect("a limit"),
            limit(u64::MAX, u64::MAX)
        );
        for text in [
            "nofile",
            "nofile=",
            "nofile=x",
            "nofile=2:1",
            "frob=1",
            "nofile=1:2:3",
        ] {
            assert!(ulimit(text).is_err(), "{text}");
        }
    }

    #[test]
    fn devices_are_all_there_is_unless_told() {
        let made = |host: &str, container: &str, permissions: &str| Device {
            host_path: host.into(),
            container_path: container.into(),
            permissions: permissions.into(),
        };
        assert_eq!(
            device("/dev/a").expect("a device"),
            made("/dev/a", "/dev/a", "rwm")
        );
        assert_eq!(
            device("/dev/a:r").expect("a device"),
            made("/dev/a", "/dev/a", "r")
        );
        assert_eq!(
            device("/dev/a:/dev/b").expect("a device"),
            made("/dev/a", "/dev/b", "rwm")
        );
        assert_eq!(
            device("/dev/a:/dev/b:rw").expect("a device"),
            made("/dev/a", "/dev/b", "rw")
        );
        for text in ["", "dev", "/dev/a:x", "/dev/a:/dev/b:", "/a:/b:r:w"] {
            assert!(device(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_tail_is_a_number_or_all() {
        assert_eq!(tail("all").expect("all"), Tail(None));
        assert_eq!(tail("0").expect("none"), Tail(Some(0)));
        assert!(tail("some").is_err());
    }
}
