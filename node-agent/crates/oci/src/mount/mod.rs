//! What is mounted where: the default table, a request's mounts, and their order.

mod defaults;
mod requested;

use std::cmp::Reverse;

use oci_spec::runtime::Mount;
use serde::{Deserialize, Serialize};

pub(crate) use defaults::{masked_paths, readonly_paths};

use crate::ContainerPlan;
use crate::error::{PlanError, shown};
use crate::path::{clean, clean_destination, is_within};

/// How mounts made later travel between host and container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Propagation {
    /// Not at all.
    #[default]
    Private,
    /// From the host into the container.
    HostToContainer,
    /// Both ways.
    Bidirectional,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// A file or directory of the host, with what is mounted below it.
    Bind(String),
    /// New memory.
    Tmpfs {
        /// In bytes; half the machine's memory if not given.
        size: Option<u64>,
        /// Permission bits of its root.
        mode: Option<u32>,
    },
    /// The content of an image, under a name that shows which; whoever makes the container has it.
    Image(String),
}

/// One mount of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPlan {
    /// Where, in the container.
    pub destination: String,
    /// What.
    pub source: MountSource,
    /// Nothing can be written through it.
    pub readonly: bool,
    /// Nor through what is mounted below it.
    pub recursive_readonly: bool,
    /// How later mounts travel.
    pub propagation: Propagation,
    /// Further options: attributes of a mount, and for new memory what tmpfs knows.
    #[serde(default)]
    pub options: Vec<String>,
}

/// Returns every mount of the container, those with short destinations first.
pub(crate) fn to_spec(plan: &ContainerPlan) -> Result<Vec<Mount>, PlanError> {
    let mut requested: Vec<(String, Mount)> = Vec::new();
    for mount in &plan.mounts {
        let destination = clean_destination(&mount.destination)?;
        check_proc(&destination, &mount.source)?;
        // Of two at one place, the later is the one that would be seen.
        requested.retain(|(there, _)| *there != destination);
        let spec = requested::to_spec(mount, &destination)?;
        requested.push((destination, spec));
    }
    let mut mounts: Vec<(String, Mount)> = defaults::mounts(plan)
        .into_iter()
        .filter(|(default, _)| !requested.iter().any(|(there, _)| covers(there, default)))
        .collect();
    mounts.append(&mut requested);
    mounts.sort_by_key(|(destination, _)| destination.matches('/').count());
    Ok(mounts.into_iter().map(|(_, mount)| mount).collect())
}

/// Says whether a requested mount takes a default one's place: the same destination, or the whole
/// of `/dev` or `/sys` with what the default table would put there.
fn covers(requested: &str, default: &str) -> bool {
    requested == default || (matches!(requested, "/dev" | "/sys") && is_within(default, requested))
}

/// Files below /proc that may be replaced by a mount, as programs that correct them for containers do.
const REPLACEABLE_IN_PROC: [&str; 9] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
];

/// Refuses mounts that would make the container's own setup write through something else than
/// its /proc.
fn check_proc(destination: &str, source: &MountSource) -> Result<(), PlanError> {
    let host_proc = destination == "/proc" && *source == MountSource::Bind("/proc".to_owned());
    if !is_within(destination, "/proc") || host_proc || REPLACEABLE_IN_PROC.contains(&destination) {
        return Ok(());
    }
    Err(PlanError::Path {
        field: "mount destination",
        path: shown(destination),
        problem: "lies in /proc",
    })
}

