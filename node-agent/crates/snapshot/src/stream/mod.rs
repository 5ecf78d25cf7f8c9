//! A layer's bytes on their way from the caller's reader to the file system, in bounded memory.
//!
//! ```text
//! caller's thread            digest thread
//! reader -> inflate --+----> sha256
//!                     +----> archive -> files      (apply thread)
//! ```
//!
//! Both consumers share each buffer; it goes back to the pool when the second one drops it, so a
//! slow disk holds the reader back. Start reading at [`pipe`].

mod inflate;
mod pipe;
mod pool;

pub use inflate::Compression;
pub(crate) use inflate::InflateError;
pub(crate) use pipe::{PipeError, Summary, run};
