//! What a plugin is told: its environment, and the configuration it reads from standard input.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::attachment::Attachment;
use crate::config::{NetworkConfig, PluginConfig};
use crate::plugin::Command;

/// Where plugins find the programs that they run themselves.
const PROGRAMS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Key of the attachments that GC must leave alone.
const VALID_ATTACHMENTS: &str = "cni.dev/valid-attachments";

/// What a plugin is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) command: Command,
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) input: Value,
}

impl Request {
    /// Returns a request about a sandbox.
    ///
    /// `netns` is the namespace's path while the namespace is there; `previous` is the result
    /// of the plugin before (ADD), or of the whole chain.
    pub(crate) fn about(
        command: Command,
        attachment: &Attachment,
        plugin: &PluginConfig,
        netns: Option<&Path>,
        previous: Option<&Value>,
    ) -> Self {
        let network = &attachment.network;
        let mut input = base(network, plugin);
        let told = attachment.capabilities.for_plugin(plugin);
        if !told.is_empty() {
            input.insert("runtimeConfig".to_owned(), Value::Object(told));
        }
        let wanted = match command {
            Command::Del => network.version.has_check(),
            _ => network.version.has_chains(),
        };
        if let Some(previous) = previous.filter(|_| wanted) {
            input.insert("prevResult".to_owned(), previous.clone());
        }
        let args: Vec<String> = attachment
            .args
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let mut environment = vec![
            ("CNI_CONTAINERID", attachment.sandbox.as_str().to_owned()),
            ("CNI_IFNAME", attachment.interface.clone()),
            ("CNI_ARGS", args.join(";")),
        ];
        if let Some(netns) = netns {
            environment.push(("CNI_NETNS", netns.display().to_string()));
        }
        Self {
            command,
            environment,
            input: Value::Object(input),
        }
    }

    /// Returns the question whether a plugin is ready.
    pub(crate) fn status(network: &NetworkConfig, plugin: &PluginConfig) -> Self {
        Self {
            command: Command::Status,
            environment: Vec::new(),
            input: Value::Object(base(network, plugin)),
        }
    }

    /// Returns the order to forget every attachment that is not one of `valid`.
    pub(crate) fn gc(
        network: &NetworkConfig,
        plugin: &PluginConfig,
        valid: &[&Attachment],
    ) -> Self {
        let mut input = base(network, plugin);
        let valid = valid.iter().map(|attachment| {
            json!({"containerID": attachment.sandbox.as_str(), "ifname": attachment.interface})
        });
        input.insert(VALID_ATTACHMENTS.to_owned(), valid.collect());
        Self {
            command: Command::Gc,
            environment: Vec::new(),
            input: Value::Object(input),
        }
    }

    /// Returns the question which versions a plugin speaks.
    pub(crate) fn version(network: &NetworkConfig) -> Self {
        Self {
            command: Command::Version,
            environment: Vec::new(),
            input: json!({"cniVersion": network.version}),
        }
    }

    /// Adds what every plugin is told.
    pub(crate) fn environment(&self, directories: &[PathBuf]) -> Vec<(&'static str, String)> {
        let paths: Vec<String> = directories
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let mut all = vec![
            ("PATH", PROGRAMS.to_owned()),
            ("CNI_COMMAND", self.command.as_str().to_owned()),
            ("CNI_PATH", paths.join(":")),
        ];
        all.extend(self.environment.iter().cloned());
        all
    }
}

/// Returns the plugin's own configuration with what belongs to the network, and without what is
/// between the configuration and us.
fn base(network: &NetworkConfig, plugin: &PluginConfig) -> Map<String, Value> {
    let mut input = plugin.0.clone();
    for ours in [
        "capabilities",
        "runtimeConfig",
        "prevResult",
        "cniVersions",
        VALID_ATTACHMENTS,
    ] {
        input.remove(ours);
    }
    input.insert("name".to_owned(), json!(network.name));
    input.insert("cniVersion".to_owned(), json!(network.version));
    input
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::Capabilities;
    use crate::version::SpecVersion;

    fn attachment(version: SpecVersion) -> Attachment {
        let network = json!({
            "name": "net", "version": version, "disable_check": false, "disable_gc": false,
            "plugins": [{
                "type": "p", "mtu": 9000, "name": "of another", "cniVersion": "0.1.0",
                "prevResult": {}, "runtimeConfig": {"mac": "x"}, "capabilities": {"cgroupPath": true},
            }],
        });
        Attachment {
            sandbox: "s1".parse().unwrap(),
            netns: "/run/netns/s1".into(),
            interface: "eth0".to_owned(),
            network: serde_json::from_value(network).unwrap(),
            capabilities: Capabilities {
                cgroup_path: Some("/pod".to_owned()),
                ..Capabilities::default()
            },
            args: vec![
                ("A".to_owned(), "1".to_owned()),
                ("B".to_owned(), "2".to_owned()),
            ],
            result: None,
        }
    }

    fn request(command: Command, version: SpecVersion) -> Request {
        let attachment = attachment(version);
        let plugin = &attachment.network.plugins[0];
        let previous = json!({"ips": []});
        Request::about(
            command,
            &attachment,
            plugin,
            Some(&attachment.netns),
            Some(&previous),
        )
    }

    #[test]
    fn a_plugin_reads_its_own_configuration_and_what_the_network_adds() {
        let add = request(Command::Add, SpecVersion::V1_0_0);
        assert_eq!(
            add.input,
            json!({
                "type": "p", "mtu": 9000, "name": "net", "cniVersion": "1.0.0",
                "runtimeConfig": {"cgroupPath": "/pod"}, "prevResult": {"ips": []},
            })
        );
        assert_eq!(
            add.environment(&["/a".into(), "/b".into()]),
            [
                ("PATH", PROGRAMS.to_owned()),
                ("CNI_COMMAND", "ADD".to_owned()),
                ("CNI_PATH", "/a:/b".to_owned()),
                ("CNI_CONTAINERID", "s1".to_owned()),
                ("CNI_IFNAME", "eth0".to_owned()),
                ("CNI_ARGS", "A=1;B=2".to_owned()),
                ("CNI_NETNS", "/run/netns/s1".to_owned()),
            ]
        );
    }

    #[test]
    fn a_result_is_handed_on_only_where_the_version_has_it() {
        let has = |command, version| request(command, version).input.get("prevResult").is_some();
        assert!(!has(Command::Add, SpecVersion::V0_2_0));
        assert!(has(Command::Add, SpecVersion::V0_3_1));
        assert!(!has(Command::Del, SpecVersion::V0_3_1));
        assert!(has(Command::Del, SpecVersion::V0_4_0));
        assert!(has(Command::Check, SpecVersion::V0_4_0));
    }

    #[test]
    fn gc_names_what_is_valid_also_when_nothing_is() {
        let one = attachment(SpecVersion::V1_1_0);
        let plugin = &one.network.plugins[0];
        let none = Request::gc(&one.network, plugin, &[]);
        assert_eq!(none.input[VALID_ATTACHMENTS], json!([]));
        let some = Request::gc(&one.network, plugin, &[&one]);
        assert_eq!(
            some.input[VALID_ATTACHMENTS],
            json!([{"containerID": "s1", "ifname": "eth0"}])
        );
        assert!(some.environment.is_empty() && some.input.get("runtimeConfig").is_none());
    }
}
