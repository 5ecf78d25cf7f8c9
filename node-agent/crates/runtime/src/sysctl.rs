//! Kernel settings of the calling process's namespaces.

use agent_sys::procfs::Procfs;

use crate::error::SysctlError;

/// Writes each setting through a procfs that nobody else can see.
///
/// Names have dots or slashes between their parts. Which names a sandbox may set is decided by the agent.
///
/// # Errors
/// Names the first setting that is malformed or refused; those before it hold.
pub fn write_sysctls<'a>(
    values: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Result<(), SysctlError> {
    let mut procfs = None;
    for (name, value) in values {
        let path = path_of(name).ok_or_else(|| SysctlError::Name {
            name: name.to_owned(),
        })?;
        let procfs = match &procfs {
            Some(procfs) => procfs,
            None => procfs.insert(Procfs::detached().map_err(SysctlError::Procfs)?),
        };
        procfs
            .write(&path, value.as_bytes())
            .map_err(|source| SysctlError::Write {
                name: name.to_owned(),
                value: value.to_owned(),
                source,
            })?;
    }
    Ok(())
}

/// Returns the path below /proc, `None` if the name is not made of plain parts.
///
/// A name that holds a slash before its first dot is in the form where dots belong to the parts (`net/ipv4/conf/eth0.1/...`).
fn path_of(name: &str) -> Option<String> {
    let separator = name.chars().find(|c| matches!(c, '.' | '/'))?;
    let parts: Vec<&str> = name.split(separator).collect();
    let plain = |part: &&str| {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':');
        !part.is_empty() && *part != "." && *part != ".." && part.bytes().all(allowed)
    };
    // In the dotted form a slash stands for a dot inside a part.
    let parts: Vec<String> = parts.iter().map(|part| part.replace('/', ".")).collect();
    let all_plain = parts.iter().map(String::as_str).all(|part| plain(&part));
    all_plain.then(|| format!("sys/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_name_are_paths() {
        assert_eq!(
            path_of("net.ipv4.ip_forward").unwrap(),
            "sys/net/ipv4/ip_forward"
        );
        assert_eq!(
            path_of("net/ipv4/ip_forward").unwrap(),
            "sys/net/ipv4/ip_forward"
        );
        let vlan = "sys/net/ipv4/conf/eth0.1/forwarding";
        assert_eq!(path_of("net/ipv4/conf/eth0.1/forwarding").unwrap(), vlan);
        assert_eq!(path_of("net.ipv4.conf.eth0/1.forwarding").unwrap(), vlan);
    }

    #[test]
    fn hostile_23_a_name_that_climbs_or_smuggles_is_refused() {
        for bad in [
            "",
            "kernel",
            "a..b",
            "net/../kernel/core_pattern",
            "a/./b",
            "net.x+kernel.y",
            "a.b\n",
            "/a/b",
            "..a",
        ] {
            assert_eq!(path_of(bad), None, "{bad:?}");
        }
    }
}
