//! Hashing by the algorithm a digest names.

use std::fmt;
use std::io::{self, Read};

use agent_types::Digest;
use agent_types::digest::Algorithm;
use sha2::{Digest as _, Sha256, Sha512};

/// Bytes read at a time when a file is hashed.
const CHUNK: usize = 256 * 1024;

/// Computes a digest over bytes as they come.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// Returns a hasher that has seen nothing.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        })
    }

    /// Returns the digest of `bytes`.
    #[must_use]
    pub fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> Digest {
        let mut hasher = Self::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(hasher) => hasher.update(bytes),
            State::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// Takes everything that is left in `reader` and returns how many bytes that was.
    pub fn update_from(&mut self, reader: &mut impl Read) -> io::Result<u64> {
        let mut chunk = vec![0; CHUNK];
        let mut total = 0;
        loop {
            match reader.read(&mut chunk) {
                Ok(0) => return Ok(total),
                Ok(count) => {
                    self.update(&chunk[..count]);
                    total += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the digest of all bytes taken.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(hasher) => Digest::sha256(&hasher.finalize().into()),
            State::Sha512(hasher) => Digest::sha512(&hasher.finalize().into()),
        }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            State::Sha256(_) => "Hasher(sha256)",
            State::Sha512(_) => "Hasher(sha512)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests_come_out() {
        assert_eq!(
            Hasher::digest_of(Algorithm::Sha256, b"abc").as_str(),
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert!(
            Hasher::digest_of(Algorithm::Sha512, b"abc")
                .as_str()
                .starts_with("sha512:ddaf35a193617abacc417349ae204131")
        );
    }

    #[test]
    fn reading_hashes_the_same_as_bytes_at_once() {
        let bytes = vec![7; CHUNK * 2 + 3];
        let mut hasher = Hasher::new(Algorithm::Sha256);
        assert_eq!(
            hasher.update_from(&mut &bytes[..]).unwrap(),
            bytes.len() as u64
        );
        assert_eq!(
            hasher.finish(),
            Hasher::digest_of(Algorithm::Sha256, &bytes)
        );
    }
}
