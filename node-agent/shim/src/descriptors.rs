//! The descriptors that came beside a message, taken out by role.

use std::os::fd::OwnedFd;

use proto_shim::FdRole;

use crate::error::RequestError;

/// Descriptors by role; those nobody takes are closed when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Descriptors {
    left: Vec<(i32, OwnedFd)>,
}

impl Descriptors {
    /// Pairs roles and descriptors.
    pub(crate) fn new(roles: &[i32], fds: Vec<OwnedFd>) -> Result<Self, RequestError> {
        if roles.len() != fds.len() {
            return Err(RequestError::Malformed {
                what: "as many descriptors as roles are needed",
            });
        }
        Ok(Self {
            left: roles.iter().copied().zip(fds).collect(),
        })
    }

    /// Takes the first one with `role`.
    pub(crate) fn take(&mut self, role: FdRole) -> Option<OwnedFd> {
        let index = self.left.iter().position(|(has, _)| *has == role as i32)?;
        Some(self.left.remove(index).1)
    }

    /// Takes the first one with `role`, which must be there.
    pub(crate) fn require(
        &mut self,
        role: FdRole,
        what: &'static str,
    ) -> Result<OwnedFd, RequestError> {
        self.take(role).ok_or(RequestError::Malformed { what })
    }

    /// Takes all with `role`, in order.
    pub(crate) fn take_all(&mut self, role: FdRole) -> Vec<OwnedFd> {
        let (taken, left) = std::mem::take(&mut self.left)
            .into_iter()
            .partition(|(has, _)| *has == role as i32);
        self.left = left;
        let taken: Vec<(i32, OwnedFd)> = taken;
        taken.into_iter().map(|(_, fd)| fd).collect()
    }
}
