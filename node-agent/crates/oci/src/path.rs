//! Paths inside a container, as text: what can be said without looking.

use crate::error::{PlanError, shown, without_nul};

/// Longest path the kernel takes.
const LONGEST: usize = 4095;

/// Returns an absolute path without empty and `.` parts; refuses `..`, which can mean one thing as
/// text and another on disk.
pub(crate) fn clean(field: &'static str, path: &str) -> Result<String, PlanError> {
    let refused = |problem| PlanError::Path {
        field,
        path: shown(path),
        problem,
    };
    without_nul(field, path)?;
    if !path.starts_with('/') {
        return Err(refused("is not absolute"));
    }
    if path.len() > LONGEST {
        return Err(refused("is too long"));
    }
    let mut cleaned = String::with_capacity(path.len());
    for part in path.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." {
            return Err(refused("has a '..'"));
        }
        cleaned.push('/');
        cleaned.push_str(part);
    }
    if cleaned.is_empty() {
        cleaned.push('/');
    }
    Ok(cleaned)
}

/// Returns the destination of a mount as the specification will have it: clean, and not the root.
pub fn clean_destination(path: &str) -> Result<String, PlanError> {
    let cleaned = clean("mount destination", path)?;
    if cleaned == "/" {
        return Err(PlanError::Path {
            field: "mount destination",
            path: shown(path),
            problem: "is the root",
        });
    }
    Ok(cleaned)
}

/// Says whether `path` is `above` or lies below it; both clean.
pub(crate) fn is_within(path: &str, above: &str) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Returns the working directory. An image's may lack the slash in front; a request's may not.
pub(crate) fn working_directory(requested: Option<&str>, image: &str) -> Result<String, PlanError> {
    let refused = |path, problem| PlanError::Path {
        field: "working directory",
        path: shown(path),
        problem,
    };
    let directory = match requested.filter(|directory| !directory.is_empty()) {
        Some(directory) if !directory.starts_with('/') => {
            return Err(refused(directory, "is not absolute"));
        }
        Some(directory) => directory.to_owned(),
        None if image.starts_with('/') => image.to_owned(),
        None => format!("/{image}"),
    };
    without_nul("working directory", &directory)?;
    if directory.len() > LONGEST {
        return Err(refused(&directory, "is too long"));
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn destinations_are_cleaned_or_refused() {
        assert_eq!(clean_destination("/data/").unwrap(), "/data");
        assert_eq!(clean_destination("//a/./b").unwrap(), "/a/b");
        assert_eq!(clean_destination("/..a/b..").unwrap(), "/..a/b..");
        for bad in ["", "data", "/", "//", "/.", "/a/../b", "/..", "/a\0b"] {
            assert!(clean_destination(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn working_directories() {
        assert_eq!(working_directory(None, "").unwrap(), "/");
        assert_eq!(working_directory(None, "srv").unwrap(), "/srv");
        assert_eq!(working_directory(Some(""), "/srv").unwrap(), "/srv");
        assert_eq!(working_directory(Some("/tmp"), "/srv").unwrap(), "/tmp");
        assert!(working_directory(Some("tmp"), "").is_err());
        assert!(working_directory(None, "/a\0").is_err());
    }

    proptest! {
        #[test]
        fn hostile_12_a_cleaned_path_has_no_way_up(path in "[/.a\\PC]{0,30}") {
            if let Ok(cleaned) = clean_destination(&path) {
                prop_assert!(cleaned.starts_with('/') && !cleaned.ends_with('/'));
                prop_assert!(cleaned[1..].split('/').all(|part| !matches!(part, "" | "." | "..")));
                prop_assert_eq!(clean_destination(&cleaned).unwrap(), cleaned);
            }
        }
    }
}
