//! The way of one request: find the registry, prove who asks, follow redirects, judge the answer.

use std::sync::Arc;
use std::time::Duration;

use agent_types::Reference;
use reqwest::header::HeaderName;
use reqwest::{Method, StatusCode, Url};

use crate::auth::{Auth, Secret};
use crate::challenge::{self, Challenge};
use crate::error::{RedirectRefusal, RequestError, TokenError};
use crate::hosts::{Capability, Host, Route};
use crate::plain::is_loopback;
use crate::retry::Retry;
use crate::token::{self, Proof, ProofKey, Proofs, TokenRequest};
use crate::transport::{Exchange, Outgoing, Transport, host_of};

const MAX_REDIRECTS: usize = 8;

/// What all sessions of a client share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) transport: Transport,
    pub(crate) proofs: Proofs,
}

/// One caller's dealings with one repository, on the hosts that serve it.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    reference: Reference,
    route: Arc<Route>,
}

/// A request below the repository.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) capability: Capability,
    /// Below `/v2/<repository>/`.
    pub(crate) path: String,
    pub(crate) headers: Vec<(HeaderName, String)>,
    /// For messages.
    pub(crate) what: String,
}

/// An answer, and who gave it.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) exchange: Exchange,
    pub(crate) host: Arc<Host>,
}

impl Session {
    pub(crate) const fn new(shared: Arc<Shared>, reference: Reference, route: Arc<Route>) -> Self {
        Self {
            shared,
            reference,
            route,
        }
    }

    pub(crate) const fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Sends a request until it is answered, refused for good, or has failed too often.
    pub(crate) async fn send_until_answered(&self, ask: &Ask) -> Result<Answered, RequestError> {
        let mut retry = Retry::new(self.shared.transport.config());
        loop {
            match self.send(ask).await {
                Ok(answered) => return Ok(answered),
                Err(error) => tokio::time::sleep(retry.after(error)?).await,
            }
        }
    }

    /// Sends a request once to each host until one gives an answer of success. What the last of
    /// them says counts: it is the registry itself.
    pub(crate) async fn send(&self, ask: &Ask) -> Result<Answered, RequestError> {
        let able: Vec<_> = self.able(ask.capability).collect();
        let Some((last, mirrors)) = able.split_last() else {
            return Err(RequestError::NoHost {
                what: ask.what.clone(),
            });
        };
        for mirror in mirrors.iter().filter(|mirror| !mirror.is_given_up()) {
            match self.send_to(mirror, ask).await {
                Ok(answered) => return Ok(answered),
                Err(error) => {
                    if !matches!(error, RequestError::NotFound { .. }) {
                        mirror.failed();
                        tracing::warn!(
                            host = host_of(&mirror.base),
                            error = %agent_telemetry::chain(&error),
                            "registry mirror passed over"
                        );
                    }
                }
            }
        }
        let sent = self.send_to(last, ask).await;
        if sent
            .as_ref()
            .is_err_and(|error| error.transient().is_some())
        {
            // Better a mirror that fails now and then than nobody.
            mirrors.iter().for_each(|mirror| mirror.forgive());
        }
        sent
    }

