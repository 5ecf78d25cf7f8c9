//! Blobs by digest: fetched bytes that are kept only once they hash to their name.
//!
//! Owns: `blobs/` (verified, immutable), `ingest/` (downloads under way, resumable at any
//! byte), and what is known of each blob's durability. Does not: know registries, images or
//! layers, or run anything asynchronous; callers on a runtime use blocking threads.
//!
//! ```text
//! blobs/<algorithm>/<hex>       whole and verified, never written again
//! ingest/<algorithm>-<hex>      a prefix of a blob, possibly torn by a power cut
//! pending/<boot id>/<...>       empty markers: committed or verified during that boot
//! clean                         blobs that a completed syncfs has covered, each with its stamp
//! ```
//!
//! **Durability without fsync.** Committing renames and syncs nothing. A blob is trusted if it was
//! committed during this boot (the page cache is coherent), or if it is listed in `clean`, which
//! is written only after `syncfs` returned. After a reboot every other blob is hashed again
//! before its first use and dropped if it is not what its name says. No ordering between two
//! writes of the disk is relied on: a lost marker or list only costs a verification.
//!
//! Start reading at [`ContentStore`], then [`Ingest`].
#![forbid(unsafe_code)]

mod clean;
mod error;
mod hash;
mod ingest;
mod store;

pub use error::{BlobError, CommitError, FileError, IngestError, OpenStoreError, SyncError};
pub use hash::Hasher;
pub use ingest::{Expected, Ingest};
pub use store::{BlobEntry, ContentStore, Usage};
