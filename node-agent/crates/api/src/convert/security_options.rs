//! How a person's container is confined, in docker's words.

use agent_core::container::spec::{ApparmorSpec, SeccompSpec};
use agent_core::sandbox::spec::SelinuxSpec;
use tonic::Status;

use crate::status::invalid;

/// What `--security-opt` says.
pub(super) struct SecurityOptions {
    pub(super) no_new_privileges: bool,
    pub(super) seccomp: SeccompSpec,
    pub(super) apparmor: ApparmorSpec,
    pub(super) selinux: SelinuxSpec,
}

impl SecurityOptions {
    /// Reads them; refuses one that is not known.
    pub(super) fn parse(options: &[String]) -> Result<Self, Status> {
        let mut security = Self {
            no_new_privileges: false,
            seccomp: SeccompSpec::Default,
            apparmor: ApparmorSpec::Unsaid,
            selinux: SelinuxSpec::default(),
        };
        for option in options {
            match option.split_once(['=', ':']) {
                None if option == "no-new-privileges" => security.no_new_privileges = true,
                Some(("no-new-privileges", value)) => {
                    security.no_new_privileges = value
                        .parse()
                        .map_err(|_| invalid(format!("{value:?} is neither true nor false")))?;
                }
                Some(("seccomp", "unconfined")) => security.seccomp = SeccompSpec::Unconfined,
                Some(("seccomp", "builtin")) => security.seccomp = SeccompSpec::Default,
                Some(("seccomp", json)) => {
                    security.seccomp = SeccompSpec::Profile(json.to_owned());
                }
                Some(("apparmor", "unconfined")) => security.apparmor = ApparmorSpec::Unconfined,
                Some(("apparmor", name)) if !name.is_empty() => {
                    security.apparmor = ApparmorSpec::Profile(name.to_owned());
                }
                Some(("label", "disable")) => security.selinux = SelinuxSpec::Unconfined,
                Some(("label", part)) if security.label(part) => {}
                _ => {
                    return Err(invalid(format!(
                        "security option {option:?} is not supported by this node"
                    )));
                }
            }
        }
        Ok(security)
    }

    /// Takes a part of an SELinux label, such as `type:spc_t`; says whether it is one.
    fn label(&mut self, part: &str) -> bool {
        let mut wish = self.selinux.clone().wish();
        let Some((name, value)) = part.split_once(':').filter(|(_, value)| !value.is_empty())
        else {
            return false;
        };
        let place = match name {
            "user" => &mut wish.user,
            "role" => &mut wish.role,
            "type" => &mut wish.kind,
            "level" => &mut wish.level,
            _ => return false,
        };
        value.clone_into(place);
        self.selinux = SelinuxSpec::Wanted(wish);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn security_options_are_known_or_refused() {
        let parse = |text: &str| SecurityOptions::parse(&[text.to_owned()]);
        assert!(parse("no-new-privileges").unwrap().no_new_privileges);
        assert!(!parse("no-new-privileges=false").unwrap().no_new_privileges);
        assert_eq!(
            parse("seccomp=unconfined").unwrap().seccomp,
            SeccompSpec::Unconfined
        );
        assert_eq!(
            parse("apparmor=unconfined").unwrap().apparmor,
            ApparmorSpec::Unconfined
        );
        assert_eq!(
            parse("apparmor=x").unwrap().apparmor,
            ApparmorSpec::Profile("x".to_owned())
        );
        assert!(parse("apparmor=").is_err());
        assert_eq!(
            parse("label=disable").unwrap().selinux,
            SelinuxSpec::Unconfined
        );
        for (text, wanted) in [
            ("label=type:spc_t", "::spc_t"),
            ("label:level:s0:c1,c2", ":::s0:c1,c2"),
        ] {
            let SelinuxSpec::Wanted(wish) = parse(text).unwrap().selinux else {
                panic!("{text}");
            };
            assert_eq!(wish.to_string(), wanted);
        }
        for text in ["label=", "label=type", "label=type:", "label=file:x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