    /// Asks a mirror that has served something else than was asked for nothing more in this pull.
    /// Returns whether there is anybody else to ask: behind the registry itself there is nobody.
    pub(crate) fn pass_over(
        &self,
        host: &Arc<Host>,
        capability: Capability,
        error: &(impl std::error::Error + 'static),
    ) -> bool {
        let last = self.able(capability).last();
        if last.is_none_or(|last| Arc::ptr_eq(last, host)) {
            return false;
        }
        if host.disbelieve() {
            tracing::warn!(
                host = host_of(&host.base),
                error = %agent_telemetry::chain(error),
                "registry mirror has served something else than was asked for and is passed over"
            );
        }
        true
    }

    fn able(&self, capability: Capability) -> impl Iterator<Item = &Arc<Host>> {
        let hosts = self.route.hosts.iter();
        hosts.filter(move |host| host.can(capability))
    }

    async fn send_to(&self, host: &Arc<Host>, ask: &Ask) -> Result<Answered, RequestError> {
        let exchange = self.exchange_with(host, ask).await?;
        Ok(Answered {
            exchange,
            host: Arc::clone(host),
        })
    }

    async fn exchange_with(&self, host: &Host, ask: &Ask) -> Result<Exchange, RequestError> {
        let exchange = self.follow(host, ask, self.proof(host)).await?;
        if exchange.status() != StatusCode::UNAUTHORIZED || !host.is_origin_of(exchange.url()) {
            return self.judge(host, exchange, ask);
        }
        let challenges = challenge::parse(exchange.headers("www-authenticate"));
        // Gives the socket back before the token server, perhaps the same host, is asked.
        drop(exchange);
        let proof = self.prove(host, &challenges).await?;
        let header = proof.header.clone();
        self.shared.proofs.put(self.proof_key(host), proof);
        let exchange = self.follow(host, ask, Some(header)).await?;
        self.judge(host, exchange, ask)
    }

    /// Returns the proof at hand, so that a registry need not ask each time.
    fn proof(&self, host: &Host) -> Option<Secret> {
        match &host.auth {
            Auth::RegistryToken(token) => Some(Secret::new(format!("Bearer {}", token.expose()))),
            _ => self.shared.proofs.get(&self.proof_key(host)),
        }
    }

    fn proof_key(&self, host: &Host) -> ProofKey {
        ProofKey {
            origin: host.base.to_string(),
            repository: self.reference.repository().to_owned(),
            auth: host.auth.clone(),
        }
    }

    /// Answers the first challenge that can be answered.
    async fn prove(&self, host: &Host, challenges: &[Challenge]) -> Result<Proof, RequestError> {
        let pull = format!("repository:{}:pull", self.reference.repository());
        let mut refused = None;
        for challenge in challenges {
            match challenge {
                // The token itself was what the registry refused.
                _ if matches!(host.auth, Auth::RegistryToken(_)) => {}
                Challenge::Basic => {
                    if let Some(header) = host.auth.basic_header() {
                        return Ok(Proof {
                            header,
                            expires: None,
                        });
                    }
                }
                Challenge::Bearer {
                    realm,
                    service,
                    scope,
                } => {
                    let request = TokenRequest {
                        host,
                        realm,
                        service: service.as_deref(),
                        scope: scope.as_deref().unwrap_or(&pull),
                    };
                    match token::fetch(&self.shared.transport, request).await {
                        Ok(proof) => return Ok(proof),
                        // A token server that is down is no refusal.
                        Err(TokenError::Request { source, .. }) if source.transient().is_some() => {
                            return Err(*source);
                        }
                        Err(error) => refused = refused.or(Some(error)),
                    }
                }
            }
        }
        let unsupported = || TokenError::Unsupported {
            host: host_of(&host.base),
        };
        Err(self.denied(Some(refused.unwrap_or_else(unsupported))))
    }

    /// Sends a request along redirects; proof and headers go to the host itself only.
    async fn follow(
        &self,
        host: &Host,
        ask: &Ask,
        proof: Option<Secret>,
    ) -> Result<Exchange, RequestError> {
        let mut url = host.address(self.reference.repository(), &ask.path);
        for _ in 0..=MAX_REDIRECTS {
            let at_home = host.is_origin_of(&url);
            let mut headers = ask.headers.clone();
            if at_home {
                headers.extend(host.headers.iter().cloned());
            }
            let outgoing = Outgoing {
                method: ask.method.clone(),
                authorization: proof.clone().filter(|_| at_home),
                tls: host.tls_for(&url),
                url,
                headers,
                form: None,
                what: ask.what.clone(),
            };
            let exchange = self.shared.transport.exchange(&outgoing).await?;
            if !is_redirect(exchange.status()) {
                return Ok(exchange);
            }
            let location = exchange.header("location").unwrap_or_default();
            url = next_hop(exchange.url(), location, host, &self.shared.transport).map_err(
                |(target, refusal)| RequestError::Redirect {
                    host: exchange.host().to_owned(),
                    what: ask.what.clone(),
                    target,
                    refusal,
                },
            )?;
        }
        Err(RequestError::Redirect {
            host: host_of(&host.base),
            what: ask.what.clone(),
            target: "yet another place".to_owned(),
            refusal: RedirectRefusal::TooMany,
        })
    }

    fn judge(&self, host: &Host, exchange: Exchange, ask: &Ask) -> Result<Exchange, RequestError> {
        let status = exchange.status();
        let at_home = host.is_origin_of(exchange.url());
        match status {
            _ if status.is_success() => Ok(exchange),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if at_home => Err(self.denied(None)),
            StatusCode::NOT_FOUND => Err(RequestError::NotFound {
                what: ask.what.clone(),
            }),
            _ => Err(RequestError::Status {
                host: exchange.host().to_owned(),
                what: ask.what.clone(),
                status,
                retry_after: retry_after(exchange.header("retry-after")),
            }),
        }
    }

    fn denied(&self, source: Option<TokenError>) -> RequestError {
        RequestError::Denied {
            repository: self.reference.familiar_name(),
            source: source.map(Box::new),
        }
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Returns where a redirect leads, or why it is not followed: never out of TLS, never to plain
/// HTTP that is not configured, never from elsewhere to services of this machine.
fn next_hop(
    from: &Url,
    location: &str,
    home: &Host,
    transport: &Transport,
) -> Result<Url, (String, RedirectRefusal)> {
    let no_address = || ("nowhere".to_owned(), RedirectRefusal::Address);
    let mut url = from.join(location).map_err(|_| no_address())?;
    let host = url.host_str().ok_or_else(no_address)?.to_owned();
    if location.is_empty() || url.set_username("").is_err() || url.set_password(None).is_err() {
        return Err(no_address());
    }
    let port = url.port_or_known_default().unwrap_or_default();
    let from_loopback = is_loopback(from.host_str().unwrap_or_default());
    let refusal = match (from.scheme(), url.scheme()) {
        ("https", "http") => Some(RedirectRefusal::Downgrade),
        (_, "http") if !transport.allows_plain(&host, port) && !home.is_origin_of(&url) => {
            Some(RedirectRefusal::PlainHttp)
        }
        (_, "http" | "https") if is_loopback(&host) && !from_loopback => {
            Some(RedirectRefusal::Loopback)
        }
        (_, "http" | "https") => None,
        _ => Some(RedirectRefusal::Address),
    };
    match refusal {
        None => Ok(url),
        Some(refusal) => Err((format!("{}://{}", url.scheme(), host_of(&url)), refusal)),
    }
}

/// Reads the seconds of a `Retry-After`; a date is left to our own waits.
fn retry_after(value: Option<&str>) -> Option<Duration> {
    value?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn transport() -> Transport {
        Transport::new(Config {
            plain_http: vec!["10.0.0.0/8".parse().unwrap()],
            ..Config::default()
        })
        .unwrap()
    }

    #[test]
    fn redirects_keep_to_what_is_safe() {
        let transport = transport();
        let hop = |from: &str, to: &str| {
            let from = Url::parse(from).unwrap();
            let home = Url::parse("http://home.lan:5000/v2").unwrap();
            let home = Host::new(home, Auth::Anonymous, Arc::default());
            next_hop(&from, to, &home, &transport)
                .map(String::from)
                .map_err(|(_, refusal)| refusal)
        };
        assert_eq!(hop("https://r.io/v2/", "/b").unwrap(), "https://r.io/b");
        assert_eq!(
            hop("https://r.io/", "https://u:p@cdn.io/b?sig=1").unwrap(),
            "https://cdn.io/b?sig=1"
        );
        let refused = |from, to| hop(from, to).unwrap_err();
        assert_eq!(
            refused("https://r.io/", "http://10.0.0.1/b"),
            RedirectRefusal::Downgrade
        );
        assert_eq!(
            refused("http://10.0.0.1/", "http://cdn.io/b"),
            RedirectRefusal::PlainHttp
        );
        assert_eq!(
            refused("http://10.0.0.1/", "http://127.0.0.1:8080/"),
            RedirectRefusal::Loopback
        );
        assert_eq!(
            refused("https://r.io/", "https://localhost/"),
            RedirectRefusal::Loopback
        );
        assert_eq!(
            refused("https://r.io/", "file:///etc/passwd"),
            RedirectRefusal::Address
        );
        assert_eq!(refused("https://r.io/", ""), RedirectRefusal::Address);
        assert!(hop("http://127.0.0.1:1/", "http://127.0.0.1:2/b").is_ok());
        let home = hop("http://home.lan:5000/v2/a", "/b");
        assert_eq!(home.unwrap(), "http://home.lan:5000/b");
        assert_eq!(
            refused("http://home.lan:5000/", "http://home.lan:5001/"),
            RedirectRefusal::PlainHttp
        );
    }

    #[test]
    fn retry_after_is_seconds_only() {
        assert_eq!(retry_after(Some(" 3 ")), Some(Duration::from_secs(3)));
        assert_eq!(retry_after(Some("Wed, 21 Oct 2026 07:28:00 GMT")), None);
        assert_eq!(retry_after(None), None);
    }
}
