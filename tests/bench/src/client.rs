//! The least of a client of exec and attach: asks for an upgrade and counts what comes on stdout.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// Bytes read at once.
const BUFFER: usize = 256 << 10;

/// What carries the streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrier {
    WebSocket,
    Spdy,
}

/// A client whose streams stand.
#[derive(Debug)]
pub(crate) struct Client {
    reader: BufReader<TcpStream>,
    carrier: Carrier,
}

/// Channel, and stream, of stdout.
const CHANNEL: u8 = 1;
const STREAM: u32 = 3;

impl Client {
    /// Connects to the URL of a ticket that grants stdout alone.
    pub(crate) fn connect(url: &str, carrier: Carrier) -> Result<Self> {
        let rest = url.strip_prefix("http://").context("no http URL")?;
        let (host, path) = rest.split_once('/').context("no path")?;
        let socket = TcpStream::connect(host).with_context(|| format!("connect to {host}"))?;
        let (method, headers) = match carrier {
            Carrier::WebSocket => (
                "GET",
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                 Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n",
            ),
            Carrier::Spdy => (
                "POST",
                "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\nContent-Length: 0\r\n",
            ),
        };
        let origin = format!("Origin: http://{host}\r\n");
        let request = format!(
            "{method} /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n{origin}{headers}\r\n"
        );
        (&socket).write_all(request.as_bytes())?;
        let mut reader = BufReader::with_capacity(BUFFER, socket);
        let mut first = String::new();
        reader.read_line(&mut first)?;
        ensure!(first.contains(" 101 "), "not upgraded: {first}");
        let mut line = first;
        while line != "\r\n" {
            line.clear();
            ensure!(reader.read_line(&mut line)? > 0, "the answer ends early");
        }
        if carrier == Carrier::Spdy {
            let opened = [
                syn_stream(1, "error", true)?,
                syn_stream(STREAM, "stdout", false)?,
            ];
            reader.get_ref().write_all(&opened.concat())?;
        }
        Ok(Self { reader, carrier })
    }

    /// Reads to the end; returns the bytes of stdout, and the time from now to the last of them.
    pub(crate) fn read(mut self) -> Result<(u64, Duration)> {
        let begun = Instant::now();
        let (mut bytes, mut last) = (0, Duration::ZERO);
        let mut payload = Vec::new();
        loop {
            let part = match self.carrier {
                Carrier::WebSocket => self.message(&mut payload)?,
                Carrier::Spdy => self.frame(&mut payload)?,
            };
            match part {
                Part::Stdout(count) => {
                    bytes += count;
                    if count > 0 {
                        last = begun.elapsed();
                    }
                }
                Part::Other => {}
                Part::End => return Ok((bytes, last)),
            }
        }
    }

    fn fill(&mut self, payload: &mut Vec<u8>, length: usize) -> Result<()> {
        if payload.len() < length {
            payload.resize(length, 0);
        }
        Ok(self.reader.read_exact(&mut payload[..length])?)
    }

    /// Reads a message of a WebSocket; none is in pieces.
    fn message(&mut self, payload: &mut Vec<u8>) -> Result<Part> {
        let mut head = [0; 2];
        self.reader.read_exact(&mut head)?;
        let length = match head[1] {
            126 => usize::from(u16::from_be_bytes(self.array()?)),
            127 => usize::try_from(u64::from_be_bytes(self.array()?))?,
            length => usize::from(length),
        };
        self.fill(payload, length)?;
        Ok(match (head[0] & 0x0f, payload.first()) {
            (8, _) => Part::End,
            (1 | 2, Some(&CHANNEL)) if length > 0 => Part::Stdout(length as u64 - 1),
            _ => Part::Other,
        })
    }

    /// Reads a frame of SPDY.
    fn frame(&mut self, payload: &mut Vec<u8>) -> Result<Part> {
        let [a, b, c, d, flags, x, y, z]: [u8; 8] = self.array()?;
        let length = u32::from_be_bytes([0, x, y, z]) as usize;
        self.fill(payload, length)?;
        if a & 0x80 == 0 {
            let of_ours = u32::from_be_bytes([a, b, c, d]) == STREAM;
            return Ok(match (of_ours, flags & 1) {
                (true, 1) => Part::End,
                (true, _) => Part::Stdout(length as u64),
                (false, _) => Part::Other,
            });
        }
        match u16::from_be_bytes([c, d]) {
            3 => bail!("the stream was reset"),
            // A ping is answered by itself.
            6 => {
                let mut answer = vec![a, b, c, d, flags, x, y, z];
                answer.extend_from_slice(&payload[..length]);
                self.reader.get_ref().write_all(&answer)?;
                Ok(Part::Other)
            }
            7 => Ok(Part::End),
            _ => Ok(Part::Other),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// What a message is.
enum Part {
    /// So many bytes of stdout.
    Stdout(u64),
    Other,
    End,
}

/// Returns the frame that opens a stream. Its headers are in blocks that are stored as they are,
/// behind the mark of a stream that has the protocol's dictionary.
fn syn_stream(stream: u32, kind: &str, first: bool) -> Result<Vec<u8>> {
    let mut headers = 1_u32.to_be_bytes().to_vec();
    for word in ["streamtype", kind] {
        headers.extend_from_slice(&u32::try_from(word.len())?.to_be_bytes());
        headers.extend_from_slice(word.as_bytes());
    }
    let mut block = Vec::new();
    if first {
        block.extend_from_slice(&[0x78, 0x20, 0xe3, 0xc6, 0xa7, 0xc2]);
    }
    let length = u16::try_from(headers.len())?;
    block.push(0);
    block.extend_from_slice(&length.to_le_bytes());
    block.extend_from_slice(&(!length).to_le_bytes());
    block.extend_from_slice(&headers);
    let size = u32::try_from(block.len() + 10)?.to_be_bytes();
    let mut frame = vec![0x80, 3, 0, 1, 0, size[1], size[2], size[3]];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(&[0; 6]);
    frame.extend_from_slice(&block);
    Ok(frame)
}
