//! The words every other crate shares: ids, digests, image references, error kinds.
//!
//! Owns: checked newtypes and what can be said about them without touching the machine.
//! Does not: read files, open sockets, know async, or know any wire format.
//! Start reading at [`ids`] and [`error`].
#![forbid(unsafe_code)]

pub mod digest;
pub mod error;
pub mod hook;
pub mod ids;
pub mod name_server;
pub mod platform;
pub mod reference;
pub mod time;
pub mod user;

pub use digest::{Digest, DigestError};
pub use error::{Classify, ErrorKind};
pub use hook::{HookStage, HookStageError};
pub use ids::{ContainerId, ExecId, IdError, ImageId, Owner, SandboxId, SnapshotKey};
pub use name_server::{NameServer, NameServerError};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError};
