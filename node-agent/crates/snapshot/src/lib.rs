//! Layers of images, unpacked, and the writable layers of containers on top of them.
//!
//! Owns: the snapshot directory; what a layer's archive becomes on disk, however hostile; chains of
//! layers; the directories that an overlay is mounted from. Does not mount, fetch, or know images:
//! a layer comes as a reader, and leaves as names of directories. All calls block.
//!
//! ```text
//! reader -- unpack --> staging/7 -- commit --> l/7, i/7 (unclean) -- sync --> i/7 (clean)
//!                                     prepare --> c/<key>~<chain>/{fs,work}, m/7 (mount points that l/7 and below lack)
//!                      remove, remove_layer, failures --> trash/… -- sweep --> gone
//! ```
//!
//! A layer is recorded last and is unclean until a sync has passed; one that is unclean when
//! another boot begins is dropped, so that a power cut never leaves half a layer that looks whole.
//!
//! Start reading at [`Snapshots`], then [`unpack`](Snapshots::unpack).
#![forbid(unsafe_code)]

mod apply;
mod archive;
mod chain;
mod commit;
mod complete;
mod delete;
mod error;
mod limits;
mod merged;
mod open;
mod points;
mod record;
mod snapshots;
mod stream;
mod unpack;
mod writable;

pub use apply::Refusal;
pub use archive::{ArchiveFault, EntryName};
pub use chain::ChainId;
pub use delete::Usage;
pub use error::{
    CommitError, LookupError, OpenError, PrepareError, RemoveError, SweepError, SyncError,
    UnpackError, UsageError,
};
pub use limits::{Limit, Limits};
pub use open::{DropReason, DroppedLayer, Recovery};
pub use record::LayerRecord;
pub use snapshots::Snapshots;
pub use stream::Compression;
pub use unpack::Unpacked;
pub use writable::WritableLayer;
