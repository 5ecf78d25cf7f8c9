//! Frames: eight bytes of head, and a body.

/// Length of a frame's head, in bytes.
pub(super) const HEAD: usize = 8;

/// Longest body of a frame that is not data, in bytes.
pub(super) const MAX_CONTROL: usize = 16 << 10;

/// Longest body there is: its length has 24 bits.
const MAX_BODY: usize = (1 << 24) - 1;

const VERSION: u16 = 3;
const STREAM: u32 = 0x7fff_ffff;

/// Flag of a stream's last frame.
pub(super) const FIN: u8 = 1;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const SETTINGS: u16 = 4;
const PING: u16 = 6;
const GO_AWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;

/// The setting that says how far a new stream's window is open.
const INITIAL_WINDOW: u32 = 7;

/// Why a stream is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reset {
    InvalidStream = 2,
    Refused = 3,
    Cancel = 5,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GoAway {
    Done = 0,
    Protocol = 1,
}

/// What a frame's first eight bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Head {
    Control {
        kind: u16,
        flags: u8,
        length: usize,
    },
    Data {
        stream: u32,
        flags: u8,
        length: usize,
    },
}

/// Why a frame breaks the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("frame of version {0} of the protocol")]
    Version(u16),
    #[error("frame of kind {0} is {1} bytes long")]
    Length(u16, usize),
    #[error("compressed headers could not be read")]
    Compression,
    #[error("headers are not well formed")]
    Headers,
    #[error("stream {0} cannot be opened now")]
    Stream(u32),
    #[error("a window was opened too far")]
    Window,
}

impl Head {
    pub(super) fn parse(bytes: [u8; HEAD]) -> Result<Self, Malformed> {
        let [a, b, c, d, flags, x, y, z] = bytes;
        let length = usize::try_from(u32::from_be_bytes([0, x, y, z])).unwrap_or(MAX_BODY);
        if a & 0x80 == 0 {
            return Ok(Self::Data {
                stream: u32::from_be_bytes([a, b, c, d]),
                flags,
                length,
            });
        }
        let version = u16::from_be_bytes([a & 0x7f, b]);
        let kind = u16::from_be_bytes([c, d]);
        if version != VERSION {
            return Err(Malformed::Version(version));
        }
        if length > MAX_CONTROL {
            return Err(Malformed::Length(kind, length));
        }
        Ok(Self::Control {
            kind,
            flags,
            length,
        })
    }
}

/// A frame that is not data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Control<'a> {
    /// Opens a stream.
    SynStream {
        stream: u32,
        fin: bool,
        headers: &'a [u8],
    },
    /// More headers of a stream, or those of an answer.
    Headers {
        stream: u32,
        fin: bool,
        headers: &'a [u8],
    },
    Reset {
        stream: u32,
    },
    /// How far new streams' windows are open, where that is among the settings.
    Settings {
        initial_window: Option<u32>,
    },
    Ping {
        id: u32,
    },
    GoAway,
    WindowUpdate {
        stream: u32,
        delta: u32,
    },
    /// Of a kind that may be ignored.
    Unknown,
}

