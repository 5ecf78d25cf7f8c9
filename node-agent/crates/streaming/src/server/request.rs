//! One request: whether it may be upgraded, and the answer.

use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONNECTION, HeaderValue, UPGRADE};
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::OwnedSemaphorePermit;

use super::Server;
use super::negotiate::{
    self, ACCEPTED, Carrier, PROTOCOL, Refusal, SOCKET_ACCEPT, SOCKET_PROTOCOL,
};
use super::upgraded::Client;
use crate::backend::{Backend, Kind};

type Answer = Response<Full<Bytes>>;

impl<B: Backend> Server<B> {
    /// Answers a request; one that is upgraded goes on in a task of its own.
    pub(super) fn answer(
        self: &Arc<Self>,
        request: Request<Incoming>,
        permit: Arc<OwnedSemaphorePermit>,
    ) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::POST) {
            let mut answer = plain(
                StatusCode::METHOD_NOT_ALLOWED,
                "only GET and POST are known",
            );
            let methods = HeaderValue::from_static("GET, POST");
            answer.headers_mut().insert(ALLOW, methods);
            return answer;
        }
        let Some((kind, token)) = target(request.uri().path()) else {
            return plain(StatusCode::NOT_FOUND, "there is nothing here");
        };
        // All that can be refused is refused before the ticket is taken.
        let carrier = match negotiate::carrier(request.headers()) {
            Ok(carrier) => carrier,
            Err(refusal) => return refused(&refusal),
        };
        let command = kind != Kind::PortForward;
        let protocol = match negotiate::protocol(request.headers(), &carrier, command) {
            Ok(protocol) => protocol,
            Err(refusal) => return refused(&refusal),
        };
        let Some((grant, ticket)) = self.backend.redeem(kind, token) else {
            return plain(
                StatusCode::NOT_FOUND,
                "the ticket was used before, is too old, or never was",
            );
        };
        if negotiate::is_command(&grant) != command {
            return plain(StatusCode::NOT_FOUND, "the ticket is for something else");
        }
        if let Err(refusal) = negotiate::check_ports(&grant, &carrier, protocol) {
            return refused(&refusal);
        }
        let answer = switching(&carrier, protocol);
        let client = Client {
            grant,
            ticket,
            carrier,
            protocol,
        };
        let server = Arc::clone(self);
        tokio::spawn(async move {
            match hyper::upgrade::on(request).await {
                Ok(upgraded) => server.upgraded(client, upgraded).await,
                Err(error) => tracing::debug!(error = %error, "streaming client not upgraded"),
            }
            drop(permit);
        });
        answer
    }
}

/// Returns what a path names: a kind and a ticket.
fn target(path: &str) -> Option<(Kind, &str)> {
    let (kind, token) = path.strip_prefix('/')?.split_once('/')?;
    let kind = Kind::from_segment(kind)?;
    (!token.is_empty() && !token.contains('/')).then_some((kind, token))
}

fn plain(status: StatusCode, text: &str) -> Answer {
    let mut answer = Response::new(Full::from(format!("{text}\n")));
    *answer.status_mut() = status;
    // A ticket is for one request; whoever was refused asks for another.
    answer
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn refused(refusal: &Refusal) -> Answer {
    let Refusal::Protocol { carrier, accepted } = refusal else {
        return plain(StatusCode::BAD_REQUEST, &refusal.to_string());
    };
    // What clients expect of each: SPDY's try again with another protocol on 403.
    let status = match carrier {
        Carrier::Spdy => StatusCode::FORBIDDEN,
        Carrier::Socket { .. } => StatusCode::BAD_REQUEST,
    };
    let mut answer = plain(status, &refusal.to_string());
    for name in *accepted {
        let name = HeaderValue::from_static(name);
        answer.headers_mut().append(ACCEPTED, name);
    }
    answer
}

fn switching(carrier: &Carrier, protocol: &'static str) -> Answer {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    let (upgrade, named) = match carrier {
        Carrier::Spdy => ("SPDY/3.1", PROTOCOL),
        Carrier::Socket { accept } => {
            if let Ok(accept) = HeaderValue::from_str(accept) {
                headers.insert(SOCKET_ACCEPT, accept);
            }
            ("websocket", SOCKET_PROTOCOL)
        }
    };
    headers.insert(UPGRADE, HeaderValue::from_static(upgrade));
    if !protocol.is_empty() {
        headers.insert(named, HeaderValue::from_static(protocol));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_kind_and_a_ticket() {
        assert_eq!(target("/exec/abc"), Some((Kind::Exec, "abc")));
        assert_eq!(target("/portforward/x"), Some((Kind::PortForward, "x")));
        for path in [
            "",
            "/",
            "/exec",
            "/exec/",
            "/exec/a/b",
            "/other/a",
            "exec/a",
        ] {
            assert_eq!(target(path), None, "{path}");
        }
    }
}
