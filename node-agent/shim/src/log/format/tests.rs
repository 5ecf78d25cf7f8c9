//! What the log format promises, for any bytes in any pieces.

use super::*;
use proptest::prelude::*;

const TIME_TEXT: &[u8; TIME] = b"2026-01-02T03:04:05.678901234Z";

#[derive(Default)]
struct Collected(Vec<u8>);

impl Records for Collected {
    fn record(&mut self, parts: [&[u8]; 4]) {
        self.0.extend(parts.concat());
    }
}

fn format(chunks: &[&[u8]]) -> Vec<u8> {
    let header = Header::new(TIME_TEXT, Stream::Stdout);
    let mut splitter = Splitter::default();
    let mut collected = Collected::default();
    for chunk in chunks {
        splitter.feed(&header, chunk, &mut collected);
    }
    splitter.finish(&header, &mut collected);
    collected.0
}

/// Reads records back as a kubelet does: the payload, and a newline after each full one.
fn payloads(log: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let Some(body) = log.strip_suffix(b"\n") else {
        assert!(log.is_empty(), "a log ends with a newline");
        return out;
    };
    for record in body.split(|byte| *byte == b'\n') {
        assert_eq!(&record[..TIME], TIME_TEXT);
        assert_eq!(&record[TIME..TIME + 8], b" stdout ");
        assert!(record.len() - HEAD <= MAX_PAYLOAD);
        out.extend_from_slice(&record[HEAD..]);
        match &record[HEAD - 2..HEAD] {
            b"F " => out.push(b'\n'),
            tag => assert_eq!(tag, b"P "),
        }
    }
    out
}

#[test]
fn a_line_in_two_pieces_is_one_record() {
    assert_eq!(
        format(&[b"hel", b"lo\n"]),
        b"2026-01-02T03:04:05.678901234Z stdout F hello\n"
    );
}

#[test]
fn the_last_bytes_without_a_newline_are_partial() {
    assert_eq!(
        format(&[b"a\nb"]),
        b"2026-01-02T03:04:05.678901234Z stdout F a\n2026-01-02T03:04:05.678901234Z stdout P b\n"
    );
}

#[test]
fn a_line_of_exactly_the_limit_is_full_and_one_more_byte_splits_it() {
    let mut line = vec![b'x'; MAX_PAYLOAD];
    line.push(b'\n');
    let log = format(&[&line]);
    assert_eq!(log.len(), HEAD + MAX_PAYLOAD + 1);
    assert_eq!(log[HEAD - 2], b'F');
    line.insert(0, b'y');
    let log = format(&[&line]);
    assert_eq!(log[HEAD - 2], b'P');
    assert_eq!(log.len(), 2 * HEAD + MAX_PAYLOAD + 1 + 2);
}

#[test]
fn stderr_is_named() {
    let header = Header::new(TIME_TEXT, Stream::Stderr);
    assert_eq!(&header.full, b"2026-01-02T03:04:05.678901234Z stderr F ");
}

/// Few different bytes, so that newlines fall everywhere; pieces of every size up to 40 KiB.
fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let short =
        proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\x8a'), any::<u8>()], 0..70);
    let long = (0_usize..40_000).prop_map(|length| vec![b'z'; length]);
    proptest::collection::vec(prop_oneof![4 => short, 1 => long], 0..12)
}

proptest! {
    #[test]
    fn payloads_are_the_input_for_any_pieces(pieces in pieces()) {
        let chunks: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(payloads(&format(&chunks)), pieces.concat());
    }

    #[test]
    fn pieces_do_not_matter(pieces in pieces()) {
        let chunks: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(format(&chunks), format(&[&pieces.concat()]));
    }

    #[test]
    fn the_first_newline_is_found(bytes in proptest::collection::vec(prop_oneof![1 => Just(b'\n'), 20 => any::<u8>()], 0..100)) {
        prop_assert_eq!(find_newline(&bytes), bytes.iter().position(|byte| *byte == b'\n'));
    }
}
