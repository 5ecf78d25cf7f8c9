//! Versions of the remote command protocol.
//!
//! | version | name | what it brought |
//! |---|---|---|
//! | 1 | none, or `channel.k8s.io` | streams of a process; errors as text |
//! | 2 | `v2.channel.k8s.io` | the error stream stays open |
//! | 3 | `v3.channel.k8s.io` | sizes of terminals |
//! | 4 | `v4.channel.k8s.io` | status objects, with exit codes |
//! | 5 | `v5.channel.k8s.io` | the end of one channel of a WebSocket |

use super::status::Form;
use crate::socket::Codec;

/// What a version of the protocol says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    /// How the end is told.
    pub(crate) form: Form,
    /// Whether a terminal's client has a stream for sizes (SPDY).
    pub(crate) resize: bool,
}

/// Names spoken over SPDY.
pub(crate) const SPDY: &[&str] = &[
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v3.channel.k8s.io",
    "v2.channel.k8s.io",
    "channel.k8s.io",
];

/// Names spoken over WebSockets.
pub(crate) const SOCKET: &[&str] = &[
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
];

impl Version {
    /// Returns the version of a name; none is the first.
    pub(crate) fn of(name: &str) -> Self {
        let status = name.starts_with("v4.") || name.starts_with("v5.");
        Self {
            form: if status { Form::Object } else { Form::Text },
            resize: status || name.starts_with("v3."),
        }
    }
}

/// Returns how a subprotocol's messages are made.
pub(crate) fn codec(name: &str) -> Codec {
    if name.contains("base64.") {
        Codec::Base64
    } else {
        Codec::Binary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_brought_something() {
        let table = [
            ("", Form::Text, false),
            ("channel.k8s.io", Form::Text, false),
            ("v2.channel.k8s.io", Form::Text, false),
            ("v3.channel.k8s.io", Form::Text, true),
            ("v4.channel.k8s.io", Form::Object, true),
            ("v4.base64.channel.k8s.io", Form::Object, true),
            ("v5.channel.k8s.io", Form::Object, true),
        ];
        for (name, form, resize) in table {
            assert_eq!(Version::of(name), Version { form, resize }, "{name}");
        }
        assert_eq!(codec("base64.channel.k8s.io"), Codec::Base64);
        assert_eq!(codec("v5.channel.k8s.io"), Codec::Binary);
    }
}
