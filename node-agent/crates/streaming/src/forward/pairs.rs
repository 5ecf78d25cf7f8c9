//! Streams that belong together: a forwarded connection is one of data and one for errors.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::spdy::{Headers, Incoming};

const STREAM_TYPE: &str = "streamtype";
const PORT: &str = "port";
const REQUEST: &str = "requestid";

/// Which stream of a pair one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Data,
    Error,
}

/// What a stream says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) role: Role,
    pub(super) port: u16,
    /// The same for both streams of a pair.
    pub(super) request: String,
}

/// Why a stream is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("header streamtype is neither data nor error")]
    Role,
    #[error("header port is no port")]
    Port,
}

impl Label {
    /// Reads a stream's headers. Old clients name no request: their error stream is opened right
    /// before its data stream.
    pub(super) fn of(number: u32, headers: &Headers) -> Result<Self, Unusable> {
        let role = match headers.get(STREAM_TYPE) {
            Some("data") => Role::Data,
            Some("error") => Role::Error,
            _ => return Err(Unusable::Role),
        };
        let port = headers.get(PORT).and_then(|port| port.parse().ok());
        let port = port.filter(|port| *port != 0).ok_or(Unusable::Port)?;
        let request = match (headers.get(REQUEST), role) {
            (Some(request), _) => format!("named {request}"),
            (None, Role::Error) => format!("stream {number}"),
            (None, Role::Data) => format!("stream {}", number.saturating_sub(2)),
        };
        Ok(Self {
            role,
            port,
            request,
        })
    }
}

/// A pair that is complete.
pub(super) struct Pair {
    pub(super) port: u16,
    pub(super) data: Incoming,
    pub(super) error: Incoming,
}

struct Half {
    role: Role,
    port: u16,
    stream: Incoming,
    since: Instant,
}

/// Streams that wait for the other of their pair.
#[derive(Default)]
pub(super) struct Pairs(HashMap<String, Half>);

impl Pairs {
    /// Adds a stream; returns its pair once it is complete. A stream that fits none is reset.
    pub(super) fn add(&mut self, label: Label, stream: Incoming) -> Option<Pair> {
        let Some(other) = self.0.remove(&label.request) else {
            let half = Half {
                role: label.role,
                port: label.port,
                stream,
                since: Instant::now(),
            };
            self.0.insert(label.request, half);
            return None;
        };
        if other.role == label.role || other.port != label.port {
            stream.outflow.reset();
            self.0.insert(label.request, other);
            return None;
        }
        let (data, error) = match label.role {
            Role::Data => (stream, other.stream),
            Role::Error => (other.stream, stream),
        };
        Some(Pair {
            port: label.port,
            data,
            error,
        })
    }

    /// Resets those that have waited longer than `limit`.
    pub(super) fn expire(&mut self, limit: Duration) {
        self.0.retain(|_, half| {
            let stays = half.since.elapsed() < limit;
            if !stays {
                half.stream.outflow.reset();
            }
            stays
        });
    }
}
