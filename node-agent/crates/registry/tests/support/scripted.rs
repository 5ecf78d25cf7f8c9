//! A server that answers as told, faults included, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What a client sent.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self
            .headers
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.as_str())
    }

    /// Returns the first byte that a range request asks for.
    pub fn range_start(&self) -> Option<usize> {
        let range = self.header("range")?.strip_prefix("bytes=")?;
        range.strip_suffix('-')?.parse().ok()
    }
}

/// What the server sends back.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Closes the connection after so many bytes of the body.
    pub cut_after: Option<usize>,
    /// Sends the body in chunks, so that its length is not announced.
    pub chunked: bool,
}

impl Reply {
    pub fn new(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn cut_after(mut self, bytes: usize) -> Self {
        self.cut_after = Some(bytes);
        self
    }

    pub fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }
}

/// Answers with the part of `blob` that was asked for, as a good server does.
pub fn ranged(request: &Request, blob: &[u8]) -> Reply {
    match request.range_start() {
        None => Reply::new(200).body(blob),
        Some(start) if start < blob.len() => Reply::new(206)
            .header(
                "Content-Range",
                format!("bytes {start}-{}/{}", blob.len() - 1, blob.len()),
            )
            .body(&blob[start..]),
        Some(_) => Reply::new(416),
    }
}

type Script = dyn Fn(&Request, usize) -> Reply + Send + Sync;

/// The server; it ends with this value.
pub struct Scripted {
    pub address: String,
    requests: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

impl Scripted {
    /// Starts a server whose script sees each request and how many came before it.
    pub async fn start(script: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, script): (_, Arc<Script>) = (Arc::clone(&requests), Arc::new(script));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&seen), Arc::clone(&script)));
            }
        });
        Self {
            address,
            requests,
            task,
        }
    }

    /// Returns what was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, seen: Arc<Mutex<Vec<Request>>>, script: Arc<Script>) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer).await {
        let reply = {
            let mut seen = seen.lock().unwrap();
            let before = seen.len();
            seen.push(request.clone());
            drop(seen);
            script(&request, before)
        };
        if write_reply(&mut stream, &request, reply).await.is_none() {
            return;
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Request> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer.drain(..end + 4).collect()).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let mut request = Request {
        method: first.next()?.to_owned(),
        path: first.next()?.to_owned(),
        headers: Vec::new(),
        body: String::new(),
    };
    for line in lines {
        if let Some((name, value)) = line.split_once(':') {
            request
                .headers
                .push((name.to_owned(), value.trim().to_owned()));
        }
    }
    let length = request
        .header("content-length")
        .map_or(0, |text| text.parse().unwrap());
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    request.body = String::from_utf8(buffer.drain(..length).collect()).ok()?;
    Some(request)
}

async fn write_reply(stream: &mut TcpStream, request: &Request, reply: Reply) -> Option<()> {
    let mut head = format!("HTTP/1.1 {} x\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let announces = |name: &str| {
        reply
            .headers
            .iter()
            .any(|(key, _)| key.eq_ignore_ascii_case(name))
    };
    if reply.chunked {
        head.push_str("Transfer-Encoding: chunked\r\n");
    } else if !announces("content-length") {
        head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.ok()?;
    if request.method == "HEAD" {
        return Some(());
    }
    let sent = reply
        .cut_after
        .unwrap_or(reply.body.len())
        .min(reply.body.len());
    if reply.chunked {
        for chunk in reply.body[..sent].chunks(1000) {
            let head = format!("{:x}\r\n", chunk.len());
            stream.write_all(head.as_bytes()).await.ok()?;
            stream.write_all(chunk).await.ok()?;
            stream.write_all(b"\r\n").await.ok()?;
        }
        if reply.cut_after.is_none() {
            stream.write_all(b"0\r\n\r\n").await.ok()?;
        }
    } else {
        stream.write_all(&reply.body[..sent]).await.ok()?;
    }
    stream.flush().await.ok()?;
    if reply.cut_after.is_some() {
        stream.shutdown().await.ok()?;
        return None;
    }
    Some(())
}
