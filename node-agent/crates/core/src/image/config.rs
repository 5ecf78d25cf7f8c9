//! An image's config, read as an attacker's bytes: caps on everything, no byte 0, no surprises.
//!
//! What comes out is text that containers get as defaults. None of it ever becomes a path, an id
//! or control metadata on this side; labels are shown and never obeyed.

use std::collections::{BTreeMap, BTreeSet};

use agent_types::{Classify, Digest, ErrorKind, Platform};
use serde::{Deserialize, Serialize};

use super::created;
use crate::time::Timestamp;

/// Bytes of a user, a working directory, a stop signal, an author.
const MAX_USER: usize = 256;
const MAX_WORKING_DIR: usize = 4096;
const MAX_STOP_SIGNAL: usize = 64;
const MAX_AUTHOR: usize = 4096;
/// Bytes of one argument or variable: what execve(2) takes.
const MAX_STRING: usize = 128 * 1024 - 1;
/// Members of a list of arguments or variables.
const MAX_STRINGS: usize = 8192;
/// Labels and volumes.
const MAX_ENTRIES: usize = 4096;
/// Ports: ranges are written out, one by one.
const MAX_PORTS: usize = 3 * 65_536;

/// Why an image's config is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON of the expected form.
    #[error("image config is not valid")]
    Form {
        /// What is wrong and where.
        source: serde_json::Error,
    },
    /// A text is longer than anything sensible.
    #[error("{field} of the image config has {length} bytes, more than {cap}")]
    TooLong {
        /// Which text.
        field: &'static str,
        /// Its length.
        length: usize,
        /// The limit.
        cap: usize,
    },
    /// A list is longer than anything sensible.
    #[error("{field} of the image config has {count} entries, more than {cap}")]
    TooMany {
        /// Which list.
        field: &'static str,
        /// Its length.
        count: usize,
        /// The limit.
        cap: usize,
    },
    /// A text holds a byte 0, which no program can be given.
    #[error("{field} of the image config has a byte 0")]
    Nul {
        /// Which text.
        field: &'static str,
    },
    /// The layers of manifest and config differ in number.
    #[error("image config names {config} layers, but the manifest has {manifest}")]
    LayerCount {
        /// Layers in the config.
        config: usize,
        /// Layers in the manifest.
        manifest: usize,
    },
}

impl Classify for ConfigError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::FailedPrecondition
    }
}

/// What an image sets for its containers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImageConfig {
    /// User and group, by name or number.
    pub user: String,
    /// Variables, `NAME=value`.
    pub env: Vec<String>,
    /// What is run.
    pub entrypoint: Option<Vec<String>>,
    /// Its arguments, or what is run if there is no entrypoint.
    pub cmd: Option<Vec<String>>,
    /// Where it is run.
    pub working_dir: String,
    /// Ports, such as `80/tcp`.
    pub exposed_ports: BTreeSet<String>,
    /// Paths whose contents outlive the container.
    pub volumes: BTreeSet<String>,
    /// What asks it to stop.
    pub stop_signal: Option<String>,
    /// The builder's notes; never obeyed.
    pub labels: BTreeMap<String, String>,
    /// Who built it.
    pub author: String,
}

/// An image's config as far as this node uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ParsedConfig {
    pub(super) config: ImageConfig,
    /// None if it does not say.
    pub(super) platform: Option<Platform>,
    pub(super) created_at: Option<Timestamp>,
    /// Lowest first, as many as the manifest has layers.
    pub(super) diff_ids: Vec<Digest>,
}

