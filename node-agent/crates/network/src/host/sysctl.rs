//! Kernel settings below /proc/sys/net, changed once and put back.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::changes::{HostChanges, SysctlChange};

/// A setting that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("sysctl {key} cannot be {action}")]
pub struct SysctlError {
    /// Path below /proc/sys.
    pub key: String,
    /// `read` or `set`.
    pub action: &'static str,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// Returns the path of a setting. Keys come from records too, so they must stay below net/.
fn path(key: &str) -> io::Result<PathBuf> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    if !key.starts_with("net/") || !key.split('/').all(plain) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(PathBuf::from("/proc/sys").join(key))
}

/// Reads a setting.
pub(crate) fn read(key: &str) -> Result<String, SysctlError> {
    path(key)
        .and_then(fs::read_to_string)
        .map(|text| text.trim().to_owned())
        .map_err(|source| SysctlError {
            key: key.to_owned(),
            action: "read",
            source,
        })
}

/// Sets a setting.
pub(crate) fn write(key: &str, value: &str) -> Result<(), SysctlError> {
    path(key)
        .and_then(|path| fs::write(path, value))
        .map_err(|source| SysctlError {
            key: key.to_owned(),
            action: "set",
            source,
        })
}

/// Says whether the kernel has IPv6 at all.
pub(crate) fn has_ipv6() -> bool {
    path("net/ipv6/conf/all/forwarding").is_ok_and(|path| path.exists())
}

/// Works out what settings to write, in order, for the host to forward, and enters it in `changes`.
///
/// `adopted` is what agents beside us have changed already: it is entered too, so that the last
/// of us undoes it. `links` are the interfaces that take part in routing.
pub(crate) fn plan_forwarding(
    changes: &mut HostChanges,
    families: (bool, bool),
    links: &[String],
    adopted: &[(String, String)],
) -> Result<Vec<(String, String)>, SysctlError> {
    let mut wanted: Vec<(String, String)> = Vec::new();
    if families.0 {
        wanted.push(("net/ipv4/ip_forward".to_owned(), "1".to_owned()));
    }
    if families.1 {
        let forwarding = "net/ipv6/conf/all/forwarding";
        if read(forwarding)? == "0" {
            // A router ignores advertisements unless told otherwise, and the host would lose
            // its own IPv6 default route.
            let listens = |key: &String| read(key).is_ok_and(|value| value == "1");
            let keys = links
                .iter()
                .map(|link| format!("net/ipv6/conf/{link}/accept_ra"));
            wanted.extend(keys.filter(listens).map(|key| (key, "2".to_owned())));
        }
        wanted.push((forwarding.to_owned(), "1".to_owned()));
    }
    let mut writes = Vec::new();
    for (key, after) in wanted {
        let current = read(&key)?;
        let known = changes.sysctls.iter().position(|change| change.key == key);
        if current != after {
            // A record of before a reboot says nothing about this boot.
            let change = SysctlChange {
                key: key.clone(),
                before: current,
                after: after.clone(),
            };
            match known.and_then(|at| changes.sysctls.get_mut(at)) {
                Some(entry) => *entry = change,
                None => changes.sysctls.push(change),
            }
            writes.push((key, after));
        } else if known.is_none()
            && let Some((_, before)) = adopted.iter().find(|(k, _)| *k == key)
        {
            changes.sysctls.push(SysctlChange {
                key,
                before: before.clone(),
                after,
            });
        }
    }
    Ok(writes)
}

/// Puts settings back, last first, where they still are what we made them.
pub(crate) fn restore(changes: &[SysctlChange]) -> Vec<SysctlError> {
    let mut errors = Vec::new();
    for change in changes.iter().rev() {
        let undone = match read(&change.key) {
            // The interface is gone, and its settings with it.
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(current) if current != change.after => Ok(()),
            Ok(_) => write(&change.key, &change.before),
        };
        errors.extend(undone.err());
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_below_net() {
        for bad in [
            "kernel/core_pattern",
            "net/../kernel/core_pattern",
            "net//x",
            "/etc/passwd",
            "",
        ] {
            assert!(path(bad).is_err(), "{bad:?}");
        }
        assert!(path("net/ipv6/conf/eth0.5/accept_ra").is_ok());
    }

    #[test]
    fn a_missing_setting_needs_no_undoing() {
        let change = SysctlChange {
            key: "net/ipv4/conf/no-such-link/forwarding".to_owned(),
            before: "0".to_owned(),
            after: "1".to_owned(),
        };
        assert!(restore(&[change]).is_empty());
    }
}
