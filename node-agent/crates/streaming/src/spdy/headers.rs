//! Headers of a stream: names and values, each behind its length.

use super::frame::Malformed;

/// Most headers of a stream.
const MAX_HEADERS: usize = 64;

/// Headers of a stream; names are in lower case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Headers(Vec<(String, String)>);

impl Headers {
    /// Returns the value of a header; the first, where it has several.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.split('\0').next().unwrap_or_default())
    }

    /// Reads what was compressed.
    pub(super) fn parse(block: &[u8]) -> Result<Self, Malformed> {
        Self::read(block).ok_or(Malformed::Headers)
    }

    fn read(block: &[u8]) -> Option<Self> {
        let (count, mut rest) = length(block)?;
        if count > MAX_HEADERS {
            return None;
        }
        let mut headers = Vec::new();
        for _ in 0..count {
            let (name, after) = text(rest)?;
            let (value, after) = text(after)?;
            if name.is_empty() {
                return None;
            }
            // They should be in lower case; being strict about it helps nobody.
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
            rest = after;
        }
        rest.is_empty().then_some(Self(headers))
    }
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_be_bytes(*head)).ok()?, rest))
}

fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = length(bytes)?;
    let (text, rest) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

/// Returns headers as they are before compression.
#[cfg(test)]
pub(super) fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    let number = |count: usize| u32::try_from(count).unwrap().to_be_bytes();
    block.extend_from_slice(&number(headers.len()));
    for (name, value) in headers {
        for text in [name, value] {
            block.extend_from_slice(&number(text.len()));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_found_whatever_their_case() {
        let block = block(&[("StreamType", "stdin"), ("port", "80\u{0}81")]);
        let headers = Headers::parse(&block).unwrap();
        assert_eq!(headers.get("streamtype"), Some("stdin"));
        assert_eq!(headers.get("port"), Some("80"));
        assert_eq!(headers.get("other"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_headers_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(Headers::parse(&bytes));
        }

        #[test]
        fn a_block_cut_short_is_refused(cut in 0_usize..41) {
            let block = block(&[("streamtype", "stdin"), ("port", "80")]);
            prop_assert_eq!(block.len(), 41);
            prop_assert_eq!(Headers::parse(&block[..cut]), Err(Malformed::Headers));
        }
    }
}
