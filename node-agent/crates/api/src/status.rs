//! From an error to a gRPC status: the only place that does it.

use agent_types::{Classify, ErrorKind};
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// Metadata key that carries docker's exit code where a program could not be executed.
const EXIT_CODE: &str = "exit-code";

/// Metadata key of each cause by itself, outermost first.
const CAUSE: &str = "error-cause-bin";

/// Most bytes of causes sent: with the message, they must fit the header too.
const MAX_CAUSES: usize = 2048;

/// Longest message sent, in bytes: a header of 16 KiB must hold it, percent-encoded.
const MAX_MESSAGE: usize = 4096;

/// Returns the status of an error, with its causes in one line.
pub(crate) fn of(error: &(impl Classify + 'static)) -> Status {
    let causes = agent_telemetry::chain(error).links();
    let mut message = causes.join(": ");
    if message.len() > MAX_MESSAGE {
        let end = message.floor_char_boundary(MAX_MESSAGE);
        message.truncate(end);
    }
    let kind = error.kind();
    if kind == ErrorKind::Internal {
        // The caller is told too, but only the operator can act.
        tracing::error!(error = message, "request failed");
    } else {
        tracing::debug!(error = message, "request refused");
    }
    let short = message.len() <= MAX_CAUSES;
    let mut status = Status::new(code(kind), message);
    if short && causes.len() > 1 {
        for cause in &causes {
            let value = MetadataValue::from_bytes(cause.as_bytes());
            status.metadata_mut().append_bin(CAUSE, value);
        }
    }
    status
}

/// As [`of`], with the exit code that docker's client would end with.
pub(crate) fn with_exit_code(error: &(impl Classify + 'static), exit_code: Option<i32>) -> Status {
    let mut status = of(error);
    if let Some(exit_code) = exit_code {
        status
            .metadata_mut()
            .insert(EXIT_CODE, MetadataValue::from(exit_code));
    }
    status
}

/// Returns the status of a request that is not valid.
pub(crate) fn invalid(message: impl Into<String>) -> Status {
    Status::invalid_argument(message)
}

const fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::InvalidArgument => Code::InvalidArgument,
        ErrorKind::FailedPrecondition => Code::FailedPrecondition,
        ErrorKind::ResourceExhausted => Code::ResourceExhausted,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::Unimplemented => Code::Unimplemented,
        ErrorKind::Internal => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Sample(String, ErrorKind);

    impl Classify for Sample {
        fn kind(&self) -> ErrorKind {
            self.1
        }
    }

    #[test]
    fn every_kind_has_its_code() {
        let table = [
            (ErrorKind::NotFound, Code::NotFound),
            (ErrorKind::AlreadyExists, Code::AlreadyExists),
            (ErrorKind::InvalidArgument, Code::InvalidArgument),
            (ErrorKind::FailedPrecondition, Code::FailedPrecondition),
            (ErrorKind::ResourceExhausted, Code::ResourceExhausted),
            (ErrorKind::Unavailable, Code::Unavailable),
            (ErrorKind::DeadlineExceeded, Code::DeadlineExceeded),
            (ErrorKind::Cancelled, Code::Cancelled),
            (ErrorKind::PermissionDenied, Code::PermissionDenied),
            (ErrorKind::Unimplemented, Code::Unimplemented),
            (ErrorKind::Internal, Code::Internal),
        ];
        for (kind, code) in table {
            let status = of(&Sample("it failed".to_owned(), kind));
            assert_eq!((status.code(), status.message()), (code, "it failed"));
        }
    }

    #[test]
    fn a_long_message_fits_a_header() {
        let status = of(&Sample("é".repeat(9000), ErrorKind::Internal));
        assert!(status.message().len() <= MAX_MESSAGE);
    }

    #[derive(Debug, thiserror::Error)]
    #[error("it was tried")]
    struct Outer(#[source] Sample);

    impl Classify for Outer {
        fn kind(&self) -> ErrorKind {
            self.0.kind()
        }
    }

    #[test]
    fn causes_travel_one_by_one_where_they_fit() {
        let error = |text: &str| Outer(Sample(text.to_owned(), ErrorKind::Internal));
        let status = of(&error("disk: full"));
        assert_eq!(status.message(), "it was tried: disk: full");
        let causes = status.metadata().get_all_bin(CAUSE).iter();
        let causes: Vec<_> = causes.map(|value| value.to_bytes().unwrap()).collect();
        assert_eq!(causes, ["it was tried", "disk: full"]);
        let long = of(&error(&"x".repeat(MAX_CAUSES)));
        assert!(long.metadata().get_bin(CAUSE).is_none());
    }

    #[test]
    fn an_exit_code_travels_as_metadata() {
        let error = Sample("no".to_owned(), ErrorKind::InvalidArgument);
        let status = with_exit_code(&error, Some(127));
        assert_eq!(status.metadata().get(EXIT_CODE).unwrap(), "127");
    }
}