fn word(body: &[u8], at: usize) -> Option<u32> {
    let bytes = body.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

impl<'a> Control<'a> {
    /// Reads the body of a frame.
    pub(super) fn parse(kind: u16, flags: u8, body: &'a [u8]) -> Result<Self, Malformed> {
        Self::read(kind, flags, body).ok_or(Malformed::Length(kind, body.len()))
    }

    fn read(kind: u16, flags: u8, body: &'a [u8]) -> Option<Self> {
        let fin = flags & FIN != 0;
        let exact = |length: usize| (body.len() == length).then_some(());
        Some(match kind {
            SYN_STREAM => Self::SynStream {
                stream: word(body, 0)? & STREAM,
                fin,
                // Between them: the stream it belongs to, a priority and a slot.
                headers: body.get(10..)?,
            },
            SYN_REPLY | HEADERS => Self::Headers {
                stream: word(body, 0)? & STREAM,
                fin,
                headers: body.get(4..)?,
            },
            RST_STREAM => {
                exact(8)?;
                Self::Reset {
                    stream: word(body, 0)? & STREAM,
                }
            }
            SETTINGS => Self::Settings {
                initial_window: initial_window(body)?,
            },
            PING => {
                exact(4)?;
                Self::Ping { id: word(body, 0)? }
            }
            GO_AWAY => {
                exact(8)?;
                Self::GoAway
            }
            WINDOW_UPDATE => {
                exact(8)?;
                Self::WindowUpdate {
                    stream: word(body, 0)? & STREAM,
                    delta: word(body, 4)? & STREAM,
                }
            }
            _ => Self::Unknown,
        })
    }
}

fn initial_window(body: &[u8]) -> Option<Option<u32>> {
    let count = usize::try_from(word(body, 0)?).ok()?;
    let entries = body.get(4..)?;
    if entries.len() != count.checked_mul(8)? {
        return None;
    }
    let mut found = None;
    for entry in entries.chunks_exact(8) {
        if word(entry, 0)? & 0x00ff_ffff == INITIAL_WINDOW {
            found = word(entry, 4);
        }
    }
    Some(found)
}

fn control(kind: u16, flags: u8, body: &[&[u8]]) -> Vec<u8> {
    let length: usize = body.iter().map(|part| part.len()).sum();
    let mut frame = Vec::with_capacity(HEAD + length);
    frame.extend_from_slice(&(0x8000 | VERSION).to_be_bytes());
    frame.extend_from_slice(&kind.to_be_bytes());
    // No frame of ours comes near 24 bits.
    let length = u32::try_from(length).unwrap_or_default() & 0x00ff_ffff;
    frame.extend_from_slice(&((u32::from(flags) << 24) | length).to_be_bytes());
    for part in body {
        frame.extend_from_slice(part);
    }
    frame
}

pub(super) fn syn_reply(stream: u32, headers: &[u8]) -> Vec<u8> {
    control(SYN_REPLY, 0, &[&stream.to_be_bytes(), headers])
}

pub(super) fn reset(stream: u32, why: Reset) -> Vec<u8> {
    let why = why as u32;
    control(RST_STREAM, 0, &[&stream.to_be_bytes(), &why.to_be_bytes()])
}

pub(super) fn ping(id: u32) -> Vec<u8> {
    control(PING, 0, &[&id.to_be_bytes()])
}

pub(super) fn go_away(last: u32, why: GoAway) -> Vec<u8> {
    let why = why as u32;
    control(GO_AWAY, 0, &[&last.to_be_bytes(), &why.to_be_bytes()])
}

pub(super) fn window_update(stream: u32, delta: u32) -> Vec<u8> {
    control(
        WINDOW_UPDATE,
        0,
        &[&stream.to_be_bytes(), &delta.to_be_bytes()],
    )
}

/// Returns the head of a data frame.
pub(super) fn data(stream: u32, flags: u8, length: usize) -> [u8; HEAD] {
    let length = u32::try_from(length.min(MAX_BODY)).unwrap_or_default();
    let [_, x, y, z] = length.to_be_bytes();
    let [a, b, c, d] = (stream & STREAM).to_be_bytes();
    [a, b, c, d, flags, x, y, z]
}

/// What only a client sends.
#[cfg(test)]
pub(super) mod client {
    pub(crate) fn syn_stream(stream: u32, fin: bool, headers: &[u8]) -> Vec<u8> {
        let stream = stream.to_be_bytes();
        super::control(
            super::SYN_STREAM,
            u8::from(fin),
            &[&stream, &[0; 6], headers],
        )
    }

    pub(crate) fn initial_window(bytes: u32) -> Vec<u8> {
        let entry = [super::INITIAL_WINDOW.to_be_bytes(), bytes.to_be_bytes()].concat();
        super::control(super::SETTINGS, 0, &[&1_u32.to_be_bytes(), &entry])
    }
}
