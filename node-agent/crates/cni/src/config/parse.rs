//! What is in a configuration file: a list of plugins, or one plugin on its own.

use serde_json::{Map, Value};

use super::{NetworkConfig, PluginConfig};
use crate::version::{SpecVersion, UnknownVersion};

/// Most plugins that one network may have.
const MAX_PLUGINS: usize = 32;

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON.
    #[error("it is not JSON")]
    Json(#[source] serde_json::Error),
    /// A key has a value of the wrong kind, or is missing.
    #[error("{key:?} is not {wanted}")]
    Key {
        /// The key.
        key: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// The network's name would not do as part of a path.
    #[error("{name:?} is not a name for a network")]
    Name {
        /// The name.
        name: String,
    },
    /// A plugin's type would not do as the name of a program.
    #[error("{program:?} is not the name of a plugin")]
    Program {
        /// The type.
        program: String,
    },
    /// No version in it is known.
    #[error(transparent)]
    Version(#[from] UnknownVersion),
    /// It names no plugin, or too many.
    #[error("it names {count} plugins, where 1 to {MAX_PLUGINS} make a network")]
    Plugins {
        /// How many.
        count: usize,
    },
}

/// A configuration and whether plugins in further files belong to it.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) network: NetworkConfig,
    pub(super) takes_more: bool,
}

/// Reads a configuration of either form; the content says which one it is, not the file's name.
pub(super) fn parse(text: &[u8]) -> Result<Parsed, ConfigError> {
    let Value::Object(root) = serde_json::from_slice(text).map_err(ConfigError::Json)? else {
        return Err(wrong("the configuration", "an object"));
    };
    let name = name(&root)?;
    let version = version(&root)?;
    let single = !root.contains_key("plugins") && root.contains_key("type");
    let takes_more = !single && !flag(&root, "loadOnlyInlinedPlugins")?;
    let (disable_check, disable_gc) = (flag(&root, "disableCheck")?, flag(&root, "disableGC")?);
    let plugins = if single {
        vec![plugin_of(root)?]
    } else {
        plugins(&root)?
    };
    let network = NetworkConfig {
        name,
        version,
        disable_check,
        disable_gc,
        plugins,
    };
    Ok(Parsed {
        network,
        takes_more,
    })
}

/// Reads one plugin that belongs to a network in another file.
pub(super) fn plugin(text: &[u8]) -> Result<PluginConfig, ConfigError> {
    match serde_json::from_slice(text).map_err(ConfigError::Json)? {
        Value::Object(root) => plugin_of(root),
        _ => Err(wrong("the plugin", "an object")),
    }
}

/// Refuses a chain that is empty or longer than anybody needs.
pub(super) fn check_count(network: &NetworkConfig) -> Result<(), ConfigError> {
    let count = network.plugins.len();
    if (1..=MAX_PLUGINS).contains(&count) {
        Ok(())
    } else {
        Err(ConfigError::Plugins { count })
    }
}

fn wrong(key: &'static str, wanted: &'static str) -> ConfigError {
    ConfigError::Key { key, wanted }
}

fn name(root: &Map<String, Value>) -> Result<String, ConfigError> {
    let name = root.get("name").and_then(Value::as_str);
    let name = name.ok_or_else(|| wrong("name", "a text"))?;
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let first = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric());
    if first && name.len() <= 128 && name.bytes().all(rest) {
        Ok(name.to_owned())
    } else {
        Err(ConfigError::Name {
            name: name.chars().take(128).collect(),
        })
    }
}

/// Returns the highest version that the configuration names and this node knows.
fn version(root: &Map<String, Value>) -> Result<SpecVersion, ConfigError> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let wrong_one = || wrong("cniVersion", "a text");
    let one = match root.get("cniVersion") {
        None => None,
        Some(value) => Some(text(value).ok_or_else(wrong_one)?),
    };
    let many: Vec<String> = match root.get("cniVersions") {
        None => Vec::new(),
        Some(Value::Array(all)) => {
            let all: Option<Vec<String>> = all.iter().map(text).collect();
            all.ok_or_else(|| wrong("cniVersions", "a list of texts"))?
        }
        Some(_) => return Err(wrong("cniVersions", "a list of texts")),
    };
    let named = one.iter().chain(&many);
    let highest = named.filter_map(|text| SpecVersion::parse(text).ok()).max();
    match highest {
        Some(version) => Ok(version),
        None => Ok(SpecVersion::parse(&one.unwrap_or_default())?),
    }
}

/// Reads a switch; some write it as a text.
fn flag(root: &Map<String, Value>, key: &'static str) -> Result<bool, ConfigError> {
    match root.get(key) {
        None => Ok(false),
        Some(Value::Bool(on)) => Ok(*on),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(true),
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(false),
        Some(_) => Err(wrong(key, "true or false")),
    }
}

fn plugins(root: &Map<String, Value>) -> Result<Vec<PluginConfig>, ConfigError> {
    match root.get("plugins") {
        // All of them may be in further files.
        None => Ok(Vec::new()),
        Some(Value::Array(all)) => all
            .iter()
            .map(|one| match one {
                Value::Object(plugin) => plugin_of(plugin.clone()),
                _ => Err(wrong("plugins", "a list of objects")),
            })
            .collect(),
        Some(_) => Err(wrong("plugins", "a list of objects")),
    }
}

