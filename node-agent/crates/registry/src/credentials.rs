//! Credentials of the node, from files as docker writes them.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use agent_types::reference::DEFAULT_REGISTRY;
use serde::Deserialize;

use crate::auth::{Auth, Secret};
use crate::hosts::RouteError;
use crate::hosts::read;

/// What the files say, the first one counting most.
#[derive(Debug, Default)]
pub(crate) struct Credentials {
    /// By host and, where it is for a part of a registry only, the beginning of the repository.
    entries: Vec<(String, Auth)>,
}

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: HashMap<String, Entry>,
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
    pub(crate) fn load(paths: &[PathBuf]) -> Result<Self, RouteError> {
        let mut entries = Vec::new();
        for path in paths {
            match read(path) {
                Ok(bytes) => entries.extend(parse(path, &bytes)?),
                Err(RouteError::Read { source, .. })
                    if source.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { entries })
    }

    /// Returns what is shown for a repository: what is said of it, of a group that it is in, or of
    /// its whole registry.
    pub(crate) fn find(&self, registry: &str, repository: &str) -> Option<Auth> {
        let whole = format!("{}/{repository}", host_name(registry));
        let mut wanted = whole.as_str();
        loop {
            if let Some((_, auth)) = self.entries.iter().find(|(place, _)| place == wanted) {
                return Some(auth.clone());
            }
            wanted = wanted.rsplit_once('/')?.0;
        }
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<(String, Auth)>, RouteError> {
    let refused = || RouteError::Credentials {
        path: path.to_owned(),
    };
    let config: DockerConfig = serde_json::from_slice(bytes).map_err(|_| refused())?;
    let mut found = Vec::new();
    for (place, entry) in config.auths {
        let auth = entry.auth().map_err(|_| refused())?;
        if auth != Auth::Anonymous {
            found.push((place_of(&place), auth));
        }
    }
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(found)
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
    let place = place_of(server.trim());
    let host = place
        .split_once('/')
        .map_or(place.as_str(), |(host, _)| host);
    host.is_empty() || host == host_name(registry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(text: &str) -> Credentials {
        Credentials {
            entries: parse(Path::new("/config.json"), text.as_bytes()).unwrap(),
        }
    }

    fn user(auth: Option<Auth>) -> Option<String> {
        match auth? {
            Auth::Basic { username, .. } => Some(username),
            other => Some(format!("{other:?}")),
        }
    }

    #[test]
    fn the_closest_entry_counts() {
        let all = credentials(
            r#"{"auths":{
                "https://index.docker.io/v1/":{"auth":"aHViOng="},
                "r.io":{"auth":"d2hvbGU6eA=="},
                "r.io/team":{"username":"team","password":"x"},
                "r.io/team/app":{"auth":"YXBwOng="},
                "http://10.0.0.1:5000":{"identitytoken":"t"},
                "empty.io":{}
            },"credsStore":"desktop","HttpHeaders":{}}"#,
        );
        let found = |registry: &str, repository: &str| user(all.find(registry, repository));
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
        let path = Path::new("/config.json");
        for text in [r#"{"auths":{"x":{"auth":"hunter2"}}}"#, "hunter2"] {
            let error = parse(path, text.as_bytes()).unwrap_err();
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        let none = Credentials::load(&["/nonexistent/config.json".into()]).unwrap();
        assert_eq!(none.find("r.io", "x"), None);
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
