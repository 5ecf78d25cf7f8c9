//! Finding out how a layer is compressed, and undoing it.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use zstd::stream::read::Decoder as ZstdDecoder;

/// How a layer blob is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// A plain tar archive.
    None,
    /// One or more gzip members.
    Gzip,
    /// One or more zstd frames, skippable ones among them.
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// Bytes read from the blob at a time.
const INPUT: usize = 64 * 1024;

/// Why no more plain bytes could be had.
#[derive(Debug)]
pub(crate) enum InflateError {
    /// The blob is not compressed as its media type says.
    Mismatch {
        expected: Compression,
        found: Compression,
    },
    /// The caller's reader failed.
    Read(io::Error),
    /// The decoder did.
    Damaged(Compression, io::Error),
}

/// The caller's reader, with its failures kept apart from the decoder's, and its bytes counted.
#[derive(Debug)]
pub(super) struct Blob<R> {
    reader: R,
    head: Vec<u8>,
    count: u64,
    failure: Option<io::Error>,
}

impl<R: Read> Read for Blob<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.head.is_empty() {
            let length = self.head.len().min(buffer.len());
            buffer[..length].copy_from_slice(&self.head[..length]);
            self.head.drain(..length);
            return Ok(length);
        }
        loop {
            match self.reader.read(buffer) {
                Ok(length) => {
                    self.count += length as u64;
                    return Ok(length);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let marker = io::Error::from(error.kind());
                    self.failure = Some(error);
                    return Err(marker);
                }
            }
        }
    }
}

type Input<R> = BufReader<Blob<R>>;

/// Reads a blob as plain bytes.
pub(super) enum Inflate<R: Read> {
    Plain(Input<R>),
    Gzip(Box<MultiGzDecoder<Input<R>>>),
    Zstd(ZstdDecoder<'static, Input<R>>),
}

impl<R: Read> Inflate<R> {
    /// Looks at the first bytes of `reader` and sets up the decoder they ask for.
    pub(super) fn new(
        reader: R,
        expected: Option<Compression>,
        window_log: u32,
    ) -> Result<Self, InflateError> {
        let mut blob = Blob {
            reader,
            head: Vec::new(),
            count: 0,
            failure: None,
        };
        let head = read_head(&mut blob).map_err(|error| blob.fail(error))?;
        let found = detect(&head);
        // Nothing at all is an empty archive, however it was meant to be compressed.
        if let Some(expected) = expected.filter(|e| *e != found && !head.is_empty()) {
            return Err(InflateError::Mismatch { expected, found });
        }
        blob.head = head;
        let input = BufReader::with_capacity(INPUT, blob);
        Ok(match found {
            Compression::None => Self::Plain(input),
            Compression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(input))),
            Compression::Zstd => {
                let damaged = |error| InflateError::Damaged(Compression::Zstd, error);
                let mut decoder = ZstdDecoder::with_buffer(input).map_err(damaged)?;
                decoder.window_log_max(window_log).map_err(damaged)?;
                Self::Zstd(decoder)
            }
        })
    }

    /// Returns how the blob is compressed.
    pub(super) fn compression(&self) -> Compression {
        match self {
            Self::Plain(_) => Compression::None,
            Self::Gzip(_) => Compression::Gzip,
            Self::Zstd(_) => Compression::Zstd,
        }
    }

    /// Returns how many bytes of the blob were read.
    pub(super) fn consumed(&self) -> u64 {
        match self {
            Self::Plain(input) => input.get_ref().count,
            Self::Gzip(decoder) => decoder.get_ref().get_ref().count,
            Self::Zstd(decoder) => decoder.get_ref().get_ref().count,
        }
    }

    /// Fills part of `buffer`; zero bytes is the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, InflateError> {
        let result = match self {
            Self::Plain(input) => read_some(input, buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        };
        result.map_err(|error| self.fail(error))
    }

    fn fail(&mut self, error: io::Error) -> InflateError {
        let compression = self.compression();
        let blob = match self {
            Self::Plain(input) => input.get_mut(),
            Self::Gzip(decoder) => decoder.get_mut().get_mut(),
            Self::Zstd(decoder) => decoder.get_mut().get_mut(),
        };
        match blob.failure.take() {
            Some(failure) => InflateError::Read(failure),
            None => InflateError::Damaged(compression, error),
        }
    }
}

