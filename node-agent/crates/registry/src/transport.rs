//! One HTTP exchange: the right client, a socket permit, and errors that name the host.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, NoProxy, Proxy, Url};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::Secret;
use crate::config::{Config, Proxies};
use crate::error::{ConfigError, RequestError};
use crate::hosts::Tls;
use crate::plain::{PlainHttp, is_loopback};

/// Hosts whose permits are remembered; beyond it, idle ones are forgotten.
const MAX_HOSTS: usize = 256;

/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(60);
/// Clients with certificates of their own that are kept; beyond it, all are made again.
const MAX_CLIENTS: usize = 64;

/// What is sent, once.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) tls: Arc<Tls>,
    pub(crate) headers: Vec<(HeaderName, String)>,
    pub(crate) authorization: Option<Secret>,
    pub(crate) form: Option<Secret>,
    /// For messages: "manifest of ...", "blob ...".
    pub(crate) what: String,
}

/// An answer whose body is still to be read; holds the socket's permit.
#[derive(Debug)]
pub(crate) struct Exchange {
    response: reqwest::Response,
    host: String,
    what: String,
    _permit: Option<OwnedSemaphorePermit>,
}

/// How a host is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Way {
    /// With TLS.
    encrypted: bool,
    /// Without a proxy, whatever is configured.
    direct: bool,
}

/// The connections of a client.
#[derive(Debug)]
pub(crate) struct Transport {
    config: Config,
    proxies: Vec<Proxy>,
    /// By scheme (plain, TLS) and way (direct, proxied); made when first needed.
    clients: [OnceLock<reqwest::Client>; 4],
    /// Those for hosts with certificates or times of their own.
    special: Mutex<HashMap<(Arc<Tls>, Way), reqwest::Client>>,
    sockets: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Transport {
    pub(crate) fn new(config: Config) -> Result<Self, ConfigError> {
        // Another part of the program may have chosen a provider before; either will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(Self {
            proxies: proxies(&config.proxies)?,
            config,
            clients: Default::default(),
            special: Mutex::default(),
            sockets: Mutex::default(),
        })
    }

    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }

    /// Says whether plain HTTP may be spoken to a host.
    pub(crate) fn allows_plain(&self, host: &str, port: u16) -> bool {
        let covers = |rule: &PlainHttp| rule.covers(host, port);
        is_loopback(host) || self.config.plain_http.iter().any(covers)
    }

    /// Sends one request and returns the head of its answer, whatever its status.
    pub(crate) async fn exchange(&self, outgoing: &Outgoing) -> Result<Exchange, RequestError> {
        let host = host_of(&outgoing.url);
        let client = self.client(&outgoing.url, &host, &outgoing.tls)?;
        // The semaphore is never closed, so a permit is always to be had in the end.
        let permit = self.socket(&host).acquire_owned().await.ok();
        let mut headers = HeaderMap::new();
        for (name, value) in &outgoing.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name.clone(), value);
            }
        }
        if let Some(secret) = &outgoing.authorization
            && let Ok(mut value) = HeaderValue::from_str(secret.expose())
        {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let mut request = client
            .request(outgoing.method.clone(), outgoing.url.clone())
            .headers(headers);
        if let Some(form) = &outgoing.form {
            request = request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form.expose().to_owned());
        }
        let response = request
            .send()
            .await
            .map_err(|error| failure(error, &host, &outgoing.what))?;
        Ok(Exchange {
            response,
            host,
            what: outgoing.what.clone(),
            _permit: permit,
        })
    }

    fn socket(&self, host: &str) -> Arc<Semaphore> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        if sockets.len() >= MAX_HOSTS {
            sockets.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        }
        let fresh = || Arc::new(Semaphore::new(self.config.sockets_per_host.max(1)));
        Arc::clone(sockets.entry(host.to_owned()).or_insert_with(fresh))
    }

    fn client(
        &self,
        url: &Url,
        host: &str,
        tls: &Arc<Tls>,
    ) -> Result<reqwest::Client, RequestError> {
        let way = Way {
            encrypted: url.scheme() == "https",
            direct: is_loopback(url.host_str().unwrap_or_default()),
        };
        let made = || {
            self.build(way, tls).map_err(|source| RequestError::Tls {
                host: host.to_owned(),
                source,
            })
        };
        if !tls.is_usual() {
            let mut special = self.special.lock().unwrap_or_else(PoisonError::into_inner);
            if special.len() >= MAX_CLIENTS {
                special.clear();
            }
            return match special.entry((Arc::clone(tls), way)) {
                Entry::Occupied(known) => Ok(known.get().clone()),
                Entry::Vacant(place) => Ok(place.insert(made()?).clone()),
            };
        }
        let slot = &self.clients[usize::from(way.encrypted) + 2 * usize::from(way.direct)];
        if let Some(client) = slot.get() {
            return Ok(client.clone());
        }
        let client = made()?;
        Ok(slot.get_or_init(|| client).clone())
    }

    fn build(&self, way: Way, tls: &Tls) -> Result<reqwest::Client, reqwest::Error> {
        let timeouts = &self.config.timeouts;
        let mut builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .user_agent(&self.config.user_agent)
            .connect_timeout(tls.connect_timeout.unwrap_or(timeouts.connect))
            .read_timeout(timeouts.stall())
            .pool_max_idle_per_host(self.config.sockets_per_host)
            .pool_idle_timeout(IDLE)
            .http2_adaptive_window(true);
        if way.encrypted {
            builder = tls.apply(builder.https_only(true))?;
        } else {
            // Plain HTTP needs no root certificates, which a machine may not have.
            builder = builder.http1_only().tls_certs_only([]);
        }
        if !way.direct {
            for proxy in &self.proxies {
                builder = builder.proxy(proxy.clone());
            }
        }
        builder.build()
    }
}

