//! A request's mount in the specification's words, and the options it may have.

use oci_spec::runtime::Mount;

use super::{MountPlan, MountSource, Propagation, defaults};
use crate::error::{PlanError, shown};
use crate::path::clean;

/// Puts a request's mount into the specification's words.
pub(super) fn to_spec(mount: &MountPlan, destination: &str) -> Result<Mount, PlanError> {
    match &mount.source {
        MountSource::Bind(source) => {
            let source = clean("mount source", source)?;
            let mut options = vec!["rbind", if mount.readonly { "ro" } else { "rw" }];
            if mount.recursive_readonly {
                options.push("rro");
            }
            options.push(match mount.propagation {
                Propagation::Private => "rprivate",
                Propagation::HostToContainer => "rslave",
                Propagation::Bidirectional => "rshared",
            });
            let mut options: Vec<_> = options.into_iter().map(str::to_owned).collect();
            options.extend(attributes(mount, destination)?);
            Ok(defaults::mount(destination, "bind", &source, options))
        }
        MountSource::Image(name) => {
            let fixed = ["bind", "ro", "nosuid", "nodev", "noexec", "rprivate"];
            let mut options: Vec<_> = fixed.map(str::to_owned).into();
            options.extend(attributes(mount, destination)?);
            Ok(defaults::mount(destination, "bind", name, options))
        }
        MountSource::Tmpfs { size, mode } => {
            let options = &mount.options;
            let mut all = vec!["nosuid".to_owned(), "nodev".to_owned()];
            if !options.iter().any(|option| option == "exec") {
                all.push("noexec".to_owned());
            }
            for option in options {
                check_tmpfs_option(option, destination)?;
            }
            // A later option overrides an earlier one.
            all.extend(options.iter().cloned());
            all.extend(size.map(|size| format!("size={size}")));
            all.extend(mode.map(|mode| format!("mode={mode:o}")));
            if mount.readonly {
                all.push("ro".to_owned());
            }
            Ok(defaults::mount(destination, "tmpfs", "tmpfs", all))
        }
    }
}

/// Attributes that a caller may ask for; a mount that is only read stays so.
const ATTRIBUTES: [&str; 14] = [
    "ro",
    "exec",
    "noexec",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "atime",
    "noatime",
    "relatime",
    "strictatime",
    "diratime",
    "nodiratime",
    "nosymfollow",
];

/// What loosens an image's mount, whose content nobody vouches for.
const LOOSER: [&str; 3] = ["exec", "suid", "dev"];

/// Returns the further options of a mount of something that exists; refuses any that is not an
/// attribute.
fn attributes<'a>(
    mount: &'a MountPlan,
    destination: &str,
) -> Result<impl Iterator<Item = String> + use<'a>, PlanError> {
    let is_image = matches!(mount.source, MountSource::Image(_));
    let allowed = |option: &&String| {
        let option = option.as_str();
        ATTRIBUTES.contains(&option) && !(is_image && LOOSER.contains(&option))
    };
    match mount.options.iter().find(|option| !allowed(option)) {
        Some(option) => Err(PlanError::MountOption {
            destination: destination.to_owned(),
            option: shown(option),
        }),
        None => Ok(mount.options.iter().cloned()),
    }
}

/// Lets single options of tmpfs pass, none that could be read as two.
fn check_tmpfs_option(option: &str, destination: &str) -> Result<(), PlanError> {
    const FLAGS: [&str; 13] = [
        "ro", "rw", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "atime", "noatime",
        "relatime", "sync", "dirsync",
    ];
    const VALUES: [&str; 6] = ["size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"];
    let plain = |value: &str| {
        !value.is_empty()
            && value
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'%')
    };
    let known = match option.split_once('=') {
        Some((name, value)) => VALUES.contains(&name) && plain(value),
        None => FLAGS.contains(&option),
    };
    if known {
        return Ok(());
    }
    Err(PlanError::MountOption {
        destination: destination.to_owned(),
        option: shown(option),
    })
}
