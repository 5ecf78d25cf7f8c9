//! A connection against clients of all kinds, over a real socket.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::compression::{Pack, Unpack};
use super::frame::{self, Control, FIN, HEAD, Head, client};
use super::headers::block;
use super::{Connection, Incoming};
use crate::outlet::{Outlet, ROOM};
use crate::transport::Transport;

struct Client {
    socket: TcpStream,
    pack: Pack,
    unpack: Unpack,
    next: u32,
}

/// What a client is sent.
#[derive(Debug, PartialEq, Eq)]
enum Heard {
    Data(u32, Vec<u8>, bool),
    Reply(u32),
    Reset(u32),
    Ping(u32),
    GoAway,
    Update(u32, u32),
}

impl Client {
    async fn open(&mut self, kind: &str) -> u32 {
        let number = self.next;
        self.next += 2;
        let headers = self.pack.block(&block(&[("streamtype", kind)]));
        self.write(&client::syn_stream(number, false, &headers))
            .await;
        number
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    async fn send(&mut self, stream: u32, bytes: &[u8], last: bool) {
        let head = frame::data(stream, if last { FIN } else { 0 }, bytes.len());
        self.write(&head).await;
        self.write(bytes).await;
    }

    /// Returns the next frame; `None` at the end.
    async fn hear(&mut self) -> Option<Heard> {
        let mut head = [0; HEAD];
        self.socket.read_exact(&mut head).await.ok()?;
        let (length, heard) = match Head::parse(head).unwrap() {
            Head::Data {
                stream,
                flags,
                length,
            } => (length, Some((stream, flags & FIN != 0))),
            Head::Control { length, .. } => (length, None),
        };
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body).await.ok()?;
        if let Some((stream, last)) = heard {
            return Some(Heard::Data(stream, body, last));
        }
        let kind = u16::from_be_bytes([head[2], head[3]]);
        Some(match Control::parse(kind, head[4], &body).unwrap() {
            Control::Headers {
                stream, headers, ..
            } => {
                assert_eq!(self.unpack.block(headers).unwrap(), [0; 4]);
                Heard::Reply(stream)
            }
            Control::Reset { stream } => Heard::Reset(stream),
            Control::Ping { id } => Heard::Ping(id),
            Control::GoAway => Heard::GoAway,
            Control::WindowUpdate { stream, delta } => Heard::Update(stream, delta),
            other => panic!("unexpected {other:?}"),
        })
    }
}

async fn connected(streams: usize) -> (Client, Connection) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (server, _) = listener.accept().await.unwrap();
    let transport = Transport::over(server, hyper::body::Bytes::new()).unwrap();
    let client = Client {
        socket,
        pack: Pack::new(),
        unpack: Unpack::new(),
        next: 1,
    };
    (client, Connection::open(transport, streams))
}

/// Sends `count` bytes as a process would.
async fn send(stream: Incoming, count: usize) {
    let outlet = Outlet::Spdy(stream.outflow);
    let mut left = count;
    while left > 0 {
        let Ok(room) = outlet.reserve(left.min(16 << 10)).await else {
            return;
        };
        outlet.settle(room, room);
        let mut buffer = vec![7; ROOM + room];
        if outlet.send(&mut buffer).await.is_err() {
            return;
        }
        left -= room;
    }
    let _ = outlet.finish().await;
}

#[tokio::test]
async fn a_stream_carries_both_ways_and_each_side_ends() {
    let (mut client, mut connection) = connected(4).await;
    let number = client.open("StdIn").await;
    client.send(number, b"hello ", false).await;
    client.send(number, b"world", true).await;
    let mut stream = connection.accept().await.unwrap();
    assert_eq!(stream.headers.get("streamtype"), Some("StdIn"));
    let mut all = Vec::new();
    while let Some(bytes) = stream.inflow.next().await {
        all.extend_from_slice(&bytes);
    }
    assert_eq!(all, b"hello world");
    tokio::spawn(send(stream, 3));
    assert_eq!(client.hear().await, Some(Heard::Reply(number)));
    assert_eq!(
        client.hear().await,
        Some(Heard::Data(number, vec![7; 3], false))
    );
    assert_eq!(
        client.hear().await,
        Some(Heard::Data(number, Vec::new(), true))
    );
    let closing = tokio::spawn(connection.close());
    assert_eq!(client.hear().await, Some(Heard::GoAway));
    assert_eq!(client.hear().await, None);
    drop(client);
    closing.await.unwrap();
}

#[tokio::test]
async fn a_client_without_windows_gets_everything() {
    let (mut client, mut connection) = connected(4).await;
    let number = client.open("stdout").await;
    let stream = connection.accept().await.unwrap();
    tokio::spawn(send(stream, 1 << 20));
    let (mut count, mut asked) = (0, 0);
    loop {
        match client.hear().await.unwrap() {
            Heard::Data(_, bytes, last) => {
                count += bytes.len();
                if last {
                    break;
                }
            }
            Heard::Ping(id) => {
                assert_eq!(count, 64 << 10, "asked when the window is used up");
                asked += 1;
                client.write(&frame::ping(id)).await;
            }
            other => assert_eq!(other, Heard::Reply(number)),
        }
    }
    assert_eq!((count, asked), (1 << 20, 1));
}

