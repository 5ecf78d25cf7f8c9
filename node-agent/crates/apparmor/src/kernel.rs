//! What the kernel tells of AppArmor.

use std::path::Path;

use crate::error::ProfileError;

/// Says whether AppArmor confines.
pub(crate) fn is_enabled(sysfs: &Path) -> bool {
    let switch = sysfs.join("module/apparmor/parameters/enabled");
    std::fs::read(switch).is_ok_and(|text| text.starts_with(b"Y"))
}

/// Says whether a profile is loaded.
pub(crate) fn is_loaded(sysfs: &Path, name: &str) -> Result<bool, ProfileError> {
    let path = sysfs.join("kernel/security/apparmor/profiles");
    match std::fs::read(&path) {
        Ok(text) => Ok(lists(&String::from_utf8_lossy(&text), name)),
        Err(source) => Err(ProfileError::List { path, source }),
    }
}

/// Says whether a list of profiles has a name. A line is `<name> (<mode>)`; names may have blanks and parentheses.
fn lists(text: &str, name: &str) -> bool {
    let names = text.lines().filter_map(|line| line.rsplit_once(" ("));
    names.into_iter().any(|(listed, _)| listed == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_all_of_a_line_but_the_mode() {
        let text = "plain (enforce)\nof (two) words (complain)\n/usr/bin/man//filter (enforce)\n";
        for name in ["plain", "of (two) words", "/usr/bin/man//filter"] {
            assert!(lists(text, name), "{name}");
        }
        for name in ["", "plai", "of", "plain (enforce)", "man"] {
            assert!(!lists(text, name), "{name}");
        }
    }
}
