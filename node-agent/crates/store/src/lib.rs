//! Records that outlive the process: two databases under the root directory.
//!
//! Owns: `durable.redb` (synced: what people made) and `records.redb` (never synced: what a
//! reboot ends anyway), their typed records, and the thread each that writes them.
//! Does not: know what a record means.
//!
//! A commit to `records.redb` is written in full and never synced: the page cache outlives
//! `kill -9`, and a pod start pays for no disk. After a power cut that database may be damaged;
//! [`Store::open`] then sets it aside and says so, because every process it described is gone.
//! Start reading at [`Store`].
#![forbid(unsafe_code)]

mod backend;
mod error;
mod record;
mod store;
mod writer;

pub use error::{LoadError, OpenError, SaveError};
pub use record::Record;
pub use store::Store;

/// Whether a record must outlive a crash of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On disk before the call returns.
    Synced,
    /// In the page cache before the call returns: outlives the process, not a power cut.
    Unsynced,
}

/// What a table held, and what of it could not be read.
#[derive(Debug)]
pub struct Loaded<T> {
    /// Keys and records.
    pub records: Vec<(String, T)>,
    /// Records of a newer version, or damaged: left in place, with their database.
    pub unreadable: Vec<(Durability, String)>,
}

#[cfg(test)]
mod tests;
