//! Reading: from a reference to the hosts that serve it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_types::Reference;
use agent_types::reference::DEFAULT_REGISTRY;
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};
use tokio::runtime::Handle;

use super::error::RouteError;
use super::file::{HostsFile, Settings};
use super::tls::Tls;
use super::{Host, Route};
use crate::auth::Auth;
use crate::credentials::Credentials;
use crate::helper::Helpers;
use crate::plain::is_loopback;
use crate::transport::{Transport, host_of};

/// Bytes of a file that somebody has written by hand.
const MAX_FILE: u64 = 1 << 20;
/// Where registries without a folder of their own are described.
const DEFAULT_FOLDER: &str = "_default";

/// Reads where a repository is served, and what to show there, which `runtime` may have to ask a
/// program for. Blocking.
pub(crate) fn route(
    transport: &Transport,
    reference: &Reference,
    auth: &Auth,
    runtime: Handle,
) -> Result<Route, RouteError> {
    let config = transport.config();
    let helpers = Helpers {
        directories: config.helper_directories.clone(),
        runtime,
    };
    let credentials = Credentials::load(&config.credential_files, helpers)?;
    let loader = Loader {
        transport,
        reference,
        asked: auth,
        credentials: &credentials,
    };
    let folders = config.hosts_directory.iter();
    let mut folders = folders.flat_map(|directory| folders_of(directory, reference.registry()));
    match folders.find(|folder| folder.is_dir()) {
        Some(folder) => loader.read_folder(&folder),
        None => Ok(Route {
            hosts: vec![Arc::new(loader.registry_itself(None, Tls::default())?)],
        }),
    }
}

struct Loader<'a> {
    transport: &'a Transport,
    reference: &'a Reference,
    /// What the caller shows.
    asked: &'a Auth,
    credentials: &'a Credentials,
}

impl Loader<'_> {
    fn read_folder(&self, folder: &Path) -> Result<Route, RouteError> {
        let path = folder.join("hosts.toml");
        let text = match read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(RouteError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let tls = Tls::load_folder(folder, &files_of(folder)?)?;
                return Ok(Route {
                    hosts: vec![Arc::new(self.registry_itself(None, tls)?)],
                });
            }
            Err(error) => return Err(error),
        };
        let file = HostsFile::parse(&path, &text)?;
        let mut hosts = Vec::new();
        for (name, settings) in file.mirrors() {
            let base = base(&path, name, settings)?;
            let tls = Arc::new(Tls::load(&path, settings)?);
            let auth = self.auth_of_mirror(&base, &tls)?;
            let mut host = Host::new(base, auth, tls);
            host.namespace = Some(self.reference.registry().to_owned());
            hosts.push(Arc::new(described(host, &path, settings)?));
        }
        let server = match &file.server {
            Some(server) => Some(base(&path, server, &file.own)?),
            None => None,
        };
        let tls = Tls::load(&path, &file.own)?;
        let own = match server {
            None if file.own.names_tls() => {
                Some(default_base(self.reference.registry(), |_, _| false))
            }
            server => server,
        };
        let host = self.registry_itself(own, tls)?;
        hosts.push(Arc::new(described(host, &path, &file.own)?));
        Ok(Route { hosts })
    }

    /// Returns the registry where its name leads, or where the file says that it is.
    fn registry_itself(&self, server: Option<Url>, tls: Tls) -> Result<Host, RouteError> {
        let registry = self.reference.registry();
        let auth = match self.asked {
            Auth::Anonymous => self
                .credentials
                .find(registry, self.reference.repository())?
                .unwrap_or_default(),
            asked => asked.clone(),
        };
        let base = server.unwrap_or_else(|| {
            let known = tls.is_usual();
            default_base(registry, |host, port| {
                known && self.transport.allows_plain(host, port)
            })
        });
        Ok(Host::new(base, auth, Arc::new(tls)))
    }

    /// Chooses what a mirror is shown: credentials of its own, else the caller's, unless they would
    /// go over the network in the clear or to a host that nobody has checked.
    fn auth_of_mirror(&self, base: &Url, tls: &Tls) -> Result<Auth, RouteError> {
        let own = self
            .credentials
            .find(&host_of(base), self.reference.repository())?;
        let is_safe = is_loopback(base.host_str().unwrap_or_default())
            || base.scheme() == "https" && tls.verifies();
        Ok(match own {
            Some(own) => own,
            None if is_safe => self.asked.clone(),
            None => Auth::Anonymous,
        })
    }
}

