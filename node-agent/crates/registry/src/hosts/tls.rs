//! How a host proves who it is, and how the node proves itself to it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Certificate, ClientBuilder, Identity};

use super::error::RouteError;
use super::file::{self, Settings};
use super::load::read;
use crate::auth::Secret;

/// What a connection to a host is made with. Two that are equal share connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Tls {
    /// Bundles of certificates that are trusted beside the system's.
    authorities: Vec<Vec<u8>>,
    /// Certificate and key shown to the host.
    identity: Option<Secret>,
    /// Whether any certificate will do.
    anything_goes: bool,
    /// Time for a connection, where it is not the usual one.
    pub(crate) connect_timeout: Option<Duration>,
}

impl Tls {
    /// Reads what `hosts.toml` says of a host.
    pub(super) fn load(path: &Path, settings: &Settings) -> Result<Self, RouteError> {
        let folder = path.parent().unwrap_or(path);
        let authorities = settings.ca.iter().flat_map(|texts| texts.all());
        let authorities = authorities
            .map(|name| authority(&file::beside(folder, name)))
            .collect::<Result<_, _>>()?;
        let pairs = settings.client_files();
        let identity = match pairs.as_slice() {
            [] => None,
            [pair] if pair.len() <= 2 => {
                let files: Vec<_> = pair.iter().map(|name| file::beside(folder, name)).collect();
                Some(identity(&files)?)
            }
            _ => {
                return Err(RouteError::Value {
                    path: path.to_owned(),
                    key: "client".to_owned(),
                    value: format!("{pairs:?}"),
                    wanted: "one certificate with its key",
                });
            }
        };
        Ok(Self {
            authorities,
            identity,
            anything_goes: settings.skip_verify == Some(true),
            connect_timeout: settings.dial_timeout(path)?,
        })
    }

    /// Reads a folder in docker's way: `*.crt` are trusted, `*.cert` and `*.key` are shown.
    pub(super) fn load_folder(folder: &Path, names: &[PathBuf]) -> Result<Self, RouteError> {
        let with = |extension: &str| {
            let is_one = move |name: &&PathBuf| name.extension().is_some_and(|e| e == extension);
            names.iter().filter(is_one).collect::<Vec<_>>()
        };
        let trusted = with("crt");
        let authorities = trusted.iter().map(|path| authority(path));
        let identity = match with("cert").as_slice() {
            [] => None,
            [cert] => Some(identity(&[(*cert).clone(), cert.with_extension("key")])?),
            _ => {
                return Err(RouteError::Value {
                    path: folder.to_owned(),
                    key: "*.cert".to_owned(),
                    value: "several files".to_owned(),
                    wanted: "one certificate with its key",
                });
            }
        };
        Ok(Self {
            authorities: authorities.collect::<Result<_, _>>()?,
            identity,
            ..Self::default()
        })
    }

    /// Says whether nothing is known about the host but its name.
    pub(crate) fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// Says whether the host at the other end is the one that is meant.
    pub(crate) const fn verifies(&self) -> bool {
        !self.anything_goes
    }

    /// Returns what a redirect to another host is followed with: the same trust, no identity.
    pub(crate) fn elsewhere(&self) -> Self {
        Self {
            identity: None,
            ..self.clone()
        }
    }

    /// Adds all of this to a client.
    pub(crate) fn apply(&self, mut builder: ClientBuilder) -> reqwest::Result<ClientBuilder> {
        let mut trusted = Vec::new();
        for bundle in &self.authorities {
            trusted.extend(Certificate::from_pem_bundle(bundle)?);
        }
        if !trusted.is_empty() {
            builder = builder.tls_certs_merge(trusted);
        }
        if let Some(identity) = &self.identity {
            builder = builder.identity(Identity::from_pem(identity.expose().as_bytes())?);
        }
        if self.anything_goes {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        Ok(builder)
    }
}

fn authority(path: &Path) -> Result<Vec<u8>, RouteError> {
    let bytes = read(path)?;
    let refused = |source| RouteError::Certificate {
        path: path.to_owned(),
        what: "certificate",
        source,
    };
    match Certificate::from_pem_bundle(&bytes) {
        Ok(found) if found.is_empty() => Err(refused(None)),
        Ok(_) => Ok(bytes),
        Err(source) => Err(refused(Some(source))),
    }
}

fn identity(paths: &[PathBuf]) -> Result<Secret, RouteError> {
    let mut pem = String::new();
    for path in paths {
        pem.push_str(&String::from_utf8_lossy(&read(path)?));
        pem.push('\n');
    }
    if let Err(source) = Identity::from_pem(pem.as_bytes()) {
        return Err(RouteError::Certificate {
            path: paths.first().cloned().unwrap_or_default(),
            what: "certificate and key",
            source: Some(source),
        });
    }
    Ok(Secret::new(pem))
}
