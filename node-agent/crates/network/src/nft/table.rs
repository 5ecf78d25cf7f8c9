//! Our tables in the kernel: elements in and out, dumps, deletion.

use std::io;

use rustix::io::Errno;

use super::element::{Change, Element, Map};
use super::wire::{Attributes, FAMILY_ANY, FAMILY_BRIDGE, FAMILY_INET, Verb, Writer};
use crate::netlink::{KernelError, Socket};

// Attribute numbers of linux/netfilter/nf_tables.h.
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
const LIST_ELEMENT: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const TABLE_NAME: u16 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const HOOK_NUMBER: u16 = 1;
const HOOK_FORWARD: u32 = 2;
const POLICY_DROP: u32 = 0;

/// Elements in one message: an attribute cannot hold more than 64 KiB.
const PER_MESSAGE: usize = 400;

/// A kept netfilter socket and the name of our tables.
#[derive(Debug)]
pub(crate) struct Table {
    name: String,
    socket: Socket,
}

impl Table {
    /// Opens a socket in the caller's network namespace.
    pub(crate) fn open(name: &str) -> io::Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            socket: Socket::netfilter()?,
        })
    }

    pub(super) fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Makes all changes in one transaction.
    ///
    /// An element to delete that is gone, and one to add whose key leads elsewhere, do not stand
    /// in the way: the transaction is then followed step by step.
    pub(crate) fn commit(&mut self, changes: &[Change]) -> Result<(), KernelError> {
        if changes.is_empty() {
            return Ok(());
        }
        match self.transact(changes) {
            Err(error) if matches!(error.errno, Errno::NOENT | Errno::EXIST) => {}
            answer => return answer,
        }
        for change in changes {
            let delete = Change::Delete(change.element().clone());
            match self.transact(std::slice::from_ref(&delete)) {
                Err(error) if error.errno != Errno::NOENT => return Err(error),
                _ => {}
            }
        }
        let adds = |change: &&Change| matches!(change, Change::Add(_));
        let added: Vec<Change> = changes.iter().filter(adds).cloned().collect();
        if added.is_empty() {
            return Ok(());
        }
        self.transact(&added)
    }

    fn transact(&mut self, changes: &[Change]) -> Result<(), KernelError> {
        let mut writer = Writer::begin();
        let same = |a: &Change, b: &Change| {
            std::mem::discriminant(a) == std::mem::discriminant(b)
                && a.element().map == b.element().map
        };
        for group in changes.chunk_by(same).flat_map(|g| g.chunks(PER_MESSAGE)) {
            let Some(first) = group.first() else { continue };
            let (verb, with_data) = match first {
                Change::Add(_) => (Verb::NewElements, true),
                Change::Delete(_) => (Verb::DeleteElements, false),
            };
            writer.message(verb, FAMILY_INET, |w| {
                w.text(LIST_TABLE, &self.name);
                w.text(LIST_SET, first.element().map.name());
                w.nested(LIST_ELEMENTS, |w| {
                    for change in group {
                        write_element(w, change.element(), with_data);
                    }
                });
            });
        }
        self.socket.commit(&writer.end())
    }

    /// Returns every element of our maps; none where the table is missing.
    pub(crate) fn elements(&mut self) -> Result<Vec<Element>, KernelError> {
        let mut found = Vec::new();
        for map in Map::ALL {
            let request = Writer::dump(Verb::GetElements, FAMILY_INET, |w| {
                w.text(LIST_TABLE, &self.name);
                w.text(LIST_SET, map.name());
            });
            let replies = match self.socket.dump(&request) {
                Ok(replies) => replies,
                Err(error) if error.errno == Errno::NOENT => continue,
                Err(error) => return Err(error),
            };
            for reply in &replies {
                let list = Attributes::of_payload(&reply.payload).nested(LIST_ELEMENTS);
                found.extend(list.filter_map(|(_, element)| read_element(map, element)));
            }
        }
        Ok(found)
    }

    /// Deletes our tables; those that are gone are no error.
    pub(crate) fn delete(&mut self) -> Result<(), KernelError> {
        for family in [FAMILY_INET, FAMILY_BRIDGE] {
            let mut writer = Writer::begin();
            writer.message(Verb::DeleteTable, family, |w| {
                w.text(TABLE_NAME, &self.name);
            });
            match self.socket.commit(&writer.end()) {
                Err(error) if !matches!(error.errno, Errno::NOENT | Errno::AFNOSUPPORT) => {
                    return Err(error);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Returns the chains of others that drop forwarded packets unless told otherwise, as
    /// "table/chain".
    pub(crate) fn foreign_drops(&mut self) -> Result<Vec<String>, KernelError> {
        let request = Writer::dump(Verb::GetChains, FAMILY_ANY, |_| {});
        let replies = self.socket.dump(&request)?;
        let chain = |payload: &[u8]| {
            let chain = Attributes::of_payload(payload);
            let hook = chain.nested(CHAIN_HOOK).number(HOOK_NUMBER)?;
            let drops = hook == HOOK_FORWARD && chain.number(CHAIN_POLICY)? == POLICY_DROP;
            let table = chain.text(CHAIN_TABLE)?;
            (drops && table != self.name)
                .then(|| Some(format!("{table}/{}", chain.text(CHAIN_NAME)?)))?
        };
        Ok(replies.iter().filter_map(|r| chain(&r.payload)).collect())
    }
}

fn write_element(writer: &mut Writer, element: &Element, with_data: bool) {
    writer.nested(LIST_ELEMENT, |w| {
        w.nested(ELEMENT_KEY, |w| w.bytes(DATA_VALUE, &element.key));
        if with_data {
            w.nested(ELEMENT_DATA, |w| w.bytes(DATA_VALUE, &element.data));
        }
    });
}

fn read_element(map: Map, bytes: &[u8]) -> Option<Element> {
    let element = Attributes::of(bytes);
    Some(Element {
        map,
        key: element.nested(ELEMENT_KEY).get(DATA_VALUE)?.to_vec(),
        data: element.nested(ELEMENT_DATA).get(DATA_VALUE)?.to_vec(),
    })
}