fn plugin_of(plugin: Map<String, Value>) -> Result<PluginConfig, ConfigError> {
    let plugin = PluginConfig(plugin);
    if !matches!(plugin.0.get("type"), Some(Value::String(_))) {
        return Err(wrong("type", "a text"));
    }
    let program = plugin.program();
    let is_path = program.contains(['/', '\0']) || [".", ".."].contains(&program);
    if is_path || program.is_empty() || program.len() > 255 {
        return Err(ConfigError::Program {
            program: program.chars().take(255).collect(),
        });
    }
    match plugin.0.get("capabilities") {
        None | Some(Value::Object(_)) => Ok(plugin),
        Some(_) => Err(wrong("capabilities", "an object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Result<NetworkConfig, String> {
        let parsed = parse(text.as_bytes()).map_err(|error| error.to_string())?;
        check_count(&parsed.network).map_err(|error| error.to_string())?;
        Ok(parsed.network)
    }

    #[test]
    fn a_list_is_read_with_everything_in_it() {
        let network = parsed(
            r#"{"cniVersion": "1.0.0", "name": "net-1", "disableCheck": true, "disableGC": "TRUE",
                "plugins": [{"type": "bridge", "mtu": 1400},
                            {"type": "portmap", "capabilities": {"portMappings": true, "dns": false}}]}"#,
        )
        .unwrap();
        assert_eq!(
            (network.name.as_str(), network.version),
            ("net-1", SpecVersion::V1_0_0)
        );
        assert!(network.disable_check && network.disable_gc);
        let programs: Vec<_> = network.plugins.iter().map(PluginConfig::program).collect();
        assert_eq!(programs, ["bridge", "portmap"]);
        assert!(network.plugins[1].has_capability("portMappings"));
        assert!(!network.plugins[1].has_capability("dns"));
        assert!(!network.plugins[0].has_capability("portMappings"));
    }

    #[test]
    fn one_plugin_on_its_own_is_a_chain_of_one() {
        let network = parsed(r#"{"name": "n", "type": "bridge", "bridge": "b0"}"#).unwrap();
        assert_eq!(network.version, SpecVersion::V0_1_0);
        assert_eq!(network.plugins[0].0.get("bridge"), Some(&"b0".into()));
    }

    #[test]
    fn the_highest_version_that_is_known_is_spoken() {
        let version = |one: &str, many: &str| {
            let text = format!(r#"{{"name": "n", {one} {many} "plugins": [{{"type": "p"}}]}}"#);
            parsed(&text).map(|network| network.version)
        };
        let one = r#""cniVersion": "0.4.0","#;
        assert_eq!(version(one, ""), Ok(SpecVersion::V0_4_0));
        let many = r#""cniVersions": ["0.3.1", "1.1.0", "9.0.0"],"#;
        assert_eq!(version(one, many), Ok(SpecVersion::V1_1_0));
        assert_eq!(version("", many), Ok(SpecVersion::V1_1_0));
        assert!(
            version(r#""cniVersion": "9.0.0","#, "")
                .unwrap_err()
                .contains("9.0.0")
        );
        assert!(version(r#""cniVersion": 1,"#, "").is_err());
    }

    #[test]
    fn what_makes_no_network_is_refused() {
        for (text, why) in [
            ("{", "it is not JSON"),
            ("[]", "\"the configuration\" is not an object"),
            (r#"{"plugins": []}"#, "\"name\" is not a text"),
            (
                r#"{"name": "../x", "plugins": []}"#,
                "\"../x\" is not a name for a network",
            ),
            (
                r#"{"name": "n", "plugins": []}"#,
                "it names 0 plugins, where 1 to 32 make a network",
            ),
            (
                r#"{"name": "n", "plugins": {}}"#,
                "\"plugins\" is not a list of objects",
            ),
            (
                r#"{"name": "n", "plugins": [1]}"#,
                "\"plugins\" is not a list of objects",
            ),
            (
                r#"{"name": "n", "plugins": [{}]}"#,
                "\"type\" is not a text",
            ),
            (
                r#"{"name": "n", "type": "../../bin/sh"}"#,
                "\"../../bin/sh\" is not the name of a plugin",
            ),
            (
                r#"{"name": "n", "type": ".."}"#,
                "\"..\" is not the name of a plugin",
            ),
            (
                r#"{"name": "n", "type": "p", "disableGC": 1}"#,
                "\"disableGC\" is not true or false",
            ),
            (
                r#"{"name": "n", "type": "p", "capabilities": []}"#,
                "\"capabilities\" is not an object",
            ),
        ] {
            assert_eq!(parsed(text).unwrap_err(), why, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = parse(text.as_bytes());
        }

        #[test]
        fn an_accepted_name_is_one_component_of_a_path(name in "\\PC{0,20}") {
            let text = serde_json::json!({"name": name, "type": "p"}).to_string();
            if parse(text.as_bytes()).is_ok() {
                prop_assert!(!name.contains('/') && name != ".." && !name.is_empty());
            }
        }
    }
}
