//! Proofs for registries: fetched from token servers, kept until they expire.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::{Method, Url};
use serde::Deserialize;

use crate::auth::{Auth, Secret};
use crate::error::TokenError;
use crate::hosts::Host;
use crate::plain::is_loopback;
use crate::transport::{Outgoing, Transport, host_of};

/// How long a token is taken to last if its server does not say: the specification's default.
const DEFAULT_LIFE: Duration = Duration::from_secs(60);
/// Proofs remembered; beyond it, expired ones are forgotten.
const MAX_PROOFS: usize = 1024;
/// Longest token that is put into a header.
const MAX_TOKEN: usize = 64 * 1024;

/// What a proof is good for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ProofKey {
    pub(crate) origin: String,
    pub(crate) repository: String,
    pub(crate) auth: Auth,
}

/// The value of an `Authorization` header, and how long it lasts.
#[derive(Debug, Clone)]
pub(crate) struct Proof {
    pub(crate) header: Secret,
    pub(crate) expires: Option<Instant>,
}

/// The proofs that registries have accepted or token servers have given.
#[derive(Debug, Default)]
pub(crate) struct Proofs(Mutex<HashMap<ProofKey, Proof>>);

impl Proofs {
    /// Returns the header to send, if a proof is at hand and still good.
    pub(crate) fn get(&self, key: &ProofKey) -> Option<Secret> {
        let proofs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let proof = proofs.get(key).filter(|proof| proof.is_good())?;
        Some(proof.header.clone())
    }

    pub(crate) fn put(&self, key: ProofKey, proof: Proof) {
        let mut proofs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if proofs.len() >= MAX_PROOFS {
            proofs.retain(|_, proof| proof.expires.is_some() && proof.is_good());
        }
        proofs.insert(key, proof);
    }
}

impl Proof {
    fn is_good(&self) -> bool {
        self.expires.is_none_or(|expires| Instant::now() < expires)
    }
}

/// What to ask a token server for.
#[derive(Debug)]
pub(crate) struct TokenRequest<'a> {
    /// The host the token is for.
    pub(crate) host: &'a Host,
    pub(crate) realm: &'a str,
    pub(crate) service: Option<&'a str>,
    pub(crate) scope: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// Fetches a token; what comes back is the header to send to the registry.
pub(crate) async fn fetch(
    transport: &Transport,
    request: TokenRequest<'_>,
) -> Result<Proof, TokenError> {
    let realm = trusted_realm(transport, &request.host.base, request.realm)?;
    let host = host_of(&realm);
    let outgoing = outgoing(realm, &request);
    let asked = Instant::now();
    let failed = |source| TokenError::Request {
        host: host.clone(),
        source: Box::new(source),
    };
    let exchange = transport.exchange(&outgoing).await.map_err(failed)?;
    let status = exchange.status();
    if !status.is_success() {
        return Err(TokenError::Refused { host, status });
    }
    let cap = transport.config().limits.token;
    let body = exchange.body(cap).await.map_err(failed)?;
    // What the body holds must not reach a log, so the parser's complaint is not kept.
    let no_token = || TokenError::Answer { host: host.clone() };
    let answer: Answer = serde_json::from_slice(&body).map_err(|_| no_token())?;
    let is_token = |token: &String| {
        !token.is_empty() && token.len() <= MAX_TOKEN && token.bytes().all(|b| b.is_ascii_graphic())
    };
    let mut tokens = [answer.token, answer.access_token].into_iter().flatten();
    let token = tokens.find(is_token).ok_or_else(no_token)?;
    let life = answer.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs);
    Ok(Proof {
        header: Secret::new(format!("Bearer {token}")),
        // A tenth early, so that it does not expire on the way.
        expires: asked.checked_add(life.min(Duration::from_secs(86_400)).mul_f32(0.9)),
    })
}