impl Exchange {
    pub(crate) fn status(&self) -> reqwest::StatusCode {
        self.response.status()
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn url(&self) -> &Url {
        self.response.url()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    pub(crate) fn headers<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        let values = self.response.headers().get_all(name).into_iter();
        values.filter_map(|value| value.to_str().ok())
    }

    /// Returns the next bytes of the body, none at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, RequestError> {
        self.response
            .chunk()
            .await
            .map_err(|error| failure(error, &self.host, &self.what))
    }

    /// Returns the whole body, if it has at most `cap` bytes.
    pub(crate) async fn body(mut self, cap: u64) -> Result<Vec<u8>, RequestError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if (body.len() + chunk.len()) as u64 > cap {
                return Err(RequestError::TooLarge {
                    what: self.what,
                    cap,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// Returns the host with its port, for messages and permits.
pub(crate) fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Names the host and leaves out the URL, which may be signed.
fn failure(error: reqwest::Error, host: &str, what: &str) -> RequestError {
    let (host, what) = (host.to_owned(), what.to_owned());
    let source = error.without_url();
    if source.is_connect() || source.is_dns() {
        RequestError::Connect { host, source }
    } else if source.is_timeout() {
        RequestError::TimedOut { host, what }
    } else {
        RequestError::Broken {
            host,
            what,
            source: Some(source),
        }
    }
}

fn proxies(proxies: &Proxies) -> Result<Vec<Proxy>, ConfigError> {
    let none = proxies.none.as_deref().and_then(NoProxy::from_string);
    let mut found = Vec::new();
    if let Some(address) = &proxies.http {
        found.push(made("http", Proxy::http(address))?.no_proxy(none.clone()));
    }
    if let Some(address) = &proxies.https {
        found.push(made("https", Proxy::https(address))?.no_proxy(none));
    }
    Ok(found)
}

fn made(scheme: &'static str, proxy: reqwest::Result<Proxy>) -> Result<Proxy, ConfigError> {
    proxy.map_err(|source| ConfigError::Proxy {
        scheme,
        source: source.without_url(),
    })
}
