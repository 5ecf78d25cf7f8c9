//! What a caller can do about a failure, independent of where it happened.

/// The small set of answers a caller can act on.
///
/// Mapped to gRPC status codes in one place, `api/src/status.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The named object does not exist.
    NotFound,
    /// Another object holds the name.
    AlreadyExists,
    /// The request can never succeed as written.
    InvalidArgument,
    /// The request may succeed once the object is in another state.
    FailedPrecondition,
    /// A limit, quota or disk is exhausted.
    ResourceExhausted,
    /// Try again later; nothing is wrong with the request.
    Unavailable,
    /// The time allowed ran out.
    DeadlineExceeded,
    /// The caller went away or asked to stop.
    Cancelled,
    /// The caller is not allowed, or its credentials were refused.
    PermissionDenied,
    /// Not built on this node or in this version.
    Unimplemented,
    /// A fault of ours or of the machine.
    Internal,
}

/// Says what the caller can do about an error.
pub trait Classify: std::error::Error {
    /// Returns the kind of this error.
    fn kind(&self) -> ErrorKind;
}

/// An error that several callers of one operation share.
impl<E: Classify + ?Sized> Classify for std::sync::Arc<E> {
    fn kind(&self) -> ErrorKind {
        (**self).kind()
    }
}

impl<E: Classify> Classify for Box<E> {
    fn kind(&self) -> ErrorKind {
        (**self).kind()
    }
}

impl Classify for crate::IdError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

impl Classify for crate::DigestError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Classifies what the kernel said, for errors whose only cause is an I/O error.
#[must_use]
pub fn kind_of_io(error: &std::io::Error) -> ErrorKind {
    use std::io::ErrorKind as Io;
    match error.kind() {
        Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge | Io::OutOfMemory => {
            ErrorKind::ResourceExhausted
        }
        Io::TimedOut => ErrorKind::DeadlineExceeded,
        _ => ErrorKind::Internal,
    }
}
