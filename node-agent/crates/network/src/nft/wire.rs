//! Netfilter's netlink messages, written and read by hand.

use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REQUEST};

/// Address family of flows over IPv4.
pub(crate) const FAMILY_IPV4: u8 = 2;
/// Address family of flows over IPv6.
pub(crate) const FAMILY_IPV6: u8 = 10;
/// Address family of tables that see both IP families.
pub(crate) const FAMILY_INET: u8 = 1;
/// Address family of tables that see bridged packets.
pub(crate) const FAMILY_BRIDGE: u8 = 7;
/// Any family, in a dump.
pub(crate) const FAMILY_ANY: u8 = 0;

/// What a message does; the numbers of `enum nf_tables_msg_types`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Deletes a table.
    DeleteTable = 2,
    /// Asks for chains.
    GetChains = 4,
    /// Adds elements to a set or map.
    NewElements = 12,
    /// Asks for the elements of a set or map.
    GetElements = 13,
    /// Deletes elements of a set or map.
    DeleteElements = 14,
}

const SUBSYSTEM: u16 = 10;
/// Connection tracking is subsystem 1.
const GET_FLOWS: u16 = (1 << 8) | 1;
const DELETE_FLOW: u16 = (1 << 8) | 2;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;

/// Messages being written.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Starts a transaction.
    pub(crate) fn begin() -> Self {
        let mut writer = Self::default();
        writer.fixed(BATCH_BEGIN, NLM_F_REQUEST, FAMILY_ANY, SUBSYSTEM);
        writer
    }

    /// Adds a message of a transaction; `body` writes its attributes.
    pub(crate) fn message(&mut self, verb: Verb, family: u8, body: impl FnOnce(&mut Self)) {
        let create = if verb == Verb::NewElements {
            NLM_F_CREATE
        } else {
            0
        };
        self.request(verb, family, NLM_F_ACK | create, body);
    }

    /// Ends the transaction and returns its bytes.
    pub(crate) fn end(mut self) -> Vec<u8> {
        self.fixed(BATCH_END, NLM_F_REQUEST, FAMILY_ANY, SUBSYSTEM);
        self.bytes
    }

    /// Returns a request for everything of a kind.
    pub(crate) fn dump(verb: Verb, family: u8, body: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut writer = Self::default();
        writer.request(verb, family, NLM_F_DUMP, body);
        writer.bytes
    }

    /// Returns a request for flows; `body` writes the filter.
    pub(crate) fn list_flows(family: u8, body: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut writer = Self::default();
        writer.typed(GET_FLOWS, family, NLM_F_DUMP, body);
        writer.bytes
    }

    /// Returns a request to forget one flow.
    pub(crate) fn delete_flow(family: u8, body: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut writer = Self::default();
        writer.typed(DELETE_FLOW, family, NLM_F_ACK, body);
        writer.bytes
    }

    fn request(&mut self, verb: Verb, family: u8, flags: u16, body: impl FnOnce(&mut Self)) {
        self.typed((SUBSYSTEM << 8) | verb as u16, family, flags, body);
    }

    fn typed(&mut self, kind: u16, family: u8, flags: u16, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.fixed(kind, NLM_F_REQUEST | flags, family, 0);
        body(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.patch(start, &length.to_ne_bytes());
    }

    /// Writes the netlink header and netfilter's own, 20 bytes together.
    fn fixed(&mut self, kind: u16, flags: u16, family: u8, resource: u16) {
        self.bytes.extend(20_u32.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend([0; 8]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
    }

    /// Writes an attribute that holds bytes.
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// Writes an attribute that holds a string.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes);
    }

    /// Writes an attribute that holds attributes which were read elsewhere.
    pub(crate) fn bytes_nested(&mut self, kind: u16, value: &[u8]) {
        self.bytes(kind | NESTED, value);
    }

    /// Writes an attribute that holds attributes.
    pub(crate) fn nested(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend((kind | NESTED).to_ne_bytes());
        body(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.patch(start, &length.to_ne_bytes());
    }

    fn patch(&mut self, at: usize, value: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    }
}

/// Reads the attributes in a piece of a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// Returns the attributes behind netfilter's own header.
    pub(crate) fn of_payload(payload: &'a [u8]) -> Self {
        Self(payload.get(4..).unwrap_or_default())
    }

    /// Returns the attributes that fill `bytes`.
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Returns the first value of a kind.
    pub(crate) fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.into_iter().find(|(k, _)| *k == kind).map(|(_, v)| v)
    }

    /// Returns what is nested in the first attribute of a kind.
    pub(crate) fn nested(self, kind: u16) -> Attributes<'a> {
        Attributes(self.get(kind).unwrap_or_default())
    }

    /// Returns the first value of a kind as text.
    pub(crate) fn text(self, kind: u16) -> Option<String> {
        let value = self.get(kind)?.split(|b| *b == 0).next()?;
        String::from_utf8(value.to_vec()).ok()
    }

    /// Returns the first value of a kind as a number.
    pub(crate) fn number(self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(*self.get(kind)?.first_chunk()?))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let length = usize::from(u16::from_ne_bytes(*self.0.first_chunk()?));
        let kind = u16::from_ne_bytes(*self.0.get(2..)?.first_chunk()?) & TYPE_MASK;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_can_be_read() {
        let bytes = Writer::dump(Verb::GetElements, FAMILY_INET, |w| {
            w.text(1, "table");
            w.nested(3, |w| w.nested(1, |w| w.bytes(1, &[1, 2, 3])));
        });
        assert_eq!(
            u32::from_ne_bytes(*bytes.first_chunk().unwrap()),
            u32::try_from(bytes.len()).unwrap()
        );
        let attributes = Attributes::of_payload(&bytes[16..]);
        assert_eq!(attributes.text(1).as_deref(), Some("table"));
        assert_eq!(attributes.nested(3).nested(1).get(1), Some(&[1, 2, 3][..]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for (_, value) in Attributes(&bytes).take(100) {
                prop_assert!(value.len() <= bytes.len());
            }
        }
    }
}
