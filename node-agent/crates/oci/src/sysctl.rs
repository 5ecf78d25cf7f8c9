//! Sysctls of a container's own namespaces, and no others.

use std::collections::BTreeMap;

use crate::error::{PlanError, shown};
use crate::{Namespace, Namespaces};

/// Which namespace a sysctl belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Ipc,
    Network,
}

/// Sysctls of the IPC namespace.
const IPC: &[&str] = &[
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];
/// Longest name and value accepted.
const LONGEST: usize = 256;

/// Checks sysctls against the namespaces they would be set in, and returns them with their names
/// in the form with dots.
///
/// The grammar is strict, because some writers read `+` or a line feed in a value as the
/// beginning of another setting.
pub fn check_sysctls(
    wanted: &BTreeMap<String, String>,
    namespaces: &Namespaces,
) -> Result<BTreeMap<String, String>, PlanError> {
    let mut checked = BTreeMap::new();
    for (name, value) in wanted {
        let refused = |problem| PlanError::Sysctl {
            name: shown(name),
            problem,
        };
        let normal = normal_name(name).ok_or_else(|| refused("is not a name"))?;
        check_value(value).map_err(refused)?;
        let scope = scope(&normal)
            .ok_or_else(|| refused("is not namespaced, or not allowed in containers"))?;
        let (namespace, problem) = match scope {
            Scope::Ipc => (&namespaces.ipc, "cannot be set in the host's IPC namespace"),
            Scope::Network => (
                &namespaces.network,
                "cannot be set in the host's network namespace",
            ),
        };
        if *namespace == Namespace::Host {
            return Err(refused(problem));
        }
        if checked.insert(normal, value.clone()).is_some() {
            return Err(refused("is given twice"));
        }
    }
    Ok(checked)
}

/// Turns `net/ipv4/conf/eth0.1/x` into `net.ipv4.conf.eth0/1.x`, as sysctl(8) reads it, and
/// refuses what is no name. The first separator decides which form it is.
fn normal_name(name: &str) -> Option<String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/');
    if name.len() > LONGEST || !name.bytes().all(allowed) {
        return None;
    }
    let slashes = name
        .find(['.', '/'])
        .is_some_and(|at| name.as_bytes()[at] == b'/');
    let normal: String = if slashes {
        name.chars().map(swapped).collect()
    } else {
        name.to_owned()
    };
    let parts_hold = normal
        .split('.')
        .all(|part| !part.is_empty() && !is_upwards(part));
    parts_hold.then_some(normal)
}

fn swapped(c: char) -> char {
    match c {
        '.' => '/',
        '/' => '.',
        other => other,
    }
}

/// Says whether a part would be `.`, `..` or empty as the name of a directory. A slash in it
/// stands for a dot of an interface's name.
fn is_upwards(part: &str) -> bool {
    part.starts_with('/') || part.ends_with('/') || part.contains("//")
}

fn check_value(value: &str) -> Result<(), &'static str> {
    let allowed = |b: u8| {
        b.is_ascii_alphanumeric()
            || matches!(b, b' ' | b'\t' | b'-' | b'_' | b'.' | b',' | b':' | b'/')
    };
    if value.is_empty() || value.len() > LONGEST {
        return Err("has an empty or overlong value");
    }
    if !value.bytes().all(allowed) {
        return Err("has a value with a character that is not allowed");
    }
    Ok(())
}

fn scope(name: &str) -> Option<Scope> {
    if IPC.contains(&name) || is_below(name, "fs.mqueue.") {
        return Some(Scope::Ipc);
    }
    is_below(name, "net.").then_some(Scope::Network)
}

fn is_below(name: &str, prefix: &str) -> bool {
    name.len() > prefix.len() && name.starts_with(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(name: &str, value: &str, namespaces: &Namespaces) -> Result<String, PlanError> {
        let wanted = [(name.to_owned(), value.to_owned())].into();
        let checked = check_sysctls(&wanted, namespaces)?;
        Ok(checked.into_keys().next().unwrap())
    }

    fn own(name: &str, value: &str) -> Result<String, PlanError> {
        check(name, value, &Namespaces::default())
    }

    #[test]
    fn namespaced_ones_are_allowed_in_both_forms() {
        for name in [
            "kernel.shmmax",
            "kernel.sem",
            "kernel.msgmnb",
            "fs.mqueue.msg_max",
            "net.core.somaxconn",
        ] {
            assert_eq!(own(name, "1").unwrap(), name);
        }
        assert_eq!(
            own("net/ipv4/ip_forward", "1").unwrap(),
            "net.ipv4.ip_forward"
        );
        assert_eq!(
            own("net/ipv4/conf/eth0.1/forwarding", "1").unwrap(),
            "net.ipv4.conf.eth0/1.forwarding"
        );
        assert_eq!(
            own("net.ipv4.ip_local_port_range", "1024 65535").unwrap(),
            "net.ipv4.ip_local_port_range"
        );
    }

    #[test]
    fn hostile_23_nothing_of_the_host_can_be_smuggled() {
        for name in [
            "kernel.core_pattern",
            "kernel.shm",
            "vm.swappiness",
            "net",
            "net.",
            "fs.mqueue.",
            "kernel.sem.x",
            "net..x",
            "net/../kernel/core_pattern",
            "net.ipv4.../x",
            "net/ipv4//x",
            "net.ipv4./.x",
            "+net.x",
            "net.x+kernel.core_pattern",
            "net.x=1",
            "net.x\n",
            "",
            ".net.x",
            "/net/x",
            "NET.x",
        ] {
            assert!(own(name, "1").is_err(), "{name:?}");
        }
        for value in [
            "",
            "1+kernel.core_pattern=|/x",
            "1\n2",
            "1\0",
            "|/bin/sh",
            "$(x)",
            "a=b",
            "é",
        ] {
            assert!(own("net.x", value).is_err(), "{value:?}");
        }
    }

    #[test]
    fn the_hosts_namespaces_are_refused() {
        let host = Namespaces {
            network: Namespace::Host,
            ipc: Namespace::Host,
            ..Namespaces::default()
        };
        assert!(check("net.core.somaxconn", "1", &host).is_err());
        assert!(check("kernel.sem", "1", &host).is_err());
        let sandbox = Namespaces {
            network: Namespace::Sandbox,
            ipc: Namespace::Sandbox,
            ..Namespaces::default()
        };
        assert!(check("net.core.somaxconn", "1", &sandbox).is_ok());
    }

    #[test]
    fn one_setting_under_two_names_is_refused() {
        let wanted =
            [("net.x.y", "1"), ("net/x/y", "2")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert!(check_sysctls(&wanted.into(), &Namespaces::default()).is_err());
    }

    proptest! {
        #[test]
        fn an_accepted_name_stays_below_its_directory(name in "(net|kernel|fs)[./a-z]{0,12}") {
            if let Ok(normal) = own(&name, "1") {
                let path: String = normal.chars().map(swapped).collect();
                prop_assert!(path.split('/').all(|part| !matches!(part, "" | "." | "..")), "{path}");
            }
        }
    }
}
