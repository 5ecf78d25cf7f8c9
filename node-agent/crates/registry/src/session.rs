//! The way of one request: find the registry, prove who asks, follow redirects, judge the answer.

use std::sync::Arc;
use std::time::Duration;

use agent_types::Reference;
use reqwest::header::HeaderName;
use reqwest::{Method, StatusCode, Url};

use crate::auth::{Auth, Secret};
use crate::challenge::{self, Challenge};
use crate::error::{RedirectRefusal, RequestError, TokenError};
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

/// One caller's dealings with one repository.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) shared: Arc<Shared>,
    reference: Reference,
    auth: Auth,
    origin: Url,
}

/// A request below the repository.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    /// Below `/v2/<repository>/`.
    pub(crate) path: String,
    pub(crate) headers: Vec<(HeaderName, String)>,
    /// For messages.
    pub(crate) what: String,
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, reference: &Reference, auth: &Auth) -> Self {
        let origin = origin(reference.registry(), &shared.transport);
        Self {
            shared,
            reference: reference.clone(),
            auth: auth.clone(),
            origin,
        }
    }

    pub(crate) const fn reference(&self) -> &Reference {
        &self.reference
    }

    /// Sends a request until it is answered, refused for good, or has failed too often.
    pub(crate) async fn send_until_answered(&self, ask: &Ask) -> Result<Exchange, RequestError> {
        let mut retry = Retry::new(&self.shared.transport.config().retries);
        loop {
            match self.send(ask).await {
                Ok(exchange) => return Ok(exchange),
                Err(error) => tokio::time::sleep(retry.after(error)?).await,
            }
        }
    }

    /// Sends a request once and returns an answer of success.
    pub(crate) async fn send(&self, ask: &Ask) -> Result<Exchange, RequestError> {
        let exchange = self.follow(ask, self.proof()).await?;
        if exchange.status() != StatusCode::UNAUTHORIZED || !self.is_origin(exchange.url()) {
            return self.judge(exchange, ask);
        }
        let challenges = challenge::parse(exchange.headers("www-authenticate"));
        // Gives the socket back before the token server, perhaps the same host, is asked.
        drop(exchange);
        let proof = self.prove(&challenges).await?;
        let header = proof.header.clone();
        self.shared.proofs.put(self.proof_key(), proof);
        let exchange = self.follow(ask, Some(header)).await?;
        self.judge(exchange, ask)
    }

    /// Returns the proof at hand, so that a registry need not ask each time.
    fn proof(&self) -> Option<Secret> {
        match &self.auth {
            Auth::RegistryToken(token) => Some(Secret::new(format!("Bearer {}", token.expose()))),
            _ => self.shared.proofs.get(&self.proof_key()),
        }
    }

    fn proof_key(&self) -> ProofKey {
        ProofKey {
            origin: self.origin.to_string(),
            repository: self.reference.repository().to_owned(),
            auth: self.auth.clone(),
        }
    }

    /// Answers the first challenge that can be answered.
    async fn prove(&self, challenges: &[Challenge]) -> Result<Proof, RequestError> {
        let pull = format!("repository:{}:pull", self.reference.repository());
        let mut refused = None;
        for challenge in challenges {
            match challenge {
                // The token itself was what the registry refused.
                _ if matches!(self.auth, Auth::RegistryToken(_)) => {}
                Challenge::Basic => {
                    if let Some(header) = self.auth.basic_header() {
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
                        origin: &self.origin,
                        realm,
                        service: service.as_deref(),
                        scope: scope.as_deref().unwrap_or(&pull),
                        auth: &self.auth,
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
            host: host_of(&self.origin),
        };
        Err(self.denied(Some(refused.unwrap_or_else(unsupported))))
    }

    /// Sends a request along redirects; the proof goes to the registry itself only.
    async fn follow(&self, ask: &Ask, proof: Option<Secret>) -> Result<Exchange, RequestError> {
        let mut url = self.origin.clone();
        url.set_path(&format!("/v2/{}/{}", self.reference.repository(), ask.path));
        for _ in 0..=MAX_REDIRECTS {
            let outgoing = Outgoing {
                method: ask.method.clone(),
                authorization: proof.clone().filter(|_| self.is_origin(&url)),
                url,
                headers: ask.headers.clone(),
                form: None,
                what: ask.what.clone(),
            };
            let exchange = self.shared.transport.exchange(&outgoing).await?;
            if !is_redirect(exchange.status()) {
                return Ok(exchange);
            }
            let location = exchange.header("location").unwrap_or_default();
            url = next_hop(exchange.url(), location, &self.shared.transport).map_err(
                |(target, refusal)| RequestError::Redirect {
                    host: exchange.host().to_owned(),
                    what: ask.what.clone(),
                    target,
                    refusal,
                },
            )?;
        }
        Err(RequestError::Redirect {
            host: host_of(&self.origin),
            what: ask.what.clone(),
            target: "yet another place".to_owned(),
            refusal: RedirectRefusal::TooMany,
        })
    }

    fn judge(&self, exchange: Exchange, ask: &Ask) -> Result<Exchange, RequestError> {
        let status = exchange.status();
        let at_origin = self.is_origin(exchange.url());
        match status {
            _ if status.is_success() => Ok(exchange),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if at_origin => Err(self.denied(None)),
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

    fn is_origin(&self, url: &Url) -> bool {
        url.origin() == self.origin.origin()
    }
}

/// Returns where a registry is served; the default one by a host of another name.
fn origin(registry: &str, transport: &Transport) -> Url {
    let host = match registry {
        agent_types::reference::DEFAULT_REGISTRY => "registry-1.docker.io",
        other => other,
    };
    let parsed = |scheme: &str| Url::parse(&format!("{scheme}://{host}/")).ok();
    let plain = parsed("http").filter(|url| {
        let port = url.port_or_known_default().unwrap_or_default();
        transport.allows_plain(url.host_str().unwrap_or_default(), port)
    });
    plain
        .or_else(|| parsed("https"))
        // A checked reference always parses; should one not, nothing is ever reached here.
        .unwrap_or_else(unreachable_origin)
}

#[expect(clippy::expect_used, reason = "a constant address that a test parses")]
fn unreachable_origin() -> Url {
    Url::parse("https://registry.invalid/").expect("constant URL")
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Returns where a redirect leads, or why it is not followed: never out of TLS, never to plain
/// HTTP that is not configured, never from elsewhere to services of this machine.
fn next_hop(
    from: &Url,
    location: &str,
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
        (_, "http") if !transport.allows_plain(&host, port) => Some(RedirectRefusal::PlainHttp),
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
    fn registries_are_found_by_scheme_and_name() {
        for (registry, expected) in [
            ("docker.io", "https://registry-1.docker.io/"),
            ("ghcr.io", "https://ghcr.io/"),
            ("r.lan:5000", "https://r.lan:5000/"),
            ("localhost:5000", "http://localhost:5000/"),
            ("127.0.0.1", "http://127.0.0.1/"),
            ("[::1]:5000", "http://[::1]:5000/"),
            ("10.1.2.3:5000", "http://10.1.2.3:5000/"),
            ("11.1.2.3:5000", "https://11.1.2.3:5000/"),
        ] {
            assert_eq!(origin(registry, &transport()).as_str(), expected);
        }
        assert_eq!(unreachable_origin().scheme(), "https");
    }

    #[test]
    fn redirects_keep_to_what_is_safe() {
        let transport = transport();
        let hop = |from: &str, to: &str| {
            next_hop(&Url::parse(from).unwrap(), to, &transport)
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
    }

    #[test]
    fn retry_after_is_seconds_only() {
        assert_eq!(retry_after(Some(" 3 ")), Some(Duration::from_secs(3)));
        assert_eq!(retry_after(Some("Wed, 21 Oct 2026 07:28:00 GMT")), None);
        assert_eq!(retry_after(None), None);
    }
}
