//! Credentials of the node, from files as docker writes them and the helpers that they name.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use agent_types::reference::DEFAULT_REGISTRY;
use serde::Deserialize;

use crate::auth::{Auth, Secret};
use crate::helper::Helpers;
use crate::hosts::RouteError;
use crate::hosts::read;

/// What the files say, the first one counting most.
#[derive(Debug)]
pub(crate) struct Credentials {
    said: Said,
    helpers: Helpers,
}

#[derive(Debug, Default)]
struct Said {
    /// By host and, where it is for a part of a registry only, the beginning of the repository.
    entries: Vec<(String, Auth)>,
    /// Helpers for one registry, by its host.
    helpers: Vec<(String, Named)>,
    /// Helpers for all others.
    stores: Vec<Named>,
}

/// A helper, and the file that names it.
#[derive(Debug)]
struct Named {
    helper: String,
    path: PathBuf,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct DockerConfig {
    auths: HashMap<String, Entry>,
    #[serde(rename = "credHelpers")]
    helpers: HashMap<String, String>,
    #[serde(rename = "credsStore")]
    store: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl Credentials {
    /// Reads the files; one that is not there says nothing. Blocking.
    pub(crate) fn load(paths: &[PathBuf], helpers: Helpers) -> Result<Self, RouteError> {
        let mut said = Said::default();
        for path in paths {
            match read(path) {
                Ok(bytes) => said.add(path, &bytes)?,
                Err(RouteError::Read { source, .. })
                    if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { said, helpers })
    }

    /// Returns what is shown for a repository: what the registry's own helper has, else what is
    /// said of the repository, of a group that it is in, or of its whole registry, else what the
    /// helper for all registries has. Blocking.
    pub(crate) fn find(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Auth>, RouteError> {
        let host = host_name(registry);
        for (_, named) in self.said.helpers.iter().filter(|(of, _)| *of == host) {
            if let Some(auth) = self.ask(named, &host)? {
                return Ok(Some(auth));
            }
        }
        if let Some(auth) = self.said.find(&host, repository) {
            return Ok(Some(auth));
        }
        for named in &self.said.stores {
            if let Some(auth) = self.ask(named, &host)? {
                return Ok(Some(auth));
            }
        }
        Ok(None)
    }

    fn ask(&self, named: &Named, host: &str) -> Result<Option<Auth>, RouteError> {
        let answer = self.helpers.ask(&named.helper, host);
        answer.map_err(|source| RouteError::Helper {
            path: named.path.clone(),
            registry: host.to_owned(),
            source: Box::new(source),
        })
    }
}

impl Said {
    /// Adds what a file says behind what those before it say.
    fn add(&mut self, path: &Path, bytes: &[u8]) -> Result<(), RouteError> {
        let refused = || RouteError::Credentials {
            path: path.to_owned(),
        };
        let named = |helper| Named {
            helper,
            path: path.to_owned(),
        };
        let config: DockerConfig = serde_json::from_slice(bytes).map_err(|_| refused())?;
        let mut entries = Vec::new();
        for (place, entry) in config.auths {
            let auth = entry.auth().map_err(|_| refused())?;
            if auth != Auth::Anonymous {
                entries.push((place_of(&place), auth));
            }
        }
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.entries.extend(entries);
        let helpers = config.helpers.into_iter();
        let helpers = helpers.map(|(place, helper)| (host_of_place(&place), named(helper)));
        self.helpers.extend(helpers);
        if !config.store.is_empty() {
            self.stores.push(named(config.store));
        }
        Ok(())
    }

    fn find(&self, host: &str, repository: &str) -> Option<Auth> {
        let whole = format!("{host}/{repository}");
        let mut wanted = whole.as_str();
        loop {
            if let Some((_, auth)) = self.entries.iter().find(|(place, _)| place == wanted) {
                return Some(auth.clone());
            }
            wanted = wanted.rsplit_once('/')?.0;
        }
    }
}

impl Entry {
    fn auth(self) -> Result<Auth, crate::auth::AuthError> {
        if !self.registrytoken.is_empty() {
            return Ok(Auth::RegistryToken(Secret::new(self.registrytoken)));
        }
        if !self.identitytoken.is_empty() {
            return Ok(Auth::IdentityToken(Secret::new(self.identitytoken)));
        }
        if !self.username.is_empty() {
            return Ok(Auth::Basic {
                username: self.username,
                password: Secret::new(self.password),
            });
        }
        match self.auth.is_empty() {
            true => Ok(Auth::Anonymous),
            false => Auth::from_docker(&self.auth),
        }
    }
}

/// Returns the host, and the path if one is named, without what only an address has.
fn place_of(text: &str) -> String {
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
    let bare = bare.trim_end_matches('/');
    let bare = ["/v1", "/v2"]
        .iter()
        .find_map(|end| bare.strip_suffix(end))
        .unwrap_or(bare);
    match bare.split_once('/') {
        Some((host, path)) => format!("{}/{path}", host_name(host)),
        None => host_name(bare),
    }
}

fn host_of_place(text: &str) -> String {
    let place = place_of(text);
    let host = place.split_once('/').map(|(host, _)| host.to_owned());
    host.unwrap_or(place)
}

/// Returns the name that a registry's credentials are filed under.
fn host_name(host: &str) -> String {
    match host {
        "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY.to_owned(),
        other => other.to_ascii_lowercase(),
    }
}

/// Says whether credentials for `server`, a host or an address, are meant for a registry. Those for
/// no server in particular are for the one that is asked.
pub(crate) fn are_for(server: &str, registry: &str) -> bool {
    let host = host_of_place(server.trim());
    host.is_empty() || host == host_name(registry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Result<Said, RouteError> {
        let mut said = Said::default();
        said.add(Path::new("/config.json"), text.as_bytes())?;
        Ok(said)
    }

    fn user(auth: Option<Auth>) -> Option<String> {
        match auth? {
            Auth::Basic { username, .. } => Some(username),
            other => Some(format!("{other:?}")),
        }
    }

    #[test]
    fn the_closest_entry_counts() {
        let all = said(
            r#"{"auths":{
                "https://index.docker.io/v1/":{"auth":"aHViOng="},
                "r.io":{"auth":"d2hvbGU6eA=="},
                "r.io/team":{"username":"team","password":"x"},
                "r.io/team/app":{"auth":"YXBwOng="},
                "http://10.0.0.1:5000":{"identitytoken":"t"},
                "empty.io":{}
            },"credsStore":"desktop","HttpHeaders":{}}"#,
        )
        .unwrap();
        let found =
            |registry: &str, repository: &str| user(all.find(&host_name(registry), repository));
        assert_eq!(
            found("docker.io", "library/busybox").as_deref(),
            Some("hub")
        );
        assert_eq!(found("registry-1.docker.io", "a").as_deref(), Some("hub"));
        assert_eq!(found("r.io", "other").as_deref(), Some("whole"));
        assert_eq!(found("r.io", "team/x/y").as_deref(), Some("team"));
        assert_eq!(found("r.io", "team/app").as_deref(), Some("app"));
        assert_eq!(found("r.io", "teams/app").as_deref(), Some("whole"));
        assert!(found("10.0.0.1:5000", "x").is_some());
        assert_eq!(found("10.0.0.1", "x"), None);
        assert_eq!(found("empty.io", "x"), None);
    }

    #[test]
    fn a_file_that_is_none_is_refused_without_showing_it() {
        for text in [r#"{"auths":{"x":{"auth":"hunter2"}}}"#, "hunter2"] {
            let error = said(text).unwrap_err();
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[tokio::test]
    async fn files_that_are_not_there_say_nothing_and_a_helper_for_another_is_not_asked() {
        let helpers = || Helpers {
            directories: Vec::new(),
            runtime: tokio::runtime::Handle::current(),
        };
        let none = Credentials::load(&["/nonexistent/config.json".into()], helpers()).unwrap();
        assert_eq!(none.find("r.io", "x").unwrap(), None);
        let text =
            r#"{"auths":{"r.io":{"auth":"YTpi"}},"credHelpers":{"https://h.io/v2/":"absent"}}"#;
        let all = Credentials {
            said: said(text).unwrap(),
            helpers: helpers(),
        };
        assert_eq!(user(all.find("r.io", "x").unwrap()).as_deref(), Some("a"));
        assert_eq!(all.find("other.io", "x").unwrap(), None);
        let error = all.find("h.io", "x").unwrap_err();
        assert!(error.to_string().contains("/config.json"), "{error}");
    }

    #[test]
    fn credentials_say_whom_they_are_for() {
        for server in ["", "r.io", "https://r.io", "https://R.io/v2/"] {
            assert!(are_for(server, "r.io"), "{server}");
        }
        assert!(are_for("https://index.docker.io/v1/", "docker.io"));
        for server in ["https://other.io", "r.io:5000", "r.io.evil.com"] {
            assert!(!are_for(server, "r.io"), "{server}");
        }
    }
}
