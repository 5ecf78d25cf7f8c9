//! Sizes of a client's terminal: JSON objects one after another.

use serde::Deserialize;

/// Most bytes kept of an object that is not complete.
const MAX_PENDING: usize = 4096;

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) struct Size {
    #[serde(rename = "Width", alias = "width")]
    pub(crate) columns: u16,
    #[serde(rename = "Height", alias = "height")]
    pub(crate) rows: u16,
}

/// Bytes that become sizes.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    pending: Vec<u8>,
}

impl Sizes {
    /// Takes bytes and returns the last size that is complete. What is no size ends the reading:
    /// `Err`.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Result<Option<Size>, Malformed> {
        self.pending.extend_from_slice(bytes);
        let mut sizes = serde_json::Deserializer::from_slice(&self.pending).into_iter::<Size>();
        let mut last = None;
        let mut consumed = 0;
        loop {
            match sizes.next() {
                Some(Ok(size)) => last = Some(size),
                Some(Err(error)) if error.is_eof() => break,
                Some(Err(_)) => return Err(Malformed),
                None => {
                    consumed = self.pending.len();
                    break;
                }
            }
            consumed = sizes.byte_offset();
        }
        self.pending.drain(..consumed);
        if self.pending.len() > MAX_PENDING {
            return Err(Malformed);
        }
        Ok(last)
    }
}

/// The bytes are no sizes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("what came is no size of a terminal")]
pub(crate) struct Malformed;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_complete_size_counts() {
        let mut sizes = Sizes::default();
        let one = br#"{"Width":80,"Height":24}"#;
        let expected = Size {
            columns: 80,
            rows: 24,
        };
        assert_eq!(sizes.take(one), Ok(Some(expected)));
        assert_eq!(sizes.take(b"\n{\"Width\":1"), Ok(None));
        assert_eq!(
            sizes.take(b",\"Height\":2}{\"Width\":3,\"Height\":4}\n"),
            Ok(Some(Size {
                columns: 3,
                rows: 4
            }))
        );
    }

    #[test]
    fn anything_else_is_refused() {
        assert_eq!(Sizes::default().take(b"hello"), Err(Malformed));
        assert_eq!(
            Sizes::default().take(br#"{"Width":-1,"Height":4}"#),
            Err(Malformed)
        );
        let endless = vec![b' '; MAX_PENDING + 1];
        assert!(
            Sizes::default().take(&endless).is_ok(),
            "spaces are consumed"
        );
        let mut open = br#"{"Width":"#.to_vec();
        open.resize(MAX_PENDING + 1, b' ');
        assert_eq!(Sizes::default().take(&open), Err(Malformed));
    }
}