/// Cleans a list of paths. The deepest come first: what lies below a hidden directory could not be
/// found any more.
pub(crate) fn clean_paths(field: &'static str, paths: &[String]) -> Result<Vec<String>, PlanError> {
    let mut cleaned: Vec<String> = Vec::with_capacity(paths.len());
    for path in paths {
        let path = clean(field, path)?;
        if path == "/" {
            return Err(PlanError::Path {
                field,
                path,
                problem: "is the root",
            });
        }
        if !cleaned.contains(&path) {
            cleaned.push(path);
        }
    }
    cleaned.sort_by_key(|path| Reverse(path.matches('/').count()));
    Ok(cleaned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Namespace;

    fn bind(destination: &str) -> MountPlan {
        MountPlan {
            destination: destination.into(),
            source: MountSource::Bind("/srv/data".into()),
            readonly: true,
            recursive_readonly: false,
            propagation: Propagation::HostToContainer,
            options: Vec::new(),
        }
    }

    fn destinations(mounts: Vec<MountPlan>) -> Vec<String> {
        let plan = ContainerPlan {
            mounts,
            ..ContainerPlan::default()
        };
        let mounts = to_spec(&plan).unwrap();
        mounts
            .iter()
            .map(|m| m.destination().display().to_string())
            .collect()
    }

    #[test]
    fn short_destinations_come_first() {
        let all = destinations(vec![bind("/a/b/c"), bind("/a/b"), bind("/a")]);
        let at = |path: &str| all.iter().position(|there| there == path).unwrap();
        assert!(at("/a") < at("/a/b") && at("/a/b") < at("/a/b/c"));
        assert!(at("/dev") < at("/dev/pts") && at("/sys") < at("/sys/fs/cgroup"));
        assert_eq!(all.len(), 10);
    }

    #[test]
    fn a_request_takes_the_place_of_a_default() {
        let all = destinations(vec![bind("/dev/shm/"), bind("/dev/shm")]);
        assert_eq!(all.iter().filter(|there| *there == "/dev/shm").count(), 1);
        let all = destinations(vec![bind("/dev")]);
        assert!(!all.iter().any(|there| there.starts_with("/dev/")));
        let all = destinations(vec![bind("/sys/fs")]);
        assert!(all.contains(&"/sys/fs/cgroup".to_owned()));
    }

    #[test]
    fn options_say_what_was_asked() {
        let plan = ContainerPlan {
            mounts: vec![MountPlan {
                recursive_readonly: true,
                ..bind("/x")
            }],
            ..ContainerPlan::default()
        };
        let mounts = to_spec(&plan).unwrap();
        let mount = mounts
            .iter()
            .find(|m| m.destination().ends_with("x"))
            .unwrap();
        assert_eq!(
            mount.options().as_ref().unwrap(),
            &["rbind", "ro", "rro", "rslave"]
        );
        assert_eq!(mount.typ().as_deref(), Some("bind"));
    }

    #[test]
    fn further_options_are_attributes_and_come_last() {
        let options = |source: MountSource, options: &[&str]| {
            let plan = ContainerPlan {
                mounts: vec![MountPlan {
                    source,
                    options: options.iter().map(ToString::to_string).collect(),
                    ..bind("/x")
                }],
                ..ContainerPlan::default()
            };
            let mounts = to_spec(&plan)?;
            let there = |m: &&Mount| m.destination().ends_with("x");
            Ok::<_, PlanError>(
                mounts
                    .iter()
                    .find(there)
                    .unwrap()
                    .options()
                    .clone()
                    .unwrap(),
            )
        };
        let bound = || MountSource::Bind("/srv".into());
        let image = || MountSource::Image("sha256:1".into());
        let all = options(bound(), &["noexec", "nosymfollow"]).unwrap();
        assert_eq!(all, ["rbind", "ro", "rslave", "noexec", "nosymfollow"]);
        for bad in [
            "rw",
            "rbind",
            "rshared",
            "uid=0",
            "remount",
            "",
            "noexec,dev",
        ] {
            assert!(options(bound(), &[bad]).is_err(), "{bad:?}");
        }
        assert!(
            options(image(), &["noatime"])
                .unwrap()
                .contains(&"noexec".to_owned())
        );
        assert!(options(image(), &["exec"]).is_err());
    }

    #[test]
    fn hostile_04_nothing_is_mounted_over_proc() {
        for bad in [
            "/proc",
            "/proc/self/attr",
            "/proc/sys",
            "/proc//sys/",
            "/proc/./sys",
        ] {
            let plan = ContainerPlan {
                mounts: vec![bind(bad)],
                ..ContainerPlan::default()
            };
            assert!(to_spec(&plan).is_err(), "{bad}");
        }
        let host = MountPlan {
            source: MountSource::Bind("/proc".into()),
            ..bind("/proc")
        };
        assert!(destinations(vec![host]).contains(&"/proc".to_owned()));
        assert!(destinations(vec![bind("/proc/meminfo")]).contains(&"/proc/meminfo".to_owned()));
    }

    #[test]
    fn tmpfs_options_cannot_be_smuggled() {
        let tmpfs = |options: &[&str]| {
            let source = MountSource::Tmpfs {
                size: Some(1024),
                mode: Some(0o1777),
            };
            let plan = ContainerPlan {
                mounts: vec![MountPlan {
                    source,
                    options: options.iter().map(ToString::to_string).collect(),
                    ..bind("/t")
                }],
                ..ContainerPlan::default()
            };
            let mounts = to_spec(&plan)?;
            let mount = mounts
                .iter()
                .find(|m| m.destination().ends_with("t"))
                .unwrap()
                .clone();
            Ok::<_, PlanError>(mount.options().clone().unwrap())
        };
        assert_eq!(
            tmpfs(&[]).unwrap(),
            ["nosuid", "nodev", "noexec", "size=1024", "mode=1777", "ro"]
        );
        assert!(
            tmpfs(&["exec", "uid=5"])
                .unwrap()
                .contains(&"uid=5".to_owned())
        );
        for bad in [
            "size=1,suid",
            "remount",
            "size=",
            "context=x",
            "huge=always,dev",
            "",
            "mode=1 ",
        ] {
            assert!(tmpfs(&[bad]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_host_ipc_namespace_changes_nothing_in_the_table() {
        let mut plan = ContainerPlan::default();
        let before = to_spec(&plan).unwrap().len();
        plan.namespaces.ipc = Namespace::Host;
        assert_eq!(to_spec(&plan).unwrap().len(), before);
    }
}
