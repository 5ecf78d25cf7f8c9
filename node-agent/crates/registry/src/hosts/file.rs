//! The format of `hosts.toml`, as users of containerd write it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::error::RouteError;

/// A whole file: the registry itself, and mirrors to ask before it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct HostsFile {
    pub(super) server: Option<String>,
    #[serde(default)]
    host: HashMap<Spanned<String>, Settings>,
    #[serde(flatten)]
    pub(super) own: Settings,
}

/// What may be said about a host.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    pub(super) capabilities: Option<Vec<String>>,
    pub(super) ca: Option<Texts>,
    pub(super) client: Option<Client>,
    pub(super) skip_verify: Option<bool>,
    pub(super) override_path: bool,
    pub(super) header: BTreeMap<String, Texts>,
    pub(super) dial_timeout: Option<String>,
    #[serde(flatten)]
    unknown: BTreeMap<String, toml::Value>,
}

/// One text or several.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Texts {
    One(String),
    Several(Vec<String>),
}

/// Certificates to show: one file with certificate and key, several, or pairs of files.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Client {
    One(String),
    Several(Vec<Texts>),
}

impl Texts {
    pub(super) fn all(&self) -> &[String] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Several(texts) => texts,
        }
    }
}

impl HostsFile {
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, RouteError> {
        let file: Self = toml::from_str(text).map_err(|source| RouteError::Format {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let unknown = |at: &str, settings: &Settings| {
            let key = settings.unknown.keys().next()?;
            Some(RouteError::Value {
                path: path.to_owned(),
                key: format!("{at}{key}"),
                value: key.clone(),
                wanted: "a known setting",
            })
        };
        let in_host = |(name, settings): (&Spanned<String>, &Settings)| {
            unknown(&format!("host.{:?}.", name.get_ref()), settings)
        };
        match unknown("", &file.own).or_else(|| file.host.iter().find_map(in_host)) {
            Some(error) => Err(error),
            None => Ok(file),
        }
    }

    /// Returns the mirrors in the order in which they are written.
    pub(super) fn mirrors(&self) -> Vec<(&str, &Settings)> {
        let mut mirrors: Vec<_> = self.host.iter().collect();
        mirrors.sort_by_key(|(name, _)| name.span().start);
        mirrors
            .into_iter()
            .map(|(name, settings)| (name.get_ref().as_str(), settings))
            .collect()
    }
}

impl Settings {
    /// Says whether anything is said about TLS.
    pub(super) const fn names_tls(&self) -> bool {
        self.ca.is_some() || self.client.is_some() || self.skip_verify.is_some()
    }

    /// Returns what the host may be asked for: whether tags, whether things by their digest.
    pub(super) fn capabilities(&self, path: &Path) -> Result<(bool, bool), RouteError> {
        let Some(named) = &self.capabilities else {
            return Ok((true, true));
        };
        let is_known = |name: &&String| !matches!(name.as_str(), "pull" | "resolve" | "push");
        if let Some(value) = named.iter().find(is_known) {
            return Err(RouteError::Value {
                path: path.to_owned(),
                key: "capabilities".to_owned(),
                value: value.clone(),
                wanted: "pull, resolve or push",
            });
        }
        let has = |name: &str| named.iter().any(|named| named == name);
        Ok((has("resolve"), has("pull")))
    }

    /// Returns the files with client certificate and key, with how many of them belong together.
    pub(super) fn client_files(&self) -> Vec<Vec<&str>> {
        match &self.client {
            None => Vec::new(),
            Some(Client::One(file)) => vec![vec![file.as_str()]],
            Some(Client::Several(several)) => several
                .iter()
                .map(|texts| texts.all().iter().map(String::as_str).collect())
                .collect(),
        }
    }

    pub(super) fn dial_timeout(&self, path: &Path) -> Result<Option<Duration>, RouteError> {
        let Some(text) = &self.dial_timeout else {
            return Ok(None);
        };
        let parsed = duration(text).ok_or_else(|| RouteError::Value {
            path: path.to_owned(),
            key: "dial_timeout".to_owned(),
            value: text.clone(),
            wanted: "a time such as 200ms, 5s or 1m",
        })?;
        Ok(Some(parsed))
    }
}

/// Reads a time with its unit.
fn duration(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(unit);
    let number: f64 = number.parse().ok()?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "s" => number,
        "m" => number * 60.0,
        _ => return None,
    };
    let duration = Duration::try_from_secs_f64(seconds).ok()?;
    (!duration.is_zero()).then_some(duration)
}

/// Returns a path of the file; a relative one is meant from the file's own folder.
pub(super) fn beside(folder: &Path, path: &str) -> PathBuf {
    folder.join(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<HostsFile, RouteError> {
        HostsFile::parse(Path::new("/x/hosts.toml"), text)
    }

    #[test]
    fn the_usual_file_is_read_in_its_order() {
        let file = parse(
            r#"
server = "https://registry-1.docker.io"
ca = "own.pem"

[host."https://z.example"]
  capabilities = ["pull", "resolve"]
  ca = ["/a.pem", "b.pem"]
  client = [["c.cert", "c.key"], ["both.pem"]]
  skip_verify = true
  override_path = true
  dial_timeout = "1.5s"
  [host."https://z.example".header]
    x-one = "1"
    x-two = ["2", "3"]

[host."http://a.example:5000"]
  client = "one.pem"

[host."m.example"]
"#,
        )
        .unwrap();
        assert_eq!(file.server.as_deref(), Some("https://registry-1.docker.io"));
        assert!(file.own.names_tls());
        let mirrors = file.mirrors();
        let names: Vec<_> = mirrors.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names,
            ["https://z.example", "http://a.example:5000", "m.example"]
        );
        let path = Path::new("/x/hosts.toml");
        let first = mirrors[0].1;
        assert_eq!(first.capabilities(path).unwrap(), (true, true));
        assert_eq!(
            first.client_files(),
            [vec!["c.cert", "c.key"], vec!["both.pem"]]
        );
        assert_eq!(
            first.dial_timeout(path).unwrap(),
            Some(Duration::from_millis(1500))
        );
        assert_eq!(first.header["x-two"].all(), ["2", "3"]);
        assert_eq!(mirrors[1].1.client_files(), [vec!["one.pem"]]);
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (text, word) in [
            ("server = 1", "hosts.toml"),
            ("sever = \"https://x\"", "sever"),
            ("[host.\"https://x\"]\nrewrite = {}", "rewrite"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
        }
        let path = Path::new("/x/hosts.toml");
        let wrong = parse("capabilities = [\"fly\"]\ndial_timeout = \"5\"").unwrap();
        assert!(wrong.own.capabilities(path).is_err());
        assert!(wrong.own.dial_timeout(path).is_err());
    }
}
