//! The AppArmor profile of a container; blocking, as one may have to be loaded.

use super::error::SpecError;
use super::spec::{ApparmorSpec, ContainerSpec};
use crate::services::Services;

/// Refuses a profile that is not to be had.
pub(super) fn check(services: &Services, spec: &ContainerSpec) -> Result<(), SpecError> {
    match &spec.apparmor {
        ApparmorSpec::Profile(name) => services.apparmor.check(name)?,
        ApparmorSpec::Default if !spec.switches.privileged => {
            services.apparmor.default_profile()?;
        }
        ApparmorSpec::Default | ApparmorSpec::Unsaid | ApparmorSpec::Unconfined => {}
    }
    Ok(())
}

/// Returns the profile that a container is confined by; `None`: none. The node's own is not for a privileged container.
pub(super) fn profile(services: &Services, spec: &ContainerSpec) -> Option<String> {
    match &spec.apparmor {
        ApparmorSpec::Profile(name) => Some(name.clone()),
        ApparmorSpec::Unsaid | ApparmorSpec::Default if !spec.switches.privileged => {
            // Where it could not be loaded, that was said at the start, and who insists on it is refused.
            let name = services.apparmor.default_profile().ok().flatten();
            name.map(str::to_owned)
        }
        ApparmorSpec::Unsaid | ApparmorSpec::Default | ApparmorSpec::Unconfined => None,
    }
}
