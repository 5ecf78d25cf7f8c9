//! Header compression: one zlib stream each way for the whole connection.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::dictionary::dictionary;
use super::frame::Malformed;

/// Most bytes that headers may unpack to.
const MAX_BLOCK: usize = 64 << 10;

/// Unpacks what the client sends.
#[derive(Debug)]
pub(super) struct Unpack {
    inflate: Decompress,
}

impl Unpack {
    pub(super) fn new() -> Self {
        Self {
            inflate: Decompress::new(true),
        }
    }

    /// Unpacks one frame's headers. After an error the stream cannot be read any further.
    pub(super) fn block(&mut self, packed: &[u8]) -> Result<Vec<u8>, Malformed> {
        let mut block = Vec::with_capacity(1024);
        let mut rest = packed;
        loop {
            let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
            let result = self
                .inflate
                .decompress_vec(rest, &mut block, FlushDecompress::Sync);
            let consumed = usize::try_from(self.inflate.total_in() - read).unwrap_or(usize::MAX);
            rest = rest.get(consumed..).ok_or(Malformed::Compression)?;
            match result {
                Err(error) if error.needs_dictionary().is_some() => {
                    let set = self.inflate.set_dictionary(dictionary());
                    set.map_err(|_| Malformed::Compression)?;
                    continue;
                }
                Ok(Status::Ok | Status::BufError) => {}
                // A stream that ends has no place for the next frame's headers.
                Ok(Status::StreamEnd) | Err(_) => return Err(Malformed::Compression),
            }
            let full = block.len() == block.capacity();
            if rest.is_empty() && !full {
                return Ok(block);
            }
            if full {
                if block.len() >= MAX_BLOCK {
                    return Err(Malformed::Compression);
                }
                block.reserve(block.len());
            } else if consumed == 0 && self.inflate.total_out() == written {
                return Err(Malformed::Compression);
            }
        }
    }
}

/// Packs what the client is sent.
#[derive(Debug)]
pub(super) struct Pack {
    deflate: Compress,
}

impl Pack {
    pub(super) fn new() -> Self {
        let mut deflate = Compress::new(Compression::fast(), true);
        // It fails only on a stream that has begun.
        let _ = deflate.set_dictionary(dictionary());
        Self { deflate }
    }

    /// Packs one frame's headers.
    pub(super) fn block(&mut self, block: &[u8]) -> Vec<u8> {
        let mut packed = Vec::with_capacity(64 + block.len() * 2);
        let mut rest = block;
        loop {
            let read = self.deflate.total_in();
            let result = self
                .deflate
                .compress_vec(rest, &mut packed, FlushCompress::Sync);
            let consumed = usize::try_from(self.deflate.total_in() - read).unwrap_or_default();
            rest = rest.get(consumed..).unwrap_or_default();
            if result.is_err() || (rest.is_empty() && packed.len() < packed.capacity()) {
                return packed;
            }
            packed.reserve(64 + rest.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_bomb_is_refused() {
        let packed = Pack::new().block(&vec![b'a'; 1 << 20]);
        assert!(packed.len() < super::super::frame::MAX_CONTROL);
        assert_eq!(Unpack::new().block(&packed), Err(Malformed::Compression));
    }

    #[test]
    fn another_dictionary_is_refused() {
        let mut deflate = Compress::new(Compression::fast(), true);
        deflate.set_dictionary(b"another").unwrap();
        let mut packed = Vec::with_capacity(100);
        deflate
            .compress_vec(b"headers", &mut packed, FlushCompress::Sync)
            .unwrap();
        assert_eq!(Unpack::new().block(&packed), Err(Malformed::Compression));
    }

    proptest! {
        #[test]
        fn blocks_come_out_as_they_went_in(
            blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..5000), 1..5)
        ) {
            let (mut pack, mut unpack) = (Pack::new(), Unpack::new());
            for block in blocks {
                prop_assert_eq!(unpack.block(&pack.block(&block)).unwrap(), block);
            }
        }

        #[test]
        fn any_bytes_unpack_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            if let Ok(block) = Unpack::new().block(&bytes) {
                prop_assert!(block.len() <= MAX_BLOCK * 2);
            }
        }

        #[test]
        fn damage_is_refused_or_unpacks(at in 0_usize..40, bit in 0_u8..8) {
            let mut packed = Pack::new().block(b"streamtype stdin streamtype stdout port 80 accept");
            if let Some(byte) = packed.get_mut(at) {
                *byte ^= 1 << bit;
            }
            drop(Unpack::new().block(&packed));
        }
    }
}