fn outgoing(mut realm: Url, request: &TokenRequest<'_>) -> Outgoing {
    let what = format!("a token for {}", request.scope);
    let service = request.service.unwrap_or_default();
    let tls = request.host.tls_for(&realm);
    if let Auth::IdentityToken(refresh) = &request.host.auth {
        let mut form = realm.clone();
        form.query_pairs_mut()
            .clear()
            .append_pair("grant_type", "refresh_token")
            .append_pair("service", service)
            .append_pair("client_id", "node-agent")
            .append_pair("scope", request.scope)
            .append_pair("refresh_token", refresh.expose());
        return Outgoing {
            method: Method::POST,
            url: realm,
            tls,
            headers: Vec::new(),
            authorization: None,
            form: Some(Secret::new(form.query().unwrap_or_default())),
            what,
        };
    }
    {
        let mut query = realm.query_pairs_mut();
        if request.service.is_some() {
            query.append_pair("service", service);
        }
        for scope in request.scope.split(' ') {
            query.append_pair("scope", scope);
        }
        if let Auth::Basic { username, .. } = &request.host.auth {
            query.append_pair("account", username);
        }
    }
    Outgoing {
        method: Method::GET,
        url: realm,
        tls,
        headers: Vec::new(),
        authorization: request.host.auth.basic_header(),
        form: None,
        what,
    }
}

/// Accepts a realm that is as safe as the registry itself: TLS, unless plain HTTP is allowed to
/// both, and not this machine, unless the registry is.
fn trusted_realm(transport: &Transport, origin: &Url, realm: &str) -> Result<Url, TokenError> {
    let refused = || TokenError::Realm {
        realm: realm.chars().take(200).collect(),
    };
    let mut url = Url::parse(realm).map_err(|_| refused())?;
    let host = url.host_str().ok_or_else(refused)?.to_owned();
    let port = url.port_or_known_default().unwrap_or_default();
    let scheme_is_safe = match url.scheme() {
        "https" => true,
        "http" => {
            let is_origin = url.origin() == origin.origin();
            origin.scheme() == "http" && (is_origin || transport.allows_plain(&host, port))
        }
        _ => false,
    };
    let local = is_loopback(&host) && !is_loopback(origin.host_str().unwrap_or_default());
    let cleared = url.set_username("").is_ok() && url.set_password(None).is_ok();
    if !scheme_is_safe || local || !cleared {
        return Err(refused());
    }
    url.set_fragment(None);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn credentials_go_only_to_realms_as_safe_as_the_registry() {
        let config = Config {
            plain_http: vec!["10.0.0.1".parse().unwrap()],
            ..Config::default()
        };
        let transport = Transport::new(config).unwrap();
        let trusted = |origin: &str, realm: &str| {
            trusted_realm(&transport, &Url::parse(origin).unwrap(), realm).is_ok()
        };
        assert!(trusted("https://r.io", "https://auth.io/token?x=1"));
        assert!(!trusted("https://r.io", "http://auth.io/token"));
        assert!(!trusted("https://r.io", "http://10.0.0.1/token"));
        assert!(!trusted("https://r.io", "https://127.0.0.1/token"));
        assert!(!trusted("https://r.io", "file:///etc/passwd"));
        assert!(!trusted("https://r.io", "token"));
        assert!(trusted("http://10.0.0.1", "http://10.0.0.1/token"));
        assert!(!trusted("http://10.0.0.1", "http://127.0.0.1:9/token"));
        assert!(trusted("http://mirror.lan", "http://mirror.lan/token"));
        assert!(!trusted("http://mirror.lan", "http://other.lan/token"));
        assert!(trusted("http://127.0.0.1:5000", "http://127.0.0.1:9/token"));
    }

    #[test]
    fn proofs_expire_and_belong_to_their_credentials() {
        let proofs = Proofs::default();
        let key = |auth: Auth| ProofKey {
            origin: "https://r.io".into(),
            repository: "a/b".into(),
            auth,
        };
        let proof = |expires| Proof {
            header: Secret::new("Bearer x"),
            expires,
        };
        proofs.put(key(Auth::Anonymous), proof(Some(Instant::now())));
        assert!(proofs.get(&key(Auth::Anonymous)).is_none());
        proofs.put(key(Auth::Anonymous), proof(None));
        assert!(proofs.get(&key(Auth::Anonymous)).is_some());
        let other = Auth::IdentityToken(Secret::new("x"));
        assert!(proofs.get(&key(other)).is_none());
    }
}
