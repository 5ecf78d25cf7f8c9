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
        let failed = |what| move |error| Failure::io("drop", what, error);
        set_keep_capabilities(true)
            .map_err(|error| failed("the right to lose capabilities")(error.into()))?;
        let held = capabilities(None)
            .map_err(|error| failed("capabilities that are not known")(error.into()))?;
        drop_bounding_except(self.bounding).map_err(failed("capabilities of programs"))?;
        let gids: Vec<Gid> = self
            .user
            .groups
            .iter()
            .map(|gid| Gid::from_raw(*gid))
            .collect();
        set_credentials(
            Uid::from_raw(self.user.uid),
            Gid::from_raw(self.user.gid),
            &gids,
        )
        .map_err(failed("the user's rights"))?;
        // A change of user sets the flag to what the machine has as its default.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(|error| failed("the right to be traced")(error.into()))?;
        if self.new_privileges == NewPrivileges::Allowed && !self.filter.is_empty() {
            // Loading it takes CAP_SYS_ADMIN, which the change of user took out of the effective set.
            let all = CapabilitySets {
                effective: held.permitted,
                permitted: held.permitted,
                inheritable: CapabilitySet::empty(),
            };
            set_capabilities(None, all)
                .map_err(|error| failed("inheritable capabilities")(error.into()))?;
            self.load()?;
        }
        // What we do not have we cannot grant.
        let permitted = self.permitted & held.permitted;
        let ambient = self.ambient & permitted;
        let kept = CapabilitySets {
            effective: self.effective & permitted,
            permitted,
            // Only what the ambient set needs: an inheritable set of more would be handed to programs that ask for it.
            inheritable: ambient,
        };
        set_capabilities(None, kept).map_err(|error| failed("capabilities")(error.into()))?;
        if ambient.is_empty() {
            // `setresuid` away from root, and `capset` without inheritables, have emptied it.
        } else {
            set_ambient(ambient).map_err(failed("ambient capabilities"))?;
        }
        set_keep_capabilities(false).map_err(|error| failed("kept capabilities")(error.into()))?;
        if self.new_privileges == NewPrivileges::Denied {
            set_no_new_privs(true).map_err(|error| failed("new privileges")(error.into()))?;
        }
        Ok(())
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
