//! Credentials, which never show in logs.

use std::fmt;

use agent_types::{Classify, ErrorKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// Longest credential accepted, in bytes.
const MAX_LENGTH: usize = 64 * 1024;

/// A string that must not be logged: its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// Returns the secret itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Docker's `auth` field is not base64 of `user:password`.
    #[error("registry credentials are not base64 of user:password")]
    Encoding,
    /// Longer than any credential.
    #[error("registry credentials are longer than {MAX_LENGTH} bytes")]
    TooLong,
}

impl Classify for AuthError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// What a caller presents to a registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Auth {
    /// Nothing; tokens for everybody are still fetched.
    #[default]
    Anonymous,
    /// A name and a password, for basic authentication or in exchange for a token.
    Basic {
        /// Who.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token from an earlier login, exchanged for access tokens.
    IdentityToken(Secret),
    /// An access token, sent to the registry as it is.
    RegistryToken(Secret),
}

impl Auth {
    /// Reads docker's `auth` field: base64 of `user:password`.
    pub fn from_docker(encoded: &str) -> Result<Self, AuthError> {
        if encoded.len() > MAX_LENGTH {
            return Err(AuthError::TooLong);
        }
        let encoded = encoded.trim_end_matches(['\n', '\0', '=']);
        let bytes = STANDARD_NO_PAD
            .decode(encoded)
            .map_err(|_| AuthError::Encoding)?;
        let text = String::from_utf8(bytes).map_err(|_| AuthError::Encoding)?;
        let (username, password) = text.split_once(':').ok_or(AuthError::Encoding)?;
        Ok(Self::Basic {
            username: username.to_owned(),
            password: Secret::new(password.trim_end_matches('\0')),
        })
    }

    /// Says whether credentials for `server`, a host or an address, are meant for a registry. Those
    /// for no server in particular are for the one that is asked.
    #[must_use]
    pub fn are_for(server: &str, registry: &str) -> bool {
        crate::credentials::are_for(server, registry)
    }

    /// Returns the value of a basic `Authorization` header, if there is a name and a password.
    pub(crate) fn basic_header(&self) -> Option<Secret> {
        match self {
            Self::Basic { username, password } => {
                let pair = format!("{username}:{}", password.expose());
                Some(Secret::new(format!("Basic {}", STANDARD.encode(pair))))
            }
            Self::Anonymous | Self::IdentityToken(_) | Self::RegistryToken(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_do_not_show() {
        let auth = Auth::Basic {
            username: "ada".into(),
            password: Secret::new("hunter2"),
        };
        let shown = format!("{auth:?} {:?}", Auth::RegistryToken(Secret::new("hunter2")));
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("[redacted]"));
    }

    #[test]
    fn docker_credentials_are_decoded() {
        let auth = Auth::from_docker("YWRhOmh1bnRlcjI6eA==").unwrap();
        let expected = Auth::Basic {
            username: "ada".into(),
            password: Secret::new("hunter2:x"),
        };
        assert_eq!(auth, expected);
        assert_eq!(
            auth.basic_header().unwrap().expose(),
            "Basic YWRhOmh1bnRlcjI6eA=="
        );
        for bad in ["!!", "YWRh", "/w=="] {
            assert!(Auth::from_docker(bad).is_err(), "{bad}");
        }
    }
}
