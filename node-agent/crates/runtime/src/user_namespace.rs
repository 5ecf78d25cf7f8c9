//! User namespaces of sandboxes: made by a process that does nothing but live in them for a moment.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use agent_sys::process::{Child, Fork, Forked, Relation, fork, leave};
use agent_sys::procfs::Procfs;
use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::thread::UnshareFlags;

use crate::error::UserNamespaceError;
use crate::maker;

/// A range of ids, and what they are outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdMapping {
    /// First id inside.
    pub inside: u32,
    /// First id outside.
    pub outside: u32,
    /// How many.
    pub length: u32,
}

impl IdMapping {
    /// Returns what an id inside is outside, if it is anything.
    #[must_use]
    pub fn outside_of(mappings: &[Self], id: u32) -> Option<u32> {
        let found = mappings.iter().find_map(|mapping| {
            let offset = id.checked_sub(mapping.inside)?;
            (offset < mapping.length).then(|| mapping.outside.checked_add(offset))
        });
        found.flatten()
    }
}

/// The users of a namespace.
#[derive(Debug, Clone, Copy)]
pub struct IdMappings<'a> {
    /// Of users.
    pub uids: &'a [IdMapping],
    /// Of groups.
    pub gids: &'a [IdMapping],
}

/// A user namespace that processes are to live in.
#[derive(Debug, Clone, Copy)]
pub struct UserNamespace<'a> {
    /// The namespace.
    pub fd: BorrowedFd<'a>,
    /// What its ids are outside.
    pub ids: IdMappings<'a>,
}

impl UserNamespace<'_> {
    /// Returns what a user of the namespace is outside, and a group; ids without a name there stay as they are.
    pub(crate) fn outside_of(&self, (uid, gid): (u32, u32)) -> (u32, u32) {
        (
            IdMapping::outside_of(self.ids.uids, uid).unwrap_or(uid),
            IdMapping::outside_of(self.ids.gids, gid).unwrap_or(gid),
        )
    }
}

/// A new user namespace, and others that it owns.
#[derive(Debug)]
pub struct OwnedNamespaces {
    /// The user namespace.
    pub user: OwnedFd,
    /// The others that were asked for: network, IPC, UTS.
    pub others: [Option<OwnedFd>; 3],
}

/// What the others are called below `/proc/<pid>/ns`.
const OTHERS: [(UnshareFlags, &str); 3] = [
    (UnshareFlags::NEWNET, "net"),
    (UnshareFlags::NEWIPC, "ipc"),
    (UnshareFlags::NEWUTS, "uts"),
];

/// Makes a user namespace with these users, and those of the network, IPC and UTS namespaces that `new` names, owned by it. The
/// caller stays where it is.
///
/// # Errors
/// Names the step that failed; nothing is left then.
pub fn make_user_namespace(
    ids: IdMappings<'_>,
    new: UnshareFlags,
) -> Result<OwnedNamespaces, UserNamespaceError> {
    let (waits, holds) =
        pipe_with(PipeFlags::CLOEXEC).map_err(|errno| UserNamespaceError::Pipe(errno.into()))?;
    let options = Fork {
        new: new | UnshareFlags::NEWUSER,
        cgroup: None,
        relation: Relation::Child,
    };
    let child = match fork(&options).map_err(UserNamespaceError::Fork)? {
        Forked::Child => {
            drop(holds);
            // Until the maker has what it wants, or is gone.
            let _ = rustix::io::read(&waits, &mut [0_u8; 1]);
            leave(0)
        }
        Forked::Parent(child) => child,
    };
    drop(waits);
    let made = set_up(&child, ids, new);
    drop(holds);
    maker::kill(&child.pidfd);
    maker::reap(&child.pidfd);
    made
}

fn set_up(
    child: &Child,
    ids: IdMappings<'_>,
    new: UnshareFlags,
) -> Result<OwnedNamespaces, UserNamespaceError> {
    let made;
    let procfs = match crate::procfs::inherited() {
        Some(inherited) => inherited,
        None => {
            made = Procfs::detached().map_err(UserNamespaceError::Procfs)?;
            &made
        }
    };
    for (file, mappings) in [("uid_map", ids.uids), ("gid_map", ids.gids)] {
        let path = format!("{}/{file}", child.pid);
        procfs
            .write(&path, text(mappings).as_bytes())
            .map_err(|source| UserNamespaceError::Map { file, source })?;
    }
    let open = |name: &'static str| {
        open_namespace(procfs, child.pid, name)
            .map_err(|source| UserNamespaceError::Open { name, source })
    };
    let mut others = [None, None, None];
    for (other, (flag, name)) in others.iter_mut().zip(OTHERS) {
        if new.contains(flag) {
            *other = Some(open(name)?);
        }
    }
    Ok(OwnedNamespaces {
        user: open("user")?,
        others,
    })
}

/// Opens a namespace of a child that has not been waited for.
fn open_namespace(procfs: &Procfs, pid: i32, name: &str) -> io::Result<OwnedFd> {
    // The links in there are followed by nothing but an open of their own names.
    let directory = procfs.open(&format!("{pid}/ns"), OFlags::PATH | OFlags::DIRECTORY)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(&directory, name, flags, Mode::empty())?)
}

/// Returns mappings as the kernel reads them.
fn text(mappings: &[IdMapping]) -> String {
    let line = |mapping: &IdMapping| {
        let IdMapping {
            inside,
            outside,
            length,
        } = mapping;
        format!("{inside} {outside} {length}\n")
    };
    mappings.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_outside_or_none() {
        let mappings = [
            IdMapping {
                inside: 0,
                outside: 100_000,
                length: 10,
            },
            IdMapping {
                inside: 20,
                outside: u32::MAX,
                length: 2,
            },
        ];
        let outside = |id| IdMapping::outside_of(&mappings, id);
        assert_eq!((outside(0), outside(9)), (Some(100_000), Some(100_009)));
        assert_eq!((outside(10), outside(19)), (None, None));
        assert_eq!((outside(20), outside(21)), (Some(u32::MAX), None));
    }

    #[test]
    fn a_map_has_a_line_for_each_range() {
        let mapping = IdMapping {
            inside: 0,
            outside: 7,
            length: 3,
        };
        assert_eq!(text(&[mapping, mapping]), "0 7 3\n0 7 3\n");
    }
}
