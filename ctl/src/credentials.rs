//! What to tell a registry about oneself, as `docker login` leaves it in a file.

use std::collections::HashMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proto::agent::RegistryAuth;
use serde::Deserialize;

use crate::error::CommandError;

/// The key docker keeps its own registry under.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: HashMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    /// `user:password` in base64.
    #[serde(default)]
    auth: String,
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
    #[serde(default, rename = "registrytoken")]
    registry_token: String,
}

/// Returns the credentials for the registry of `image`, if the file has any.
pub(crate) fn of(image: &str) -> Result<Option<RegistryAuth>, CommandError> {
    let Some(path) = path() else { return Ok(None) };
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(CommandError::File {
                verb: "read",
                path,
                source,
            });
        }
    };
    let config: Config = serde_json::from_slice(&text)
        .map_err(|source| CommandError::Credentials { path, source })?;
    Ok(config.find(registry(image)))
}

fn path() -> Option<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let directory = set("DOCKER_CONFIG").or_else(|| Some(set("HOME")?.join(".docker")))?;
    Some(directory.join("config.json"))
}

/// Returns the registry of an image: its first part, if that can be a host.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

impl Config {
    fn find(&self, registry: &str) -> Option<RegistryAuth> {
        let hub = ["docker.io", "index.docker.io", "registry-1.docker.io"].contains(&registry);
        let entry = self
            .auths
            .iter()
            .find(|(key, _)| (hub && *key == DOCKER_HUB) || host_of(key) == registry);
        entry.and_then(|(_, entry)| entry.credentials())
    }
}

/// Returns the host of a key, which may be written as a URL.
fn host_of(key: &str) -> &str {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    key.split('/').next().unwrap_or(key)
}

impl Entry {
    /// An entry without any belongs to a credential helper, which ctl does not run.
    fn credentials(&self) -> Option<RegistryAuth> {
        let decoded = STANDARD
            .decode(&self.auth)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let (username, password) = decoded
            .as_deref()
            .and_then(|pair| pair.split_once(':'))
            .map_or_else(Default::default, |(user, password)| {
                (user.to_owned(), password.to_owned())
            });
        let auth = RegistryAuth {
            username,
            password: password.trim_end_matches('\0').to_owned(),
            identity_token: self.identity_token.clone(),
            registry_token: self.registry_token.clone(),
        };
        (auth != RegistryAuth::default()).then_some(auth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        serde_json::from_str(text).expect("a config")
    }

    #[test]
    fn registries_are_told_from_repositories() {
        let table = [
            ("nginx", "docker.io"),
            ("someone/thing:1", "docker.io"),
            ("localhost/thing", "localhost"),
            ("localhost:5000/thing", "localhost:5000"),
            ("ghcr.io/a/b@sha256:aa", "ghcr.io"),
        ];
        for (image, expected) in table {
            assert_eq!(registry(image), expected);
        }
    }

    #[test]
    fn entries_are_found_by_their_host() {
        // "user:secret"
        let config = config(
            r#"{"auths": {"https://index.docker.io/v1/": {"auth": "dXNlcjpzZWNyZXQ="},
            "https://ghcr.io/v2/": {"identitytoken": "t"}, "helped.example": {}}}"#,
        );
        let hub = config.find("docker.io").expect("an entry");
        assert_eq!(
            (hub.username.as_str(), hub.password.as_str()),
            ("user", "secret")
        );
        assert_eq!(
            config.find("ghcr.io").expect("an entry").identity_token,
            "t"
        );
        assert_eq!(config.find("helped.example"), None);
        assert_eq!(config.find("other.example"), None);
    }
}
