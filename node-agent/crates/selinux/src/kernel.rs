//! What the kernel tells of its policy.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use crate::error::LabelError;
use crate::label::Label;

/// Says whether a policy is loaded: its classes are listed then.
pub(crate) fn has_policy(filesystem: &Path) -> bool {
    let classes = std::fs::read_dir(filesystem.join("class"));
    classes.is_ok_and(|mut classes| classes.next().is_some())
}

/// Says whether labels have levels.
pub(crate) fn has_levels(filesystem: &Path) -> bool {
    std::fs::read(filesystem.join("mls")).is_ok_and(|text| text.starts_with(b"1"))
}

/// Refuses a label that the policy does not know.
pub(crate) fn check(filesystem: &Path, label: &Label) -> Result<(), LabelError> {
    let label = label.to_string();
    let mut options = OpenOptions::new();
    let opened = options.write(true).open(filesystem.join("context"));
    // The kernel wants all of it in one call.
    let checked = opened.and_then(|mut file| file.write(label.as_bytes()));
    match checked {
        Ok(_) => Ok(()),
        Err(source) if source.kind() == io::ErrorKind::InvalidInput => {
            Err(LabelError::Unknown { label })
        }
        Err(source) => Err(LabelError::Check { label, source }),
    }
}
