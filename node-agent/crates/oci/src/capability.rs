//! Capabilities by name and number, and which a container gets.

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities};

use crate::CapabilityPlan;
use crate::error::{PlanError, shown};

/// Every capability, at the place of its number.
const BY_NUMBER: [Capability; 41] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::DacReadSearch,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::LinuxImmutable,
    Capability::NetBindService,
    Capability::NetBroadcast,
    Capability::NetAdmin,
    Capability::NetRaw,
    Capability::IpcLock,
    Capability::IpcOwner,
    Capability::SysModule,
    Capability::SysRawio,
    Capability::SysChroot,
    Capability::SysPtrace,
    Capability::SysPacct,
    Capability::SysAdmin,
    Capability::SysBoot,
    Capability::SysNice,
    Capability::SysResource,
    Capability::SysTime,
    Capability::SysTtyConfig,
    Capability::Mknod,
    Capability::Lease,
    Capability::AuditWrite,
    Capability::AuditControl,
    Capability::Setfcap,
    Capability::MacOverride,
    Capability::MacAdmin,
    Capability::Syslog,
    Capability::WakeAlarm,
    Capability::BlockSuspend,
    Capability::AuditRead,
    Capability::Perfmon,
    Capability::Bpf,
    Capability::CheckpointRestore,
];

/// What docker and containerd give a container that asks for nothing.
const DEFAULT: [Capability; 14] = [
    Capability::AuditWrite,
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Mknod,
    Capability::NetBindService,
    Capability::NetRaw,
    Capability::Setfcap,
    Capability::Setgid,
    Capability::Setpcap,
    Capability::Setuid,
    Capability::SysChroot,
];

const ALL: &str = "ALL";

/// A set as one number: a bit for each capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Set(pub(crate) u64);

impl Set {
    fn of(capabilities: &[Capability]) -> Self {
        capabilities
            .iter()
            .fold(Self(0), |set, c| Self(set.0 | bit(*c)))
    }

    /// Returns all up to the highest the kernel knows; 0 stands for all that have a name here.
    pub(crate) fn all(last: u8) -> Self {
        let known = usize::from(last).saturating_add(1).min(BY_NUMBER.len());
        Self::of(if last == 0 {
            &BY_NUMBER
        } else {
            &BY_NUMBER[..known]
        })
    }

    /// Returns the set in the specification's terms.
    fn to_spec(self) -> Capabilities {
        BY_NUMBER
            .into_iter()
            .filter(|c| self.0 & bit(*c) != 0)
            .collect()
    }

    /// Returns the set that the specification has.
    pub(crate) fn of_spec(capabilities: Option<&Capabilities>) -> Self {
        let listed = capabilities.into_iter().flatten();
        listed.fold(Self(0), |set, c| Self(set.0 | bit(*c)))
    }
}

fn bit(capability: Capability) -> u64 {
    let number = BY_NUMBER.iter().position(|c| *c == capability);
    number.map_or(0, |number| 1 << number)
}

/// Finds a capability by its name, with or without `CAP_`, in any case.
fn named(name: &str, known: Set) -> Result<Set, PlanError> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
    let found = short
        .parse::<Capability>()
        .ok()
        .map(|c| Set(bit(c) & known.0));
    match found {
        Some(set) if set.0 != 0 && !short.is_empty() => Ok(set),
        _ => Err(PlanError::Capability { name: shown(name) }),
    }
}

/// Returns the union of the names, and whether `ALL` is among them.
fn listed(names: &[String], known: Set) -> Result<(Set, bool), PlanError> {
    let mut union = Set(0);
    let mut all = false;
    for name in names {
        if name.eq_ignore_ascii_case(ALL) {
            all = true;
        } else {
            union = Set(union.0 | named(name, known)?.0);
        }
    }
    Ok((union, all))
}

/// Returns what the container has, and what of it is ambient.
pub(crate) fn granted(
    plan: &CapabilityPlan,
    privileged: bool,
    last: u8,
) -> Result<(Set, Set), PlanError> {
    let known = Set::all(last);
    let (add, add_all) = listed(&plan.add, known)?;
    let (drop, drop_all) = listed(&plan.drop, known)?;
    let (ambient, ambient_all) = listed(&plan.ambient, known)?;
    if privileged {
        return Ok((known, ambient));
    }
    let base = match (add_all, drop_all) {
        (_, true) => Set(0),
        (true, false) => known,
        (false, false) => Set(Set::of(&DEFAULT).0 & known.0),
    };
    let set = Set((base.0 | add.0 | ambient.0) & !drop.0);
    let ambient = if ambient_all {
        set
    } else {
        Set(ambient.0 & set.0)
    };
    Ok((set, ambient))
}

