use std::path::Path;

use clap::Args;
use proto::agent::{ContainerSpec, Device};
use serde_json::Value;

use crate::error::CommandError;
use crate::parse::ParseError;
use crate::parse::key_value::pair;
use crate::parse::limit::device;
use crate::parse::network::namespace;

/// What the container may do.
#[derive(Debug, Args)]
#[command(next_help_heading = "Security")]
pub(in crate::commands) struct Security {
    /// Give it all capabilities and devices
    #[arg(long)]
    privileged: bool,

    /// Add a capability, such as NET_ADMIN, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,

    /// Take away a capability, or ALL
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,

    /// no-new-privileges, seccomp=unconfined|FILE, apparmor=unconfined|PROFILE, or
    /// label=disable|user:USER|role:ROLE|type:TYPE|level:LEVEL
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,

    /// Give it a device of the host: HOST_PATH[:CONTAINER_PATH][:rwm]
    #[arg(long, value_name = "DEVICE", value_parser = device)]
    device: Vec<Device>,

    /// Set a kernel parameter of its namespaces
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    sysctl: Vec<(String, String)>,

    /// Process namespace: host, or private
    #[arg(long, value_name = "MODE", default_value = "private", value_parser = namespace)]
    pid: String,

    /// Namespace for shared memory and queues: host, or private
    #[arg(long, value_name = "MODE", default_value = "private", value_parser = namespace)]
    ipc: String,
}

impl Security {
    pub(super) fn fill(&self, spec: &mut ContainerSpec) -> Result<(), CommandError> {
        spec.privileged = self.privileged;
        spec.cap_add.clone_from(&self.cap_add);
        spec.cap_drop.clone_from(&self.cap_drop);
        let options = self
            .security_opt
            .iter()
            .map(|option| security_option(option));
        spec.security_opt = options
            .collect::<Result<_, _>>()
            .map_err(CommandError::option("--security-opt"))?;
        spec.devices.clone_from(&self.device);
        spec.sysctls = self.sysctl.iter().cloned().collect();
        spec.pid_mode.clone_from(&self.pid);
        spec.ipc_mode.clone_from(&self.ipc);
        Ok(())
    }
}

/// Reads one option; a profile is read from its file, as the agent may not see it.
fn security_option(text: &str) -> Result<String, ParseError> {
    let (name, value) = text.split_once(['=', ':']).unwrap_or((text, "true"));
    match (name, value) {
        ("no-new-privileges", "true") => Ok("no-new-privileges".into()),
        ("seccomp", "unconfined") => Ok("seccomp=unconfined".into()),
        ("seccomp", file) => Ok(format!("seccomp={}", profile(Path::new(file))?)),
        ("apparmor" | "label", value) if text.contains(['=', ':']) && !value.is_empty() => {
            Ok(format!("{name}={value}"))
        }
        _ => Err(ParseError::form(
            text,
            "no-new-privileges, seccomp=FILE, apparmor=PROFILE or label=TEXT",
        )),
    }
}

fn profile(path: &Path) -> Result<String, ParseError> {
    let file = || path.to_owned();
    let text = std::fs::read(path).map_err(|source| ParseError::File {
        path: file(),
        source,
    })?;
    let profile: Value = serde_json::from_slice(&text).map_err(|source| ParseError::Json {
        path: file(),
        source,
    })?;
    Ok(profile.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_sent_whole() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("profile.json");
        std::fs::write(&path, "{ \"defaultAction\": \"SCMP_ACT_ALLOW\" }").expect("written");
        let option = security_option(&format!("seccomp={}", path.display())).expect("a profile");
        assert_eq!(option, r#"seccomp={"defaultAction":"SCMP_ACT_ALLOW"}"#);
        std::fs::write(&path, "{").expect("written");
        let broken = security_option(&format!("seccomp={}", path.display()));
        assert!(matches!(broken, Err(ParseError::Json { .. })));
        assert!(matches!(
            security_option("seccomp=/does/not/exist"),
            Err(ParseError::File { .. })
        ));
    }

    #[test]
    fn other_options_are_words() {
        assert_eq!(
            security_option("no-new-privileges").expect("a word"),
            "no-new-privileges"
        );
        assert_eq!(
            security_option("no-new-privileges:true").expect("a word"),
            "no-new-privileges"
        );
        assert_eq!(
            security_option("seccomp=unconfined").expect("a word"),
            "seccomp=unconfined"
        );
        for (text, sent) in [
            ("apparmor=own", "apparmor=own"),
            ("label:disable", "label=disable"),
            ("label=type:spc_t", "label=type:spc_t"),
        ] {
            assert_eq!(security_option(text).expect("a word"), sent);
        }
        for text in [
            "apparmor",
            "apparmor=",
            "label",
            "no-new-privileges=false",
            "",
        ] {
            assert!(security_option(text).is_err(), "{text}");
        }
    }
}
