//! The keys that detach from a container, such as Ctrl-P Ctrl-Q.

use std::str::FromStr;

use crate::parse::ParseError;

const FORM: &str = "keys divided by commas, each a letter or ctrl- and one of a-z @ [ \\ ] ^ _";

/// Keys to be pressed one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DetachKeys(Vec<u8>);

impl Default for DetachKeys {
    fn default() -> Self {
        Self(vec![0x10, 0x11])
    }
}

impl FromStr for DetachKeys {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let keys = text.split(',').map(key).collect::<Option<Vec<u8>>>();
        keys.map(Self).ok_or_else(|| ParseError::form(text, FORM))
    }
}

/// Reads the name of a key.
fn key(name: &str) -> Option<u8> {
    let (control, rest) = match name.strip_prefix("ctrl-") {
        Some(rest) => (true, rest),
        None => (false, name),
    };
    let &[byte] = rest.as_bytes() else {
        return None;
    };
    match (control, byte) {
        (false, _) => byte.is_ascii_graphic().then_some(byte),
        (true, b'a'..=b'z') => Some(byte - b'a' + 1),
        (true, b'@' | b'['..=b'_') => Some(byte - b'@'),
        (true, _) => None,
    }
}

/// What came of some bytes from the keyboard.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pressed {
    /// These are the container's.
    Bytes(Vec<u8>),
    /// The last of the keys that detach was pressed; what came before is the container's.
    Detach(Vec<u8>),
}

/// Looks for the keys in what is typed, and holds back what may be the start of them.
#[derive(Debug)]
pub(crate) struct Keyboard {
    keys: Vec<u8>,
    matched: usize,
}

impl Keyboard {
    /// Returns a keyboard that watches for `keys`.
    pub(crate) fn new(keys: DetachKeys) -> Self {
        Self {
            keys: keys.0,
            matched: 0,
        }
    }

    /// Takes what was typed and tells what is to be done with it.
    pub(crate) fn press(&mut self, bytes: &[u8]) -> Pressed {
        let mut sent = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            self.press_one(byte, &mut sent);
            if self.matched == self.keys.len() {
                self.matched = 0;
                return Pressed::Detach(sent);
            }
        }
        Pressed::Bytes(sent)
    }

    fn press_one(&mut self, byte: u8, sent: &mut Vec<u8>) {
        // After a mismatch a shorter start may still stand: a,a,b of "aaab".
        while self.matched > 0 && self.keys[self.matched] != byte {
            let held = self.matched;
            self.matched = (1..held)
                .rev()
                .find(|&length| self.keys[..length] == self.keys[held - length..held])
                .unwrap_or(0);
            sent.extend_from_slice(&self.keys[..held - self.matched]);
        }
        if self.keys[self.matched] == byte {
            self.matched += 1;
        } else {
            sent.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keyboard(keys: &str) -> Keyboard {
        Keyboard::new(keys.parse().expect("keys"))
    }

    #[test]
    fn keys_have_names() {
        let keys = |text: &str| text.parse::<DetachKeys>().ok().map(|keys| keys.0);
        assert_eq!(keys("ctrl-p,ctrl-q"), Some(DetachKeys::default().0));
        assert_eq!(keys("a,Z,ctrl-@,ctrl-_"), Some(vec![b'a', b'Z', 0, 31]));
        for text in ["", "ctrl-", "ctrl-A", "ab", "a,", "ctrl-1", "é"] {
            assert_eq!(keys(text), None, "{text}");
        }
    }

    #[test]
    fn the_keys_detach_and_are_not_sent() {
        let mut keyboard = Keyboard::new(DetachKeys::default());
        assert_eq!(keyboard.press(b"ls\n"), Pressed::Bytes(b"ls\n".to_vec()));
        assert_eq!(
            keyboard.press(b"x\x10\x11y"),
            Pressed::Detach(b"x".to_vec())
        );
    }

    #[test]
    fn the_start_of_the_keys_is_held_until_it_is_not_one() {
        let mut keyboard = Keyboard::new(DetachKeys::default());
        assert_eq!(keyboard.press(b"\x10"), Pressed::Bytes(vec![]));
        assert_eq!(keyboard.press(b"a"), Pressed::Bytes(b"\x10a".to_vec()));
        assert_eq!(
            keyboard.press(b"\x10\x10"),
            Pressed::Bytes(b"\x10".to_vec())
        );
        assert_eq!(keyboard.press(b"\x11"), Pressed::Detach(vec![]));
    }

    #[test]
    fn a_shorter_start_is_found_in_a_failed_one() {
        assert_eq!(
            keyboard("a,a,b").press(b"aaab"),
            Pressed::Detach(b"a".to_vec())
        );
    }

    proptest! {
        #[test]
        fn all_that_is_typed_is_sent_held_or_the_keys(text in "[ab]{0,30}", cut in 0_usize..30) {
            let mut keyboard = keyboard("a,b,a,a");
            let (first, second) = text.as_bytes().split_at(cut.min(text.len()));
            let mut sent = Vec::new();
            let mut detached = false;
            for part in [first, second] {
                match keyboard.press(part) {
                    _ if detached => {}
                    Pressed::Bytes(bytes) => sent.extend(bytes),
                    Pressed::Detach(bytes) => { sent.extend(bytes); detached = true; }
                }
            }
            prop_assert_eq!(detached, text.contains("abaa"));
            if detached {
                let end = text.find("abaa").expect("found");
                prop_assert_eq!(sent, &text.as_bytes()[..end]);
            } else {
                sent.extend(&b"abaa"[..keyboard.matched]);
                prop_assert_eq!(sent, text.as_bytes());
            }
        }
    }
}