/// Returns the specification's five sets. Inheritable stays empty but for what is ambient, which
/// the kernel ties to it: a program with file capabilities must not find more there.
pub(crate) fn to_spec(set: Set, ambient: Set) -> LinuxCapabilities {
    let mut capabilities = LinuxCapabilities::default();
    capabilities
        .set_bounding(Some(set.to_spec()))
        .set_effective(Some(set.to_spec()))
        .set_permitted(Some(set.to_spec()))
        .set_inheritable(Some(ambient.to_spec()))
        .set_ambient(Some(ambient.to_spec()));
    capabilities
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LAST: u8 = 40;

    fn plan(add: &[&str], drop: &[&str]) -> CapabilityPlan {
        let strings = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        CapabilityPlan {
            add: strings(add),
            drop: strings(drop),
            ambient: Vec::new(),
        }
    }

    fn set(add: &[&str], drop: &[&str]) -> Set {
        granted(&plan(add, drop), false, LAST).unwrap().0
    }

    #[test]
    fn the_numbers_are_the_kernels() {
        assert_eq!(bit(Capability::Chown), 1);
        assert_eq!(bit(Capability::SysAdmin), 1 << 21);
        assert_eq!(bit(Capability::Mknod), 1 << 27);
        assert_eq!(bit(Capability::CheckpointRestore), 1 << 40);
        assert_eq!(Set::all(0), Set::all(40));
        assert_eq!(Set::all(63), Set::all(40));
        assert_eq!(Set::all(37).0, (1 << 38) - 1);
        // Docker's default set, as its containers show it in /proc/self/status.
        assert_eq!(set(&[], &[]).0, 0xa804_25fb);
    }

    #[test]
    fn adding_and_dropping() {
        let default = set(&[], &[]);
        assert_eq!(
            set(&["NET_ADMIN"], &[]).0,
            default.0 | bit(Capability::NetAdmin)
        );
        assert_eq!(set(&["cap_net_admin"], &[]).0, set(&["NET_ADMIN"], &[]).0);
        assert_eq!(set(&["KILL"], &["all"]).0, bit(Capability::Kill));
        assert_eq!(
            set(&["ALL"], &["SYS_ADMIN"]).0,
            Set::all(LAST).0 & !bit(Capability::SysAdmin)
        );
        assert_eq!(set(&["ALL"], &["ALL"]).0, 0);
        assert_eq!(
            set(&["KILL"], &["KILL"]).0,
            default.0 & !bit(Capability::Kill)
        );
        assert_eq!(
            granted(&plan(&[], &["ALL"]), true, LAST).unwrap().0,
            Set::all(LAST)
        );
    }

    #[test]
    fn unknown_names_are_refused_also_those_of_newer_kernels() {
        for bad in ["", "CAP_", "NOPE", "CAP_CAP_KILL", "KILL ", "SYS-ADMIN"] {
            assert!(granted(&plan(&[bad], &[]), false, LAST).is_err(), "{bad:?}");
            assert!(granted(&plan(&[], &[bad]), false, LAST).is_err(), "{bad:?}");
        }
        assert!(granted(&plan(&["BPF"], &[]), false, 37).is_err());
    }

    #[test]
    fn hostile_09_inheritable_is_empty() {
        let (set, ambient) = granted(&plan(&["ALL"], &[]), true, LAST).unwrap();
        let spec = to_spec(set, ambient);
        assert_eq!(spec.inheritable().as_ref().unwrap().len(), 0);
        assert_eq!(spec.ambient().as_ref().unwrap().len(), 0);
        assert_eq!(spec.bounding().as_ref().unwrap().len(), 41);
    }

    proptest! {
        #[test]
        fn every_number_has_a_name_that_finds_it(number in 0_usize..41, prefix in any::<bool>()) {
            let name = format!("{}{}", if prefix { "CAP_" } else { "" }, BY_NUMBER[number]);
            prop_assert_eq!(named(&name, Set::all(LAST)).unwrap().0, 1 << number);
        }
    }
}
