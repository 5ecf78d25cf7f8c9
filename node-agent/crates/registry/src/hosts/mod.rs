//! Where a registry is served: the hosts of its `hosts.toml`, mirrors first, the registry itself last.
//!
//! Owns: the directory with a folder for each registry, the file's format, and what a connection to
//! a host needs: certificates, headers, credentials. Everything is read anew for each pull, so a
//! change needs no restart. Does not: connect to anything.
//!
//! Start reading at [`load::route`]; `file` has the format, `tls` the certificates.

mod error;
mod file;
mod load;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use reqwest::Url;
use reqwest::header::HeaderName;

pub use error::RouteError;
pub(crate) use load::{read, route};
pub(crate) use tls::Tls;

use crate::auth::Auth;

/// Failures after which a mirror is left alone for the rest of a pull.
const MAX_FAULTS: u32 = 3;

/// What a host may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Capability {
    /// What a tag means.
    Resolve,
    /// Something by its digest.
    Pull,
}

/// The hosts to ask for a repository, in order; the registry itself is the last one.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) hosts: Vec<Arc<Host>>,
}

/// One place that serves a registry's repositories.
#[derive(Debug)]
pub(crate) struct Host {
    /// Everything before the repository's name, `/v2` included; ends without a slash.
    pub(crate) base: Url,
    /// The registry that a mirror is asked on behalf of.
    pub(crate) namespace: Option<String>,
    pub(crate) resolves: bool,
    pub(crate) pulls: bool,
    pub(crate) tls: Arc<Tls>,
    /// Sent along with every request.
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) auth: Auth,
    faults: AtomicU32,
    /// Whether it has served something else than was asked for.
    disbelieved: AtomicBool,
}

impl Host {
    pub(crate) const fn new(base: Url, auth: Auth, tls: Arc<Tls>) -> Self {
        Self {
            base,
            namespace: None,
            resolves: true,
            pulls: true,
            tls,
            headers: Vec::new(),
            auth,
            faults: AtomicU32::new(0),
            disbelieved: AtomicBool::new(false),
        }
    }

    pub(crate) const fn can(&self, capability: Capability) -> bool {
        match capability {
            Capability::Resolve => self.resolves,
            Capability::Pull => self.pulls,
        }
    }

    /// Returns the address of something below a repository.
    pub(crate) fn address(&self, repository: &str, path: &str) -> Url {
        let mut url = self.base.clone();
        let below = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{below}/{repository}/{path}"));
        if let Some(namespace) = &self.namespace {
            url.query_pairs_mut().append_pair("ns", namespace);
        }
        url
    }

    pub(crate) fn is_origin_of(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Returns what a request there is made with, here or where this host has redirected to.
    pub(crate) fn tls_for(&self, url: &Url) -> Arc<Tls> {
        match self.tls.is_usual() || self.is_origin_of(url) {
            true => Arc::clone(&self.tls),
            false => Arc::new(self.tls.elsewhere()),
        }
    }

    /// Takes note of a failure that says something about the host.
    pub(crate) fn failed(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives it another chance.
    pub(crate) fn forgive(&self) {
        self.faults.store(0, Ordering::Relaxed);
    }

    /// Takes note that it has served something else than was asked for; that is not forgiven.
    /// Returns whether that is news.
    pub(crate) fn disbelieve(&self) -> bool {
        !self.disbelieved.swap(true, Ordering::Relaxed)
    }

    /// Says whether a mirror has lied, or failed so often, that it is not asked again.
    pub(crate) fn is_given_up(&self) -> bool {
        self.disbelieved.load(Ordering::Relaxed)
            || self.faults.load(Ordering::Relaxed) >= MAX_FAULTS
    }
}
