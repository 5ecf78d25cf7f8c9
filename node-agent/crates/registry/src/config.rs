//! What the client may be told.

use std::path::PathBuf;
use std::time::Duration;

use crate::plain::PlainHttp;

/// How long any connection may be silent.
const LONGEST_STALL: Duration = Duration::from_secs(60);

/// How the client behaves; the defaults suit a node.
#[derive(Debug, Clone)]
pub struct Config {
    /// Registries spoken to over plain HTTP, beside those on loopback.
    pub plain_http: Vec<PlainHttp>,
    /// A folder with a folder for each registry that is described by a `hosts.toml`.
    pub hosts_directory: Option<PathBuf>,
    /// Docker-style files with the node's own credentials, shown where a caller brings none.
    pub credential_files: Vec<PathBuf>,
    /// Where the credential helpers that they name are installed.
    pub helper_directories: Vec<PathBuf>,
    /// Proxies for everything that is not on loopback.
    pub proxies: Proxies,
    /// How long to wait.
    pub timeouts: Timeouts,
    /// How often to try.
    pub retries: Retries,
    /// How much to accept.
    pub limits: Limits,
    /// Requests to one host under way at once; each has a socket over HTTP/1.
    pub sockets_per_host: usize,
    /// What the client calls itself.
    pub user_agent: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            plain_http: Vec::new(),
            hosts_directory: None,
            credential_files: Vec::new(),
            helper_directories: Vec::new(),
            proxies: Proxies::default(),
            timeouts: Timeouts::default(),
            retries: Retries::default(),
            limits: Limits::default(),
            sockets_per_host: 8,
            user_agent: concat!("node-agent/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Proxy addresses, as the usual environment variables give them.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Proxies {
    /// For `http` URLs.
    pub http: Option<String>,
    /// For `https` URLs.
    pub https: Option<String>,
    /// Hosts, domains and networks that are reached directly, separated by commas.
    pub none: Option<String>,
}

impl Proxies {
    /// Reads `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY` and their lower-case forms with `variable`.
    #[must_use]
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let find = |name: &str| {
            variable(&name.to_ascii_lowercase())
                .or_else(|| variable(name))
                .filter(|value| !value.is_empty())
        };
        Self {
            http: find("HTTP_PROXY"),
            https: find("HTTPS_PROXY"),
            none: find("NO_PROXY"),
        }
    }
}

/// Proxy addresses may hold a password, so only their presence shows.
impl std::fmt::Debug for Proxies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http.is_some())
            .field("https", &self.https.is_some())
            .field("none", &self.none)
            .finish()
    }
}

/// How long to wait for what.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For the next bytes, connections made again included: a transfer without progress ends.
    pub progress: Duration,
}

impl Timeouts {
    /// Returns how long one connection may be silent before another is tried.
    pub(crate) fn stall(&self) -> Duration {
        (self.progress / 3).min(LONGEST_STALL)
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            progress: Duration::from_secs(300),
        }
    }
}

/// How often a request that may succeed later is made again.
#[derive(Debug, Clone)]
pub struct Retries {
    /// Tries in a row without progress, the first included.
    pub attempts: u32,
    /// Tries when no connection is made at all.
    pub connect_attempts: u32,
    /// Wait before the second try; doubled for each further one.
    pub first_wait: Duration,
    /// Longest wait, also where a registry asks for a longer one.
    pub longest_wait: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 5,
            connect_attempts: 3,
            first_wait: Duration::from_millis(200),
            longest_wait: Duration::from_secs(30),
        }
    }
}

/// How much of an answer is read.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of a manifest or index.
    pub manifest: u64,
    /// Bytes of a token server's answer.
    pub token: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest: 4 << 20,
            token: 1 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_variables_are_read_in_both_cases_and_not_shown() {
        let proxies = Proxies::from_variables(|name| match name {
            "http_proxy" => Some("http://user:hunter2@proxy:3128".into()),
            "HTTPS_PROXY" => Some("http://proxy:3129".into()),
            "NO_PROXY" => Some(String::new()),
            _ => None,
        });
        assert!(proxies.http.as_deref().unwrap().ends_with(":3128"));
        assert!(proxies.https.as_deref().unwrap().ends_with(":3129"));
        assert_eq!(proxies.none, None);
        assert!(!format!("{proxies:?}").contains("hunter2"));
    }
}
