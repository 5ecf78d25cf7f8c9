//! How a message names its channel and carries its bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What messages are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// A byte that is the channel, then the bytes.
    Binary,
    /// A character that is the channel, counted from the digit 0, then the bytes in base64: for
    /// clients that only have text.
    Base64,
}

impl Codec {
    /// Returns how many channels messages can name. A text's character must be one of ASCII, or it
    /// would be two bytes.
    pub(crate) const fn channels(self) -> usize {
        match self {
            Self::Binary => 256,
            Self::Base64 => 128 - b'0' as usize,
        }
    }

    /// Returns the channel that the first byte of a message names.
    pub(crate) fn channel(self, first: u8) -> Option<u8> {
        match self {
            Self::Binary => Some(first),
            Self::Base64 => first.checked_sub(b'0'),
        }
    }

    /// Returns a message in text.
    pub(crate) fn text(channel: u8, bytes: &[u8]) -> Vec<u8> {
        let mut message = Vec::with_capacity(1 + bytes.len().div_ceil(3) * 4);
        message.push(b'0'.saturating_add(channel));
        message.extend_from_slice(STANDARD.encode(bytes).as_bytes());
        message
    }

    /// Returns what base64 stands for; `None` where it is none.
    pub(crate) fn decode(text: &[u8]) -> Option<Vec<u8>> {
        STANDARD.decode(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_a_digit_and_base64() {
        let message = Codec::text(1, b"hello");
        assert_eq!(message, b"1aGVsbG8=");
        assert_eq!(Codec::Base64.channel(message[0]), Some(1));
        assert_eq!(Codec::decode(&message[1..]).unwrap(), b"hello");
        assert_eq!(Codec::Base64.channel(b'%'), None);
        assert_eq!(Codec::decode(b"%"), None);
        let last = u8::try_from(Codec::Base64.channels() - 1).unwrap();
        let message = Codec::text(last, b"hello");
        assert!(message.is_ascii(), "{message:?}");
        assert_eq!(Codec::Base64.channel(message[0]), Some(last));
    }
}
