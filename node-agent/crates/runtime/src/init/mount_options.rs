//! What the words in a mount's options mean.

use agent_sys::mount::{Change, Depth};
use rustix::mount::{MountAttrFlags as Attribute, MountPropagationFlags as Propagation};

/// Options of one mount of a specification, sorted by what they act on.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct MountOptions {
    /// `bind` or `rbind`.
    pub(super) bind: Option<BindDepth>,
    /// Attributes of the mount.
    pub(super) set: Bits,
    /// Attributes taken away.
    pub(super) clear: Bits,
    /// Attributes of the mount and of all below it.
    pub(super) set_tree: Bits,
    /// Propagation type, and whether it is for all below too.
    pub(super) propagation: Option<(Kind, BindDepth)>,
    /// What is left for the file system.
    pub(super) data: Vec<String>,
}

/// `bind` or `rbind`, and likewise for propagation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BindDepth {
    One,
    Tree,
}

impl From<BindDepth> for Depth {
    fn from(depth: BindDepth) -> Self {
        match depth {
            BindDepth::One => Self::One,
            BindDepth::Tree => Self::Tree,
        }
    }
}

/// Propagation types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Private,
    Slave,
    Shared,
    Unbindable,
}

impl Kind {
    /// Returns the kernel's flag.
    pub(super) const fn flag(self) -> Propagation {
        match self {
            Self::Private => Propagation::PRIVATE,
            Self::Slave => Propagation::DOWNSTREAM,
            Self::Shared => Propagation::SHARED,
            Self::Unbindable => Propagation::UNBINDABLE,
        }
    }
}

/// Attribute bits of `mount_setattr`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bits(u32);

impl Bits {
    fn add(&mut self, attribute: Attribute) {
        self.0 |= attribute.bits();
    }

    fn remove(&mut self, attribute: Attribute) {
        self.0 &= !attribute.bits();
    }

    /// Returns the bits as the kernel's flags.
    pub(super) const fn flags(self) -> Attribute {
        Attribute::from_bits_retain(self.0)
    }
}

/// Reads a propagation word such as `rslave`.
pub(super) fn propagation(word: &str) -> Option<(Kind, BindDepth)> {
    let (kind, depth) = match word.strip_prefix('r') {
        Some(kind) => (kind, BindDepth::Tree),
        None => (word, BindDepth::One),
    };
    let kind = match kind {
        "private" => Kind::Private,
        "slave" => Kind::Slave,
        "shared" => Kind::Shared,
        "unbindable" => Kind::Unbindable,
        _ => return None,
    };
    Some((kind, depth))
}

enum Effect {
    Set(Attribute),
    Clear(Attribute),
}

fn attribute(word: &str) -> Option<Effect> {
    use Effect::{Clear, Set};
    Some(match word {
        "ro" => Set(Attribute::MOUNT_ATTR_RDONLY),
        "rw" => Clear(Attribute::MOUNT_ATTR_RDONLY),
        "nosuid" => Set(Attribute::MOUNT_ATTR_NOSUID),
        "suid" => Clear(Attribute::MOUNT_ATTR_NOSUID),
        "nodev" => Set(Attribute::MOUNT_ATTR_NODEV),
        "dev" => Clear(Attribute::MOUNT_ATTR_NODEV),
        "noexec" => Set(Attribute::MOUNT_ATTR_NOEXEC),
        "exec" => Clear(Attribute::MOUNT_ATTR_NOEXEC),
        "nodiratime" => Set(Attribute::MOUNT_ATTR_NODIRATIME),
        "diratime" => Clear(Attribute::MOUNT_ATTR_NODIRATIME),
        "nosymfollow" => Set(Attribute::MOUNT_ATTR_NOSYMFOLLOW),
        "symfollow" => Clear(Attribute::MOUNT_ATTR_NOSYMFOLLOW),
        "noatime" => Set(Attribute::MOUNT_ATTR_NOATIME),
        "strictatime" => Set(Attribute::MOUNT_ATTR_STRICTATIME),
        "relatime" | "atime" | "norelatime" | "nostrictatime" => {
            Clear(Attribute::MOUNT_ATTR__ATIME)
        }
        _ => return None,
    })
}

impl MountOptions {
    /// Sorts the words of a mount's options.
    pub(super) fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let mut options = Self::default();
        for word in words {
            options.add(word);
        }
        options
    }

    fn add(&mut self, word: &str) {
        if let Some(propagation) = propagation(word) {
            self.propagation = Some(propagation);
            return;
        }
        match attribute(word) {
            Some(Effect::Set(attribute)) => {
                self.clear.remove(attribute);
                self.set.add(attribute);
                return;
            }
            Some(Effect::Clear(attribute)) => {
                self.set.remove(attribute);
                self.clear.add(attribute);
                return;
            }
            None => {}
        }
        // `rro`, `rnosuid`, ...: the same for the whole tree.
        if let Some(Effect::Set(attribute)) = word.strip_prefix('r').and_then(attribute) {
            self.set_tree.add(attribute);
            return;
        }
        match word {
            "bind" => self.bind = Some(BindDepth::One),
            "rbind" => self.bind = Some(BindDepth::Tree),
            "defaults" | "" => {}
            _ => self.data.push(word.to_owned()),
        }
    }

    /// Returns the change that `set` and `clear` ask for.
    pub(super) const fn attributes(&self) -> Change {
        Change {
            set: self.set.flags(),
            clear: self.clear.flags(),
            ..Change::none()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted_by_what_they_act_on() {
        let options = MountOptions::parse(["rbind", "ro", "nosuid", "rslave", "rro", "size=64k"]);
        assert_eq!(options.bind, Some(BindDepth::Tree));
        let expected = Attribute::MOUNT_ATTR_RDONLY | Attribute::MOUNT_ATTR_NOSUID;
        assert_eq!(options.set.flags(), expected);
        assert_eq!(options.set_tree.flags(), Attribute::MOUNT_ATTR_RDONLY);
        assert_eq!(options.propagation, Some((Kind::Slave, BindDepth::Tree)));
        assert_eq!(options.data, ["size=64k"]);
    }

    #[test]
    fn the_later_of_two_opposites_holds() {
        let options = MountOptions::parse(["ro", "rw"]);
        assert!(options.set.flags().is_empty());
        assert_eq!(options.clear.flags(), Attribute::MOUNT_ATTR_RDONLY);
    }

    #[test]
    fn words_that_begin_with_r_are_not_cut() {
        assert_eq!(MountOptions::parse(["relatime"]).data, [""; 0]);
        assert!(MountOptions::parse(["rw"]).set_tree.flags().is_empty());
        assert_eq!(MountOptions::parse(["resuid=1"]).data, ["resuid=1"]);
    }
}