/// Writers leave members out or set them to null; both mean that there is nothing.
#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    architecture: Option<String>,
    #[serde(default)]
    os: Option<String>,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    author: Option<String>,
    #[serde(default)]
    config: Option<RawConfig>,
    #[serde(default)]
    rootfs: Option<RawRootfs>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RawConfig {
    user: Option<String>,
    env: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    working_dir: Option<String>,
    exposed_ports: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    volumes: Option<BTreeMap<String, serde::de::IgnoredAny>>,
    stop_signal: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RawRootfs {
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

/// Reads a config that belongs to a manifest of `layers` layers.
pub(super) fn parse(bytes: &[u8], layers: usize) -> Result<ParsedConfig, ConfigError> {
    let raw: Raw = serde_json::from_slice(bytes).map_err(|source| ConfigError::Form { source })?;
    let diff_ids = raw
        .rootfs
        .and_then(|rootfs| rootfs.diff_ids)
        .unwrap_or_default();
    if diff_ids.len() != layers {
        return Err(ConfigError::LayerCount {
            config: diff_ids.len(),
            manifest: layers,
        });
    }
    let word = |text: Option<String>| text.filter(|text| !text.is_empty() && text.len() <= 64);
    let platform = match (word(raw.os), word(raw.architecture)) {
        (Some(os), Some(architecture)) => {
            let variant = word(raw.variant).unwrap_or_default();
            // Through text, so that no odd character gets into a platform.
            Platform::new(&os, &architecture, &variant)
                .to_string()
                .parse()
                .ok()
        }
        _ => None,
    };
    Ok(ParsedConfig {
        config: checked(raw.config.unwrap_or_default(), raw.author)?,
        platform,
        created_at: raw.created.as_deref().and_then(created::parse),
        diff_ids,
    })
}

fn checked(raw: RawConfig, author: Option<String>) -> Result<ImageConfig, ConfigError> {
    let some_text =
        |field, text: Option<String>, cap| text_of(field, text.unwrap_or_default(), cap);
    let some_list = |field, list: Option<Vec<String>>| {
        list.map(|list| strings(field, list, MAX_STRINGS))
            .transpose()
    };
    let labels = raw.labels.unwrap_or_default();
    count("labels", labels.len(), MAX_ENTRIES)?;
    for (key, value) in &labels {
        check_text("labels", key, MAX_STRING)?;
        check_text("labels", value, MAX_STRING)?;
    }
    Ok(ImageConfig {
        user: some_text("user", raw.user, MAX_USER)?,
        env: some_list("env", raw.env)?.unwrap_or_default(),
        entrypoint: some_list("entrypoint", raw.entrypoint)?.filter(|list| !list.is_empty()),
        cmd: some_list("cmd", raw.cmd)?.filter(|list| !list.is_empty()),
        working_dir: some_text("working directory", raw.working_dir, MAX_WORKING_DIR)?,
        exposed_ports: keys(
            "exposed ports",
            raw.exposed_ports,
            MAX_STOP_SIGNAL,
            MAX_PORTS,
        )?,
        volumes: keys("volumes", raw.volumes, MAX_WORKING_DIR, MAX_ENTRIES)?,
        stop_signal: Some(some_text("stop signal", raw.stop_signal, MAX_STOP_SIGNAL)?)
            .filter(|signal| !signal.is_empty()),
        labels,
        author: some_text("author", author, MAX_AUTHOR)?,
    })
}

fn count(field: &'static str, count: usize, cap: usize) -> Result<(), ConfigError> {
    match count > cap {
        true => Err(ConfigError::TooMany { field, count, cap }),
        false => Ok(()),
    }
}

fn check_text(field: &'static str, text: &str, cap: usize) -> Result<(), ConfigError> {
    if text.len() > cap {
        let length = text.len();
        return Err(ConfigError::TooLong { field, length, cap });
    }
    match text.contains('\0') {
        true => Err(ConfigError::Nul { field }),
        false => Ok(()),
    }
}

fn text_of(field: &'static str, text: String, cap: usize) -> Result<String, ConfigError> {
    check_text(field, &text, cap)?;
    Ok(text)
}

fn strings(field: &'static str, list: Vec<String>, cap: usize) -> Result<Vec<String>, ConfigError> {
    count(field, list.len(), cap)?;
    for text in &list {
        check_text(field, text, MAX_STRING)?;
    }
    Ok(list)
}

fn keys<V>(
    field: &'static str,
    map: Option<BTreeMap<String, V>>,
    length: usize,
    cap: usize,
) -> Result<BTreeSet<String>, ConfigError> {
    let map = map.unwrap_or_default();
    count(field, map.len(), cap)?;
    let checked = |key| text_of(field, key, length);
    map.into_keys().map(checked).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config(inner: &str) -> String {
        let diff_id = format!("sha256:{}", "a".repeat(64));
        format!(
            r#"{{"architecture":"amd64","os":"linux","created":"2024-01-02T03:04:05Z","config":{inner},"rootfs":{{"type":"layers","diff_ids":["{diff_id}"]}},"history":[{{}}]}}"#
        )
    }

    fn refused(inner: &str) -> ConfigError {
        parse(config(inner).as_bytes(), 1).unwrap_err()
    }

    #[test]
    fn what_docker_writes_is_read() {
        let text = config(
            r#"{"Hostname":"","User":"1000:www","Env":["PATH=/bin","A=b=c"],"Cmd":["sh","-c"],"Entrypoint":null,
               "Image":"x","Volumes":{"/data":{}},"WorkingDir":"/srv","ExposedPorts":{"80/tcp":{}},"OnBuild":null,
               "Labels":{"a":"b"},"StopSignal":"SIGQUIT","ArgsEscaped":true}"#,
        );
        let parsed = parse(text.as_bytes(), 1).unwrap();
        assert_eq!(parsed.platform, Some(Platform::new("linux", "amd64", "")));
        assert_eq!(parsed.created_at, created::parse("2024-01-02T03:04:05Z"));
        let expected = ImageConfig {
            user: "1000:www".into(),
            env: vec!["PATH=/bin".into(), "A=b=c".into()],
            entrypoint: None,
            cmd: Some(vec!["sh".into(), "-c".into()]),
            working_dir: "/srv".into(),
            exposed_ports: BTreeSet::from(["80/tcp".into()]),
            volumes: BTreeSet::from(["/data".into()]),
            stop_signal: Some("SIGQUIT".into()),
            labels: BTreeMap::from([("a".into(), "b".into())]),
            author: String::new(),
        };
        assert_eq!(parsed.config, expected);
    }

    #[test]
    fn nothing_is_said_in_several_ways() {
        for inner in ["null", "{}", r#"{"Env":null,"Cmd":[],"StopSignal":""}"#] {
            let parsed = parse(config(inner).as_bytes(), 1).unwrap();
            assert_eq!(parsed.config, ImageConfig::default(), "{inner}");
        }
        let bare = parse(b"{}", 0).unwrap();
        assert_eq!((bare.platform, bare.created_at), (None, None));
    }

    #[test]
    fn hostile_16_everything_has_a_cap() {
        let long =
            |field: &str, length: usize| format!(r#"{{"{field}":"{}"}}"#, "x".repeat(length));
        assert!(matches!(
            refused(&long("User", 257)),
            ConfigError::TooLong {
                field: "user",
                length: 257,
                cap: 256
            }
        ));
        assert!(matches!(
            refused(&long("WorkingDir", 4097)),
            ConfigError::TooLong { .. }
        ));
        assert!(matches!(
            refused(&long("StopSignal", 65)),
            ConfigError::TooLong { .. }
        ));
        let many = format!(r#"{{"Env":[{}]}}"#, vec!["\"\""; 8193].join(","));
        assert!(matches!(
            refused(&many),
            ConfigError::TooMany {
                field: "env",
                count: 8193,
                ..
            }
        ));
        let huge = format!(r#"{{"Cmd":["{}"]}}"#, "x".repeat(128 * 1024));
        assert!(matches!(
            refused(&huge),
            ConfigError::TooLong { field: "cmd", .. }
        ));
        for nul in [
            r#"{"User":"a\u0000b"}"#,
            r#"{"Env":["\u0000"]}"#,
            r#"{"Labels":{"\u0000":""}}"#,
        ] {
            assert!(matches!(refused(nul), ConfigError::Nul { .. }), "{nul}");
        }
    }

    #[test]
    fn layers_must_agree_with_the_manifest() {
        for layers in [0, 2] {
            assert!(matches!(
                parse(config("{}").as_bytes(), layers).unwrap_err(),
                ConfigError::LayerCount { config: 1, .. }
            ));
        }
        let path = config("{}").replace(&"a".repeat(64), "../../etc");
        assert!(matches!(
            parse(path.as_bytes(), 1).unwrap_err(),
            ConfigError::Form { .. }
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fall_over(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(parse(&bytes, 3).is_err());
        }
    }
}
