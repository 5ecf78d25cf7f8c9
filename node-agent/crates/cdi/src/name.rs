//! Names of devices and of their kinds.

use std::fmt;
use std::str::FromStr;

use crate::error::ResolveError;

/// `vendor.com/class=device`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceName {
    /// `vendor.com/class`.
    pub(crate) kind: String,
    /// Its name within the kind.
    pub(crate) device: String,
}

impl DeviceName {
    /// Puts a name together; `None` where the device's part is none.
    pub(crate) fn of(kind: &str, device: &str) -> Option<Self> {
        is_device(device).then(|| Self {
            kind: kind.to_owned(),
            device: device.to_owned(),
        })
    }
}

impl FromStr for DeviceName {
    type Err = ResolveError;

    fn from_str(text: &str) -> Result<Self, ResolveError> {
        let refused = || ResolveError::Name {
            name: text.chars().take(200).collect(),
        };
        let (kind, device) = text.split_once('=').ok_or_else(refused)?;
        if !is_kind(kind) {
            return Err(refused());
        }
        Self::of(kind, device).ok_or_else(refused)
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind, self.device)
    }
}

/// Says whether a text is `vendor/class`.
pub(crate) fn is_kind(text: &str) -> bool {
    let Some((vendor, class)) = text.split_once('/') else {
        return false;
    };
    let letter = |text: &str| text.starts_with(|c: char| c.is_ascii_alphabetic());
    letter(vendor) && letter(class) && is_word(vendor, "_-.") && is_word(class, "_-")
}

fn is_device(text: &str) -> bool {
    is_word(text, "_-.:")
}

/// Says whether a text is made of letters, digits and some marks, none of these first or last.
fn is_word(text: &str, marks: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(edge)
        && text.ends_with(edge)
        && text.chars().all(|c| edge(c) || marks.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_have_a_vendor_a_class_and_a_device() {
        for good in [
            "vendor.com/gpu=0",
            "a/b=c",
            "nvidia.com/mig-dev=0:1",
            "v-1.x/c_2=all",
        ] {
            assert_eq!(good.parse::<DeviceName>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "gpu",
            "vendor.com/gpu",
            "vendor.com=0",
            "/gpu=0",
            "vendor.com/=0",
            "1v/gpu=0",
            "vendor./gpu=0",
            "vendor.com/gpu=",
            "vendor.com/gpu=-x",
            "vendor.com/g/pu=0",
            "vendor.com/gpu=a b",
            "vendor.com/gpu=a=b",
            "vendor.com/g.pu=0",
            "ü/gpu=0",
        ] {
            assert!(bad.parse::<DeviceName>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_name_is_accepted_again(text in "[a-z0-9./=:_-]{0,20}") {
            if let Ok(name) = text.parse::<DeviceName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
