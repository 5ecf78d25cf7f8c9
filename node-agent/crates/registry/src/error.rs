//! Why a registry did not give what was asked for.

use std::time::Duration;

use agent_types::{Classify, Digest, ErrorKind};
use reqwest::StatusCode;

use crate::document::DocumentError;

/// Why the client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A proxy address is not a URL. The address may hold a password and is not shown.
    #[error("the {scheme} proxy address is not a URL")]
    Proxy {
        /// Which of the two.
        scheme: &'static str,
        /// What is wrong with it.
        source: reqwest::Error,
    },
}

impl Classify for ConfigError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Why a redirect was not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectRefusal {
    /// From TLS to plain HTTP.
    Downgrade,
    /// To plain HTTP on a host where that is not configured.
    PlainHttp,
    /// From elsewhere to a service of this machine.
    Loopback,
    /// Not an HTTP address.
    Address,
    /// Too many in a row.
    TooMany,
}

impl std::fmt::Display for RedirectRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Downgrade => "which would leave TLS",
            Self::PlainHttp => "where plain HTTP is not allowed",
            Self::Loopback => "which is a service of this machine",
            Self::Address => "which is no HTTP address",
            Self::TooMany => "after too many redirects",
        })
    }
}

/// Why a request to a registry failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// No connection: name resolution, network, TLS or a proxy.
    #[error("registry host {host} could not be reached")]
    Connect {
        /// The host and port.
        host: String,
        /// What went wrong.
        source: reqwest::Error,
    },
    /// No bytes for the time allowed.
    #[error("registry host {host} stopped answering for {what}")]
    TimedOut {
        /// The host and port.
        host: String,
        /// What was asked for.
        what: String,
    },
    /// The connection ended before the answer did.
    #[error("connection to registry host {host} broke during {what}")]
    Broken {
        /// The host and port.
        host: String,
        /// What was asked for.
        what: String,
        /// What went wrong; none if the answer just ended early.
        source: Option<reqwest::Error>,
    },
    /// The registry does not have it.
    #[error("{what} not found")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// Credentials are missing or not good enough, or the repository does not exist.
    #[error(
        "pull access denied for {repository}: it does not exist, or other credentials are needed"
    )]
    Denied {
        /// The repository with its registry.
        repository: String,
        /// Why no token was to be had, if that is where it ended.
        source: Option<Box<TokenError>>,
    },
    /// Another status than expected.
    #[error("registry host {host} answered {status} for {what}")]
    Status {
        /// The host and port.
        host: String,
        /// What was asked for.
        what: String,
        /// The answer's status.
        status: StatusCode,
        /// How long the host wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// A redirect that a client must not follow.
    #[error("registry host {host} redirected {what} to {target}, {refusal}")]
    Redirect {
        /// The host and port that redirected.
        host: String,
        /// What was asked for.
        what: String,
        /// The scheme and host it names.
        target: String,
        /// What is wrong with it.
        refusal: RedirectRefusal,
    },
    /// More bytes than such an answer may have.
    #[error("{what} is larger than {cap} bytes")]
    TooLarge {
        /// What was asked for.
        what: String,
        /// The limit.
        cap: u64,
    },
    /// No host may be asked: `hosts.toml` leaves it to none of them.
    #[error("no configured host of the registry may be asked for {what}")]
    NoHost {
        /// What was asked for.
        what: String,
    },
    /// The announced size contradicts what was expected.
    #[error("registry host {host} has {actual} bytes for {what}, not {expected}")]
    Size {
        /// The host and port.
        host: String,
        /// What was asked for.
        what: String,
        /// The size in the manifest.
        expected: u64,
        /// The size in the answer.
        actual: u64,
    },
    /// TLS cannot be used on this machine, for instance for lack of root certificates.
    #[error("no TLS connection can be made to registry host {host}")]
    Tls {
        /// The host and port.
        host: String,
        /// What went wrong.
        source: reqwest::Error,
    },
}

impl RequestError {
    /// Returns whether trying again may help, and how long the host asked to wait.
    pub(crate) fn transient(&self) -> Option<Option<Duration>> {
        match self {
            Self::Connect { .. } | Self::TimedOut { .. } | Self::Broken { .. } => Some(None),
            Self::Status {
                status,
                retry_after,
                ..
            } => (status.is_server_error() && *status != StatusCode::NOT_IMPLEMENTED
                || matches!(
                    *status,
                    StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
                ))
            .then_some(*retry_after),
            Self::NotFound { .. }
            | Self::NoHost { .. }
            | Self::Denied { .. }
            | Self::Redirect { .. }
            | Self::TooLarge { .. }
            | Self::Size { .. }
            | Self::Tls { .. } => None,
        }
    }
}

impl Classify for RequestError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Connect { .. } | Self::Broken { .. } | Self::Tls { .. } => ErrorKind::Unavailable,
            Self::TimedOut { .. } => ErrorKind::DeadlineExceeded,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Denied { .. } => ErrorKind::PermissionDenied,
            Self::Status { .. } if self.transient().is_some() => ErrorKind::Unavailable,
            Self::Status { .. }
            | Self::Redirect { .. }
            | Self::NoHost { .. }
            | Self::Size { .. } => ErrorKind::FailedPrecondition,
            Self::TooLarge { .. } => ErrorKind::ResourceExhausted,
        }
    }
}

/// Why no access token was to be had.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The realm is no URL that credentials may be sent to.
    #[error("registry names {realm:?} as its token server, which is not an address to trust")]
    Realm {
        /// The realm, cut to 200 characters.
        realm: String,
    },
    /// The token server could not be asked.
    #[error("token server {host} did not give a token")]
    Request {
        /// The token server.
        host: String,
        /// What went wrong.
        source: Box<RequestError>,
    },
    /// The token server refused.
    #[error("token server {host} refused with {status}")]
    Refused {
        /// The token server.
        host: String,
        /// The answer's status.
        status: StatusCode,
    },
    /// The answer holds no token.
    #[error("token server {host} gave an answer without a token")]
    Answer {
        /// The token server.
        host: String,
    },
    /// The registry wants a proof that these credentials are not.
    #[error("registry host {host} does not accept this kind of credentials")]
    Unsupported {
        /// The registry.
        host: String,
    },
}

/// Why a manifest or index could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The registry did not give it.
    #[error("manifest of {what} could not be fetched")]
    Request {
        /// The reference asked for.
        what: String,
        /// What went wrong.
        source: RequestError,
    },
    /// Its bytes are not what their name says.
    #[error("manifest of {what} is corrupt: its bytes hash to {actual}, not {expected}")]
    Digest {
        /// The reference asked for.
        what: String,
        /// The digest asked for or announced.
        expected: Digest,
        /// What the bytes hash to.
        actual: Digest,
    },
    /// It breaks the format.
    #[error("manifest of {what} is not acceptable")]
    Document {
        /// The reference asked for.
        what: String,
        /// What is wrong with it.
        source: DocumentError,
    },
}

impl ManifestError {
    /// Says whether what has come is at fault, and another host may have it right.
    pub(crate) const fn blames_content(&self) -> bool {
        match self {
            Self::Digest { .. } | Self::Document { .. } => true,
            Self::Request { source, .. } => matches!(source, RequestError::TooLarge { .. }),
        }
    }
}

impl Classify for ManifestError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Request { source, .. } => source.kind(),
            Self::Digest { .. } => ErrorKind::FailedPrecondition,
            Self::Document { source, .. } => source.kind(),
        }
    }
}
