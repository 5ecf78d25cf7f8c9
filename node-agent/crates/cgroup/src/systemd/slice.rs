//! Names of slices, and the cgroups they stand for.

use crate::{CgroupPath, PathError};

/// What every slice's name ends with.
const SUFFIX: &str = ".slice";
/// Longest name of a unit, in bytes.
const MAX_NAME: usize = 255;

/// Returns where the cgroup of a slice lies: `a-b.slice` is `/a.slice/a-b.slice`. A path is taken as
/// well, as kubelets give it, when it is the one that its last name stands for.
pub(crate) fn path_of_slice(text: &str) -> Result<CgroupPath, PathError> {
    let refused = || PathError::NotASlice {
        path: text.chars().take(200).collect(),
    };
    let name = text.rsplit_once('/').map_or(text, |(_, name)| name);
    let stem = name.strip_suffix(SUFFIX).ok_or_else(refused)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b':' | b'-' | b'_' | b'.' | b'\\');
    if name.len() > MAX_NAME || stem.is_empty() || !stem.bytes().all(plain) {
        return Err(refused());
    }
    if stem.split('-').any(str::is_empty) {
        return Err(refused());
    }
    let ends = stem.match_indices('-').map(|(at, _)| at);
    let path: String = ends
        .chain([stem.len()])
        .map(|end| format!("/{}{SUFFIX}", &stem[..end]))
        .collect();
    let given = format!("/{}", text.trim_start_matches('/'));
    if text.contains('/') && given != path {
        return Err(refused());
    }
    path.parse()
}

/// Returns the name of the slice below `parent` for a pod of the node's own.
pub(crate) fn name_of_slice(parent: &CgroupPath, id: &str) -> String {
    let stem = parent.name().strip_suffix(SUFFIX).unwrap_or(parent.name());
    format!("{stem}-{id}{SUFFIX}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_and_whole_paths_lead_to_the_same_place() {
        let path = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice";
        for text in ["kubepods-burstable-pod1_2.slice", path, &path[1..]] {
            assert_eq!(path_of_slice(text).unwrap().as_str(), path, "{text}");
        }
        assert_eq!(
            path_of_slice("system.slice").unwrap().as_str(),
            "/system.slice"
        );
    }

    #[test]
    fn what_is_no_slice_is_refused() {
        for bad in [
            "",
            ".slice",
            "-.slice",
            "a--b.slice",
            "-a.slice",
            "a-.slice",
            "/kubepods/pod1",
            "a.scope",
            "/x.slice/a-b.slice",
            "/a-b.slice",
            "a b.slice",
            "../a.slice",
            "/a.slice/../a.slice",
            "a.slice/",
        ] {
            assert!(path_of_slice(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_the_last_of_its_path(text in "[a-c.\\-/]{0,12}\\.slice") {
            if let Ok(path) = path_of_slice(&text) {
                prop_assert!(text.ends_with(path.name()));
                prop_assert_eq!(path_of_slice(path.as_str()).unwrap(), path.clone());
                prop_assert_eq!(path_of_slice(path.name()).unwrap(), path);
            }
        }
    }
}