impl<R> Blob<R> {
    fn fail(&mut self, error: io::Error) -> InflateError {
        InflateError::Read(self.failure.take().unwrap_or(error))
    }
}

fn read_some(input: &mut impl BufRead, buffer: &mut [u8]) -> io::Result<usize> {
    let piece = input.fill_buf()?;
    let length = piece.len().min(buffer.len());
    buffer[..length].copy_from_slice(&piece[..length]);
    input.consume(length);
    Ok(length)
}

/// Reads the four bytes that tell the formats apart, or as many as there are.
fn read_head(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(4);
    reader.take(4).read_to_end(&mut head)?;
    Ok(head)
}

fn detect(head: &[u8]) -> Compression {
    match head {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Compression::Zstd,
        _ => Compression::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn inflate(bytes: &[u8], expected: Option<Compression>) -> Result<Vec<u8>, InflateError> {
        let mut inflate = Inflate::new(bytes, expected, 23)?;
        let mut out = Vec::new();
        let mut buffer = [0; 100];
        loop {
            match inflate.read(&mut buffer)? {
                0 => return Ok(out),
                length => out.extend_from_slice(&buffer[..length]),
            }
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn members_and_frames_are_joined() {
        let two = [gzip(b"one"), gzip(b"two")].concat();
        assert_eq!(inflate(&two, Some(Compression::Gzip)).unwrap(), b"onetwo");
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let frames = [
            skippable.clone(),
            zstd::encode_all(&b"one"[..], 1).unwrap(),
            skippable,
            zstd::encode_all(&b"two"[..], 1).unwrap(),
        ];
        assert_eq!(inflate(&frames.concat(), None).unwrap(), b"onetwo");
        assert_eq!(inflate(b"plain", None).unwrap(), b"plain");
        assert_eq!(inflate(b"", Some(Compression::Gzip)).unwrap(), b"");
    }

    #[test]
    fn a_blob_that_is_not_what_its_media_type_says_is_refused() {
        let error = inflate(&gzip(b"one"), Some(Compression::Zstd)).unwrap_err();
        let InflateError::Mismatch { expected, found } = error else {
            panic!("{error:?}");
        };
        assert_eq!((expected, found), (Compression::Zstd, Compression::Gzip));
    }

    #[test]
    fn every_cut_of_a_compressed_blob_is_damage() {
        for whole in [
            gzip(b"some text"),
            zstd::encode_all(&b"some text"[..], 1).unwrap(),
        ] {
            for cut in 4..whole.len() {
                let error = inflate(&whole[..cut], None).unwrap_err();
                assert!(
                    matches!(error, InflateError::Damaged(..)),
                    "{cut}: {error:?}"
                );
            }
        }
    }

    #[test]
    fn the_readers_failure_is_told_from_damage() {
        struct Fails(usize);
        impl Read for Fails {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if self.0 == 0 {
                    return Err(io::Error::from(io::ErrorKind::TimedOut));
                }
                let whole = gzip(b"some text");
                let length = self.0.min(buffer.len()).min(whole.len());
                buffer[..length].copy_from_slice(&whole[..length]);
                self.0 = 0;
                Ok(length)
            }
        }
        for after in [0, 12] {
            let error = Inflate::new(Fails(after), None, 23)
                .and_then(|mut inflate| inflate.read(&mut [0; 100]))
                .unwrap_err();
            let InflateError::Read(source) = error else {
                panic!("{error:?}");
            };
            assert_eq!(source.kind(), io::ErrorKind::TimedOut);
        }
    }
}
