//! The user a process runs as, by the files of its image.

use std::io;

use std::path::Path;

use agent_types::user::{self, Lookup, Memberships, User};
use rustix::fs::{FileType, OFlags, fstat};

use super::Step;
use super::in_root::InRoot;
use crate::failure::{Failure, FailureKind};
use crate::request::{GroupFile, UserRequest};

/// Largest /etc/passwd or /etc/group that is read.
const FILE_CAP: u64 = 10 << 20;

/// Finds the user that `request` asks for; `user` of the specification has the numbers that hold without one.
pub(super) fn resolve(
    root: InRoot<'_>,
    request: &UserRequest<'_>,
    numbers: &oci_spec::runtime::User,
) -> Step<User> {
    let passwd = read(root, "/etc/passwd")?;
    let group = read(root, "/etc/group")?;
    let mut supplemental = numbers.additional_gids().clone().unwrap_or_default();
    supplemental.extend_from_slice(request.supplemental_groups);
    let lookup = Lookup {
        text: request.text,
        default_uid: numbers.uid(),
        default_gid: numbers.gid(),
        supplemental: &supplemental,
        group_names: request.group_names,
        memberships: match request.group_file {
            GroupFile::Merge => Memberships::Merge,
            GroupFile::Ignore => Memberships::Ignore,
        },
    };
    user::resolve(&lookup, &passwd, &group).map_err(|error| {
        Failure::invalid("run as", format!("user {:?}", request.text), "")
            .because(error.to_string())
    })
}

/// Reads a file of the image, which may be anything; one that is missing is empty.
fn read(root: InRoot<'_>, path: &'static str) -> Step<Vec<u8>> {
    // Without O_NONBLOCK a FIFO would keep us waiting for its writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let refused = |reason| Failure::invalid("read", path, reason);
    let failed = |error: io::Error| Failure::io("read", path, error).of_kind(FailureKind::Invalid);
    let file = match root.open(Path::new(path), flags) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let status = fstat(&file).map_err(|error| failed(error.into()))?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err(refused("it is not a regular file"));
    }
    let size = u64::try_from(status.st_size).unwrap_or(u64::MAX);
    if size > FILE_CAP {
        return Err(refused("it is larger than 10 MiB"));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    let file = std::fs::File::from(file);
    io::Read::read_to_end(&mut io::Read::take(&file, FILE_CAP + 1), &mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_CAP {
        return Err(refused("it is larger than 10 MiB"));
    }
    Ok(bytes)
}
