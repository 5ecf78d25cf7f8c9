//! The directories that an image wants to be volumes.

use std::collections::BTreeSet;
use std::path::Path;

use super::spec::MountSpec;

/// Where every container has file systems of its own.
const RESERVED: [&str; 3] = ["/proc", "/sys", "/dev"];

/// Returns those that nothing asked for is mounted on or above. The image's words are an
/// attacker's: what they lead to is found out inside the container's root.
pub(super) fn of(wanted: &BTreeSet<String>, mounts: &[MountSpec]) -> Vec<String> {
    let taken: Vec<&Path> = mounts
        .iter()
        .map(|mount| Path::new(&mount.destination))
        .chain(RESERVED.iter().map(Path::new))
        .collect();
    let mut own = BTreeSet::new();
    for text in wanted {
        let path = Path::new("/").join(text);
        let is_taken = taken.iter().any(|above| path.starts_with(above));
        // The root itself is the container's anyway.
        if !is_taken && path.parent().is_some() {
            own.insert(path.to_string_lossy().into_owned());
        }
    }
    own.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use agent_oci::Propagation;

    use super::*;
    use crate::container::spec::{MountSource, Relabel};

    #[test]
    fn what_is_mounted_over_is_no_volume() {
        let mount = MountSpec {
            source: MountSource::Tmpfs {
                size: None,
                mode: None,
            },
            destination: "/cache/".to_owned(),
            readonly: false,
            recursive_readonly: false,
            propagation: Propagation::Private,
            options: Vec::new(),
            ids: None,
            relabel: Relabel::No,
        };
        let wanted = [
            "/data",
            "relative",
            "/cache",
            "/cache/deep",
            "/",
            "/proc/x",
            "/data/",
        ];
        let own = of(&wanted.map(str::to_owned).into(), &[mount]);
        assert_eq!(own, ["/data", "/data/", "/relative"]);
    }
}
