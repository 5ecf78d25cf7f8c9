//! The rights a container's process keeps.

use agent_sys::process::{
    capability_set, drop_bounding_except, load_seccomp, set_ambient, set_credentials,
};
use agent_types::user::User;
use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, Process};
use rustix::process::{DumpableBehavior, Gid, Uid, set_dumpable_behavior};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_keep_capabilities,
    set_no_new_privs,
};

use super::Step;
use crate::failure::Failure;

/// Whether a program may gain rights when it is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NewPrivileges {
    Allowed,
    Denied,
}

/// User, capabilities and system call filter of one process.
#[derive(Debug)]
pub(super) struct Credentials<'a> {
    user: User,
    bounding: CapabilitySet,
    effective: CapabilitySet,
    permitted: CapabilitySet,
    ambient: CapabilitySet,
    new_privileges: NewPrivileges,
    filter: &'a [u8],
}

impl<'a> Credentials<'a> {
    /// Reads what a specification grants.
    pub(super) fn new(user: User, process: &Process, filter: &'a [u8]) -> Self {
        let sets = process.capabilities().as_ref();
        let set = |get: fn(&LinuxCapabilities) -> &Option<Capabilities>| {
            let chosen = sets
                .and_then(|sets| get(sets).as_ref())
                .into_iter()
                .flatten();
            capability_set(chosen.map(|capability| number(*capability)))
        };
        Self {
            user,
            bounding: set(LinuxCapabilities::bounding),
            effective: set(LinuxCapabilities::effective),
            permitted: set(LinuxCapabilities::permitted),
            ambient: set(LinuxCapabilities::ambient),
            new_privileges: if process.no_new_privileges() == Some(true) {
                NewPrivileges::Denied
            } else {
                NewPrivileges::Allowed
            },
            filter,
        }
    }

    /// Returns those of a process without any right.
    pub(super) const fn none(user: User, filter: &'a [u8]) -> Self {
        Self {
            user,
            bounding: CapabilitySet::empty(),
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            ambient: CapabilitySet::empty(),
            new_privileges: NewPrivileges::Denied,
            filter,
        }
    }

    /// Gives up everything else. Where new privileges are denied, the filter is loaded by [`Self::seal`].
    pub(super) fn assume(&self) -> Step<()> {
        let failed = |error| Failure::io("drop", "capabilities", error);
        let held = capabilities(None)
            .map_err(|error| failed(error.into()))?
            .permitted;
        drop_bounding_except(self.bounding).map_err(failed)?;
        // Without this the change of user would empty the permitted set, and what is granted could not be kept.
        set_keep_capabilities(true).map_err(|error| failed(error.into()))?;
        self.change_user()?;
        if self.new_privileges == NewPrivileges::Allowed && !self.filter.is_empty() {
            self.load_with(held)?;
        }
        // What we do not have we cannot grant.
        let permitted = self.permitted & held;
        let ambient = self.ambient & permitted;
        let kept = CapabilitySets {
            effective: self.effective & permitted,
            permitted,
            // Only what the ambient set needs: an inheritable set of more would be handed to programs that ask for it.
            inheritable: ambient,
        };
        set_capabilities(None, kept).map_err(|error| failed(error.into()))?;
        set_ambient(ambient).map_err(failed)?;
        set_keep_capabilities(false).map_err(|error| failed(error.into()))?;
        if self.new_privileges == NewPrivileges::Denied {
            set_no_new_privs(true).map_err(|error| Failure::io("deny", "new privileges", error))?;
        }
        Ok(())
    }

    fn change_user(&self) -> Step<()> {
        let User {
            uid, gid, groups, ..
        } = &self.user;
        let gids: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        set_credentials(Uid::from_raw(*uid), Gid::from_raw(*gid), &gids)
            .map_err(|error| Failure::io("change to", format!("user {uid}:{gid}"), error))?;
        // The change has set the flag to the machine's default.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(|error| Failure::io("drop", "the right to be traced", error))
    }

    /// Loads the filter with `CAP_SYS_ADMIN`, which the change of user took out of the effective set.
    fn load_with(&self, held: CapabilitySet) -> Step<()> {
        let all = CapabilitySets {
            effective: held,
            permitted: held,
            inheritable: CapabilitySet::empty(),
        };
        set_capabilities(None, all).map_err(|error| Failure::io("raise", "capabilities", error))?;
        self.load()
    }

    /// Loads the filter if [`Self::assume`] has not: the last step before the program.
    pub(super) fn seal(&self) -> Step<()> {
        if self.new_privileges == NewPrivileges::Denied && !self.filter.is_empty() {
            self.load()?;
        }
        Ok(())
    }

    fn load(&self) -> Step<()> {
        load_seccomp(self.filter).map_err(|error| {
            let shown = format!("the seccomp filter of {} bytes", self.filter.len());
            Failure::io("load", shown, error)
        })
    }

    /// Returns whom the process runs as.
    pub(super) const fn user(&self) -> &User {
        &self.user
    }
}

/// Returns the kernel's number of a capability (`linux/capability.h`).
const fn number(capability: Capability) -> u32 {
    match capability {
        Capability::Chown => 0,
        Capability::DacOverride => 1,
        Capability::DacReadSearch => 2,
        Capability::Fowner => 3,
        Capability::Fsetid => 4,
        Capability::Kill => 5,
        Capability::Setgid => 6,
        Capability::Setuid => 7,
        Capability::Setpcap => 8,
        Capability::LinuxImmutable => 9,
        Capability::NetBindService => 10,
        Capability::NetBroadcast => 11,
        Capability::NetAdmin => 12,
        Capability::NetRaw => 13,
        Capability::IpcLock => 14,
        Capability::IpcOwner => 15,
        Capability::SysModule => 16,
        Capability::SysRawio => 17,
        Capability::SysChroot => 18,
        Capability::SysPtrace => 19,
        Capability::SysPacct => 20,
        Capability::SysAdmin => 21,
        Capability::SysBoot => 22,
        Capability::SysNice => 23,
        Capability::SysResource => 24,
        Capability::SysTime => 25,
        Capability::SysTtyConfig => 26,
        Capability::Mknod => 27,
        Capability::Lease => 28,
        Capability::AuditWrite => 29,
        Capability::AuditControl => 30,
        Capability::Setfcap => 31,
        Capability::MacOverride => 32,
        Capability::MacAdmin => 33,
        Capability::Syslog => 34,
        Capability::WakeAlarm => 35,
        Capability::BlockSuspend => 36,
        Capability::AuditRead => 37,
        Capability::Perfmon => 38,
        Capability::Bpf => 39,
        Capability::CheckpointRestore => 40,
    }
}
