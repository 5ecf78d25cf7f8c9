//! A proxy before the real registry that breaks answers on demand, and counts what was asked.

use std::fmt;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::registry::Registry;

/// What is done to one answer.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection is closed after so many bytes of the body.
    CutAfter(usize),
    /// The byte at this offset of the body is another.
    CorruptAt(usize),
    /// So many bytes follow the body; the length in the header says so too.
    Append(usize),
    /// The body is cut, and the length in the header says so too.
    Shorten(usize),
    /// This body comes instead, with a length that fits.
    Replace(Vec<u8>),
    /// This status comes instead, without a body.
    Status(u16),
    /// The body comes in pieces of so many bytes, with a pause before each.
    Slow(usize, Duration),
}

/// One request that came by.
#[derive(Clone, Debug)]
pub struct Seen {
    /// GET, HEAD, ...
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Header names in lower case, and values.
    pub headers: Vec<(String, String)>,
}

impl Seen {
    /// Returns whether a layer or config was asked for.
    #[must_use]
    pub fn is_blob(&self) -> bool {
        self.method == "GET" && self.target.contains("/blobs/")
    }

    /// Returns the first header of this name (lower case).
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

type Rule = Box<dyn FnMut(&Seen) -> Option<Fault> + Send>;

#[derive(Default)]
struct Shared {
    rule: Option<Rule>,
    seen: Vec<Seen>,
}

/// A running proxy. Its threads end with the process.
#[derive(Clone)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Proxy")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Proxy {
    /// Starts a proxy that passes everything on.
    pub fn start(registry: &Registry) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("listen")?;
        let proxy = Self {
            address: listener.local_addr()?,
            shared: Arc::default(),
        };
        let (shared, upstream) = (Arc::clone(&proxy.shared), registry.address());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // A connection that breaks is what this is for.
                std::thread::spawn(move || drop(serve(client, upstream, &shared)));
            }
        });
        Ok(proxy)
    }

    /// Sets what is done to each answer from now on.
    pub fn break_with(&self, rule: impl FnMut(&Seen) -> Option<Fault> + Send + 'static) {
        lock(&self.shared).rule = Some(Box::new(rule));
    }

    /// Passes everything on again.
    pub fn mend(&self) {
        lock(&self.shared).rule = None;
    }

    /// Returns the requests so far, and forgets them.
    #[must_use]
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut lock(&self.shared).seen)
    }

    /// Returns the reference by which an image of the registry is pulled through this proxy.
    #[must_use]
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Returns where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(client: TcpStream, upstream: SocketAddr, shared: &Mutex<Shared>) -> Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let Some((first, headers)) = head(&mut reader)? else {
        return Ok(());
    };
    let mut words = first.split(' ').map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        bail!("no request line")
    };
    let seen = Seen {
        method,
        target,
        headers,
    };
    let fault = {
        let mut shared = lock(shared);
        shared.seen.push(seen.clone());
        shared.rule.as_mut().and_then(|rule| rule(&seen))
    };
    if let Some(Fault::Status(status)) = fault {
        (&client).write_all(
            format!("HTTP/1.1 {status} Broken\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                .as_bytes(),
        )?;
        return Ok(());
    }
    let mut server = TcpStream::connect(upstream)?;
    let mut request = format!(
        "{} {} HTTP/1.1\r\nHost: {upstream}\r\nConnection: close\r\n",
        seen.method, seen.target
    );
    for (name, value) in seen
        .headers
        .iter()
        .filter(|(name, _)| name != "host" && name != "connection")
    {
        request += &format!("{name}: {value}\r\n");
    }
    server.write_all((request + "\r\n").as_bytes())?;
    answer(&seen, &mut BufReader::new(server), &client, fault)
}