#[tokio::test]
async fn a_client_with_windows_gets_what_it_lets_in() {
    let (mut client, mut connection) = connected(4).await;
    client.write(&client::initial_window(1000)).await;
    let number = client.open("stdout").await;
    let stream = connection.accept().await.unwrap();
    tokio::spawn(send(stream, 3000));
    assert_eq!(client.hear().await, Some(Heard::Reply(number)));
    for round in 0..3 {
        let heard = client.hear().await.unwrap();
        assert_eq!(heard, Heard::Data(number, vec![7; 1000], false), "{round}");
        // Nothing comes unasked: the answer to a ping is next.
        client.write(&frame::ping(9)).await;
        let next = client.hear().await.unwrap();
        if round < 2 {
            assert_eq!(next, Heard::Ping(9));
            client.write(&frame::window_update(number, 1000)).await;
        }
    }
}

#[tokio::test]
async fn reading_opens_the_windows_of_the_client() {
    let (mut client, mut connection) = connected(4).await;
    let number = client.open("stdin").await;
    let mut stream = connection.accept().await.unwrap();
    tokio::spawn(async move { while stream.inflow.next().await.is_some() {} });
    assert_eq!(client.hear().await, Some(Heard::Reply(number)));
    let (mut session, mut own) = (64_i64 << 10, 64_i64 << 10);
    for _ in 0..100 {
        let room = session.min(own).min(10_000);
        if room > 0 {
            client
                .send(number, &vec![1; usize::try_from(room).unwrap()], false)
                .await;
            session -= room;
            own -= room;
            continue;
        }
        match client.hear().await.unwrap() {
            Heard::Update(0, delta) => session += i64::from(delta),
            Heard::Update(_, delta) => own += i64::from(delta),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(session <= 64 << 10 && own <= 64 << 10);
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused() {
    let (mut client, mut connection) = connected(2).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        client.open("data").await;
        held.push(connection.accept().await.unwrap());
    }
    let third = client.open("data").await;
    assert_eq!(client.hear().await, Some(Heard::Reply(1)));
    assert_eq!(client.hear().await, Some(Heard::Reply(3)));
    assert_eq!(client.hear().await, Some(Heard::Reset(third)));
    // A place that is given up is free again; late data for it is nobody's.
    held.remove(0);
    client.send(1, b"late", false).await;
    let fourth = client.open("data").await;
    assert_eq!(client.hear().await, Some(Heard::Reply(fourth)));
}

#[tokio::test]
async fn a_stream_that_was_never_opened_is_reset() {
    let (mut client, _connection) = connected(2).await;
    client.send(5, b"?", false).await;
    assert_eq!(client.hear().await, Some(Heard::Reset(5)));
    client.write(&frame::ping(1)).await;
    assert_eq!(client.hear().await, Some(Heard::Ping(1)));
}

#[tokio::test]
async fn a_client_that_breaks_the_protocol_is_told_and_left() {
    let even = client::syn_stream(2, false, &Pack::new().block(&block(&[])));
    let twice = {
        let mut pack = Pack::new();
        let mut bytes = client::syn_stream(1, false, &pack.block(&block(&[])));
        bytes.extend(client::syn_stream(1, false, &pack.block(&block(&[]))));
        bytes
    };
    let too_long = vec![0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff];
    let version = vec![0x80, 9, 0, 1, 0, 0, 0, 0];
    let garbled = client::syn_stream(1, false, b"no zlib");
    let overflow = [
        frame::window_update(0, 0x7fff_ffff),
        frame::window_update(0, 0x7fff_ffff),
    ]
    .concat();
    for bytes in [even, twice, too_long, version, garbled, overflow] {
        let (mut client, mut connection) = connected(4).await;
        client.write(&bytes).await;
        let mut last = None;
        while connection.accept().await.is_some() {}
        while let Ok(Some(heard)) =
            tokio::time::timeout(std::time::Duration::from_secs(20), client.hear()).await
        {
            let end = heard == Heard::GoAway;
            last = Some(heard);
            if end {
                break;
            }
        }
        assert_eq!(last, Some(Heard::GoAway));
        assert!(connection.gone().is_cancelled());
    }
}

#[tokio::test]
async fn a_client_that_asks_and_never_reads_is_cut_off() {
    let (client, connection) = connected(2).await;
    let mut socket = client.socket;
    let flood = frame::ping(1).repeat(10_000);
    tokio::spawn(async move { while socket.write_all(&flood).await.is_ok() {} });
    connection.gone().cancelled().await;
}

#[tokio::test]
async fn a_stream_that_is_full_holds_its_client_and_no_more_memory() {
    let (mut client, mut connection) = connected(2).await;
    let number = client.open("stdin").await;
    let stream = connection.accept().await.unwrap();
    let writing = tokio::spawn(async move {
        client.send(number, &vec![1; 16 << 20], false).await;
        client
    });
    // Read nothing, then give it up: the rest is dropped and the client is let go on.
    tokio::task::yield_now().await;
    drop(stream);
    let client = writing.await.unwrap();
    let gone = connection.gone();
    assert!(!gone.is_cancelled());
    drop(client);
    gone.cancelled().await;
}

#[tokio::test]
async fn a_stream_that_is_reset_is_given_up_while_others_go_on() {
    let (mut client, mut connection) = connected(4).await;
    let (first, second) = (client.open("data").await, client.open("data").await);
    let given_up = connection.accept().await.unwrap();
    let kept = connection.accept().await.unwrap();
    // Nothing is on its way on it, in either direction.
    let outlet = Outlet::Spdy(given_up.outflow);
    client
        .write(&frame::reset(first, frame::Reset::Cancel))
        .await;
    outlet.given_up().await;
    tokio::spawn(send(kept, 3));
    assert_eq!(client.hear().await, Some(Heard::Reply(first)));
    assert_eq!(client.hear().await, Some(Heard::Reply(second)));
    let heard = Heard::Data(second, vec![7; 3], false);
    assert_eq!(client.hear().await, Some(heard));
}

#[tokio::test]
async fn leaving_is_heard_behind_a_full_stream() {
    let (mut client, mut connection) = connected(2).await;
    let number = client.open("stdin").await;
    let stream = connection.accept().await.unwrap();
    client.send(number, &vec![1; 100 << 10], false).await;
    drop(client);
    connection.gone().cancelled().await;
    drop(stream);
}

#[tokio::test]
async fn a_client_without_windows_that_sends_before_it_answers_gets_everything() {
    let (mut client, mut connection) = connected(2).await;
    let number = client.open("stdin").await;
    let mut stream = connection.accept().await.unwrap();
    let outlet = Outlet::Spdy(stream.outflow);
    // A process that copies: it reads no more than it can write.
    tokio::spawn(async move {
        while let Some(bytes) = stream.inflow.next().await {
            outlet.say(&bytes).await.unwrap();
        }
        outlet.finish().await.unwrap();
    });
    let (mut reader, mut writer) = client.socket.into_split();
    tokio::spawn(async move {
        let head = frame::data(number, FIN, 4 << 20);
        writer.write_all(&head).await.unwrap();
        writer.write_all(&vec![1; 4 << 20]).await.unwrap();
        // Nothing else is ever sent: no answer to a ping, no window.
        std::future::pending::<()>().await;
    });
    let mut count = 0;
    loop {
        let mut head = [0; HEAD];
        reader.read_exact(&mut head).await.unwrap();
        let (length, last) = match Head::parse(head).unwrap() {
            Head::Data { length, flags, .. } => {
                count += length;
                (length, flags & FIN != 0)
            }
            Head::Control { length, .. } => (length, false),
        };
        let mut body = vec![0; length];
        reader.read_exact(&mut body).await.unwrap();
        if last {
            break;
        }
    }
    assert_eq!(count, 4 << 20);
}

/// A client's first bytes, all valid.
fn valid() -> Vec<u8> {
    let mut pack = Pack::new();
    let mut bytes = client::initial_window(1 << 16);
    for number in [1, 3, 5] {
        let headers = pack.block(&block(&[("streamtype", "data"), ("port", "80")]));
        bytes.extend(client::syn_stream(number, number == 5, &headers));
        bytes.extend(frame::data(number, 0, 20));
        bytes.extend([b'x'; 20]);
        bytes.extend(frame::window_update(number, 100));
    }
    bytes.extend(frame::ping(1));
    bytes.extend(frame::data(3, FIN, 0));
    bytes.extend(frame::reset(1, frame::Reset::Cancel));
    bytes
}

/// Feeds a connection and returns how many streams it saw before its client had left.
async fn fed(bytes: Vec<u8>) -> usize {
    let (client, mut connection) = connected(8).await;
    let mut socket = client.socket;
    tokio::spawn(async move {
        // It may be cut off in the middle.
        let _ = socket.write_all(&bytes).await;
        let _ = socket.shutdown().await;
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest).await;
    });
    let mut seen = 0;
    while let Some(mut stream) = connection.accept().await {
        seen += 1;
        while stream.inflow.next().await.is_some() {}
    }
    connection.gone().cancelled().await;
    seen
}

fn run(bytes: Vec<u8>) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let limit = std::time::Duration::from_secs(60);
    runtime.block_on(async {
        tokio::time::timeout(limit, fed(bytes))
            .await
            .expect("the connection ends with its client")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_end_with_their_client(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        run(bytes);
    }

    #[test]
    fn a_connection_cut_anywhere_ends(cut in 0_usize..400) {
        let mut bytes = valid();
        bytes.truncate(cut);
        prop_assert!(run(bytes) <= 3);
    }

    #[test]
    fn damage_anywhere_is_survived(at in 0_usize..400, to in any::<u8>()) {
        let mut bytes = valid();
        let at = at % bytes.len();
        bytes[at] = to;
        run(bytes);
    }
}
