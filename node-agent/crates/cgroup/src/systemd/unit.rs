//! Starting, limiting and stopping units.

use std::sync::Arc;

use agent_sys::process::StandIn;
use rustix::io::Errno;

use super::bus::Bus;
use super::property::{self, Property};
use super::{SystemdError, of_limits};
use crate::tree::Inner;
use crate::{CgroupPath, DeviceRules, Limits, Version, file};

const SCOPE: &str = ".scope";
const SLICE: &str = ".slice";

/// How often a unit that vanishes while it is joined is started again.
const ATTEMPTS: usize = 4;

/// Whether a unit was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Started {
    Now,
    Before,
}

/// Keeps a scope from ending while it has no process of its own yet.
#[derive(Debug, Clone)]
pub struct Hold {
    _process: Arc<StandIn>,
}

/// systemd, as the maker of cgroups.
#[derive(Debug)]
pub(crate) struct Systemd {
    bus: Bus,
    prefix: String,
}

impl Systemd {
    pub(crate) fn new(prefix: String) -> Self {
        Self {
            bus: Bus::default(),
            prefix,
        }
    }

    /// Returns the name of a container's scope.
    pub(crate) fn scope_name(&self, id: &str) -> String {
        format!("{}-{id}{SCOPE}", self.prefix)
    }

    /// Returns the id in the name of a container's scope.
    pub(crate) fn id_of_scope<'a>(&self, name: &'a str) -> Option<&'a str> {
        let rest = name.strip_prefix(&self.prefix)?;
        rest.strip_prefix('-')?.strip_suffix(SCOPE)
    }

    /// Starts a container's scope with its limits.
    pub(crate) fn start_scope(
        &self,
        tree: &Inner,
        path: &CgroupPath,
        limits: &Limits,
        devices: &DeviceRules,
    ) -> Result<Hold, SystemdError> {
        // The stand-in counts as one until it ends.
        let limits = Limits {
            pids: None,
            ..limits.clone()
        };
        let mut properties = of_limits(tree.version(), &limits, &Limits::default());
        if tree.version() == Version::V1 {
            properties.extend(property::of_devices(devices));
        }
        self.begin_scope(tree, path, properties)
    }

    /// Starts a scope without limits, or joins it where it is there already.
    pub(crate) fn join_scope(&self, tree: &Inner, path: &CgroupPath) -> Result<Hold, SystemdError> {
        self.begin_scope(tree, path, Vec::new())
    }

    /// Starts a scope with a stand-in, or puts one into it: a call that was repeated on another
    /// connection may have done its work the first time.
    fn begin_scope(
        &self,
        tree: &Inner,
        path: &CgroupPath,
        limits: Vec<Property>,
    ) -> Result<Hold, SystemdError> {
        let unit = path.name();
        let process = stand_in(unit)?;
        let mut properties = self.scope(path, process.pid());
        properties.extend(limits);
        let mut outcome = Err(Errno::NOENT);
        for _ in 0..ATTEMPTS {
            outcome = match self.start(unit, &properties)? {
                Started::Now => Ok(()),
                Started::Before => enter(tree, path, process.pid()),
            };
            // It ended between the two steps.
            if !matches!(outcome, Err(Errno::NOENT | Errno::NODEV)) {
                break;
            }
        }
        outcome.map_err(|source| SystemdError::Enter {
            unit: unit.to_owned(),
            source,
        })?;
        Ok(Hold {
            _process: Arc::new(process),
        })
    }

    fn scope(&self, path: &CgroupPath, pid: u32) -> Vec<Property> {
        let slice = path
            .parent()
            .map_or_else(|| "-.slice".to_owned(), |parent| parent.name().to_owned());
        let description = format!("{} container", self.prefix);
        property::of_scope(&slice, description, pid)
    }

    /// Starts a slice, unless it is there.
    pub(crate) fn start_slice(&self, path: &CgroupPath) -> Result<Started, SystemdError> {
        let description = format!("{} pod", self.prefix);
        self.start(path.name(), &property::of_pod(description))
    }

    fn start(&self, unit: &str, properties: &[Property]) -> Result<Started, SystemdError> {
        let further: &[(&str, Vec<Property>)] = &[];
        let body = (unit, "fail", properties, further);
        match self.bus.run("StartTransientUnit", unit, &body) {
            Ok(()) => Ok(Started::Now),
            Err(error) if is_named(&error, "org.freedesktop.systemd1.UnitExists") => {
                Ok(Started::Before)
            }
            Err(error) => Err(error),
        }
    }

    /// Gives a unit other properties, until it ends.
    pub(crate) fn set(&self, path: &CgroupPath, all: &[Property]) -> Result<(), SystemdError> {
        let unit = path.name();
        // One that was made before systemd was asked is none of its units.
        if all.is_empty() || !is_unit(unit) {
            return Ok(());
        }
        self.bus.call("SetUnitProperties", unit, &(unit, true, all))
    }

    /// Has systemd forget a unit whose cgroup is gone; one that it has forgotten is fine.
    pub(crate) fn forget(&self, path: &CgroupPath) {
        let unit = path.name();
        if !is_unit(unit) {
            return;
        }
        match self.bus.run("StopUnit", unit, &(unit, "replace")) {
            Ok(()) => {}
            Err(error) if is_named(&error, "org.freedesktop.systemd1.NoSuchUnit") => {}
            Err(error) => {
                tracing::warn!(path = path.as_str(), error = %error, "unit was not stopped");
            }
        }
    }
}

fn is_unit(name: &str) -> bool {
    name.ends_with(SCOPE) || name.ends_with(SLICE)
}

fn stand_in(unit: &str) -> Result<StandIn, SystemdError> {
    StandIn::start().map_err(|source| SystemdError::Hold {
        unit: unit.to_owned(),
        source,
    })
}

/// Moves a process into a cgroup, in every hierarchy.
fn enter(tree: &Inner, path: &CgroupPath, pid: u32) -> Result<(), Errno> {
    for hierarchy in tree.hierarchies().iter().filter(|h| h.contains(path)) {
        let name = format!("{}/cgroup.procs", path.relative());
        file::write(hierarchy.root(), &name, &pid.to_string())?;
    }
    // Everywhere gone is gone too.
    let there = tree.hierarchies().iter().any(|h| h.contains(path));
    if there { Ok(()) } else { Err(Errno::NOENT) }
}

fn is_named(error: &SystemdError, name: &str) -> bool {
    matches!(error, SystemdError::Call { source, .. }
        if matches!(&**source, zbus::Error::MethodError(known, _, _) if known.as_str() == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_in_its_scopes_name_and_in_no_other() {
        let systemd = Systemd::new("node-agent".to_owned());
        let name = systemd.scope_name("0abc");
        assert_eq!(name, "node-agent-0abc.scope");
        assert_eq!(systemd.id_of_scope(&name), Some("0abc"));
        assert_eq!(systemd.id_of_scope("node-agent.scope"), None);
        assert_eq!(systemd.id_of_scope("other-0abc.scope"), None);
        assert_eq!(systemd.id_of_scope("node-agent-0abc.slice"), None);
    }
}