fn answer(
    seen: &Seen,
    server: &mut impl ReadHead,
    mut client: &TcpStream,
    fault: Option<Fault>,
) -> Result<()> {
    let Some((status, headers)) = head(server)? else {
        return Ok(());
    };
    let length = headers
        .iter()
        .find(|(name, _)| name == "content-length")
        .and_then(|(_, value)| value.parse().ok());
    let mut body = Vec::new();
    if seen.method != "HEAD" {
        server
            .take(length.map_or(u64::MAX, |length: usize| length as u64))
            .read_to_end(&mut body)?;
    }
    let mut length = length.unwrap_or(body.len());
    let mut sent = body.len();
    match &fault {
        Some(Fault::CutAfter(bytes)) => sent = sent.min(*bytes),
        Some(Fault::CorruptAt(offset)) => {
            if let Some(byte) = body.get_mut(*offset) {
                *byte ^= 0xff;
            }
        }
        Some(Fault::Append(bytes)) => {
            body.resize(body.len() + bytes, b'x');
            (length, sent) = (length + bytes, body.len());
        }
        Some(Fault::Shorten(bytes)) => (length, sent) = (sent.min(*bytes), sent.min(*bytes)),
        Some(Fault::Replace(other)) => {
            body.clone_from(other);
            (length, sent) = (body.len(), body.len());
        }
        Some(Fault::Status(_) | Fault::Slow(..)) | None => {}
    }
    let mut text = format!("{status}\r\nConnection: close\r\nContent-Length: {length}\r\n");
    // What the registry said of the body it has is not true of another.
    let mut dropped = vec!["content-length", "connection", "transfer-encoding"];
    if matches!(fault, Some(Fault::Replace(_))) {
        dropped.push("docker-content-digest");
    }
    for (name, value) in headers
        .iter()
        .filter(|(name, _)| !dropped.contains(&name.as_str()))
    {
        text += &format!("{name}: {value}\r\n");
    }
    client.write_all((text + "\r\n").as_bytes())?;
    let (piece, pause) = match fault {
        Some(Fault::Slow(piece, pause)) => (piece.max(1), pause),
        _ => (usize::MAX, Duration::ZERO),
    };
    for chunk in body[..sent].chunks(piece.min(sent.max(1))) {
        std::thread::sleep(pause);
        client.write_all(chunk)?;
    }
    Ok(())
}

/// What a head is read from.
trait ReadHead: Read {
    fn line(&mut self, text: &mut String) -> std::io::Result<usize>;
}

impl<T: Read> ReadHead for BufReader<T> {
    fn line(&mut self, text: &mut String) -> std::io::Result<usize> {
        self.read_line(text)
    }
}

type Head = (String, Vec<(String, String)>);

fn head(from: &mut impl ReadHead) -> Result<Option<Head>> {
    let mut first = String::new();
    if from.line(&mut first)? == 0 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if from.line(&mut line)? <= 2 {
            return Ok(Some((first.trim_end().to_owned(), headers)));
        }
        if let Some((name, value)) = line.trim_end().split_once(':') {
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http;
    use crate::image::Image;

    fn get(proxy: &Proxy, target: &str) -> Result<http::Response> {
        http::request(proxy.address(), "GET", target, &[], &[])
    }

    #[test]
    fn answers_pass_by_whole_or_are_broken_as_asked() {
        let registry = Registry::start().unwrap();
        let image = Image::busybox().unwrap();
        registry.push("test/one:1", &image).unwrap();
        let proxy = Proxy::start(&registry).unwrap();
        let blob = &image.blobs[0];
        let target = format!("/v2/test/one/blobs/{}", blob.digest);
        let whole = get(&proxy, &target).unwrap();
        assert_eq!((whole.status, whole.body == blob.bytes), (200, true));
        let length = blob.bytes.len();
        for (fault, wanted_length, wanted_header) in [
            (Fault::CutAfter(100), 100, length),
            (Fault::CorruptAt(7), length, length),
            (Fault::Append(5), length + 5, length + 5),
            (Fault::Shorten(9), 9, 9),
            (Fault::Replace(b"other".to_vec()), 5, 5),
            (
                Fault::Slow(100_000, Duration::from_millis(1)),
                length,
                length,
            ),
        ] {
            let broken = fault.clone();
            proxy.break_with(move |_| Some(broken.clone()));
            let answer = get(&proxy, &target).unwrap();
            let header = answer
                .header("content-length")
                .and_then(|value| value.parse().ok());
            assert_eq!(
                (answer.body.len(), header),
                (wanted_length, Some(wanted_header)),
                "{fault:?}"
            );
            assert_eq!(
                answer.body == blob.bytes,
                matches!(fault, Fault::Slow(..)),
                "{fault:?}"
            );
        }
        proxy.break_with(|_| Some(Fault::Status(503)));
        assert_eq!(get(&proxy, &target).unwrap().status, 503);
        proxy.mend();
        let part = http::request(
            proxy.address(),
            "GET",
            &target,
            &[("Range", "bytes=10-")],
            &[],
        )
        .unwrap();
        assert_eq!((part.status, part.body == blob.bytes[10..]), (206, true));
        let seen = proxy.take_seen();
        assert!(seen.iter().all(Seen::is_blob));
        assert_eq!(
            (seen.len(), seen.last().and_then(|one| one.header("range"))),
            (9, Some("bytes=10-"))
        );
    }
}