fn described(mut host: Host, path: &Path, settings: &Settings) -> Result<Host, RouteError> {
    (host.resolves, host.pulls) = settings.capabilities(path)?;
    for (name, values) in &settings.header {
        let refused = |value: &str, wanted| RouteError::Value {
            path: path.to_owned(),
            key: "header".to_owned(),
            value: value.to_owned(),
            wanted,
        };
        let name: HeaderName = name
            .parse()
            .map_err(|_| refused(name, "the name of a header"))?;
        for value in values.all() {
            if HeaderValue::from_str(value).is_err() {
                // It may be a secret.
                return Err(refused(name.as_str(), "a header with a usable value"));
            }
            host.headers.push((name.clone(), value.clone()));
        }
    }
    Ok(host)
}

/// Returns the address below which a host serves repositories.
fn base(path: &Path, text: &str, settings: &Settings) -> Result<Url, RouteError> {
    let refused = || RouteError::Value {
        path: path.to_owned(),
        key: "host".to_owned(),
        value: text.to_owned(),
        wanted: "the http:// or https:// address of a registry",
    };
    let with_scheme = match text.contains("://") {
        true => text.to_owned(),
        false => format!("https://{text}"),
    };
    let mut url = Url::parse(&with_scheme).map_err(|_| refused())?;
    let is_plain_address = url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() || !is_plain_address {
        return Err(refused());
    }
    let below = url.path().trim_end_matches('/').to_owned();
    if !settings.override_path && !below.ends_with("/v2") {
        url.set_path(&format!("{below}/v2"));
    }
    Ok(url)
}

/// Returns where a registry of this name is served; the default one by a host of another name.
pub(super) fn default_base(registry: &str, is_plain: impl Fn(&str, u16) -> bool) -> Url {
    let host = match registry {
        DEFAULT_REGISTRY => "registry-1.docker.io",
        other => other,
    };
    let parsed = |scheme: &str| Url::parse(&format!("{scheme}://{host}/v2")).ok();
    let plain = parsed("http").filter(|url| {
        let port = url.port_or_known_default().unwrap_or_default();
        is_plain(url.host_str().unwrap_or_default(), port)
    });
    plain
        .or_else(|| parsed("https"))
        // A checked reference always parses; should one not, nothing is ever reached here.
        .unwrap_or_else(unreachable_base)
}

#[expect(clippy::expect_used, reason = "a constant address that a test parses")]
fn unreachable_base() -> Url {
    Url::parse("https://registry.invalid/v2").expect("constant URL")
}

/// Returns the folders that may describe a registry, the first that is there counts.
fn folders_of(directory: &Path, registry: &str) -> Vec<PathBuf> {
    let mut names = vec![registry.to_owned()];
    if let Some((host, port)) = registry.rsplit_once(':') {
        // For file systems without colons.
        names.push(format!("{host}_{port}_"));
    }
    names.push(DEFAULT_FOLDER.to_owned());
    let is_name = |name: &String| !name.contains('/') && !matches!(name.as_str(), "." | "..");
    let names = names.into_iter().filter(is_name);
    names.map(|name| directory.join(name)).collect()
}

fn files_of(folder: &Path) -> Result<Vec<PathBuf>, RouteError> {
    let failed = |source| RouteError::Read {
        path: folder.to_owned(),
        source,
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        files.push(entry.map_err(failed)?.path());
    }
    files.sort();
    Ok(files)
}

/// Reads a small file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, RouteError> {
    let failed = |source| RouteError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(RouteError::TooLarge {
            path: path.to_owned(),
            cap: MAX_FILE,
        });
    }
    Ok(bytes)
}
