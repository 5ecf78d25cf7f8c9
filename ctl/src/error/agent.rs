//! What the agent answers in place of a result.

use std::error::Error;
use std::{fmt, io};

use tonic::{Code, Status};

use super::ExitStatus;

/// Metadata key of each cause by itself, outermost first.
const CAUSE: &str = "error-cause-bin";

/// What is seen of a connection whose other end has gone away.
const LOST: [io::ErrorKind; 4] = [
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::UnexpectedEof,
];

/// How long a whole id is, and how much of it people read.
const ID: usize = 64;
const SHORT_ID: usize = 12;

/// What the agent answered in place of a result.
///
/// Shown by its causes, a line each: the code is for programs.
#[derive(Debug, Clone)]
pub(crate) struct AgentError(Box<Status>);

impl AgentError {
    /// Returns the status code.
    pub(crate) fn code(&self) -> Code {
        self.0.code()
    }

    /// Returns the kind of the I/O error that kept the request from the agent, if one did.
    pub(crate) fn io_kind(&self) -> Option<io::ErrorKind> {
        let mut cause = self.0.source();
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<io::Error>() {
                return Some(error.kind());
            }
            cause = error.source();
        }
        None
    }

    /// Tells whether the connection failed, and not the request: only the client's own
    /// statuses have a source.
    pub(crate) fn is_connection(&self) -> bool {
        self.0.source().is_some()
    }

    /// Returns the code the agent gives a program that could not be executed.
    pub(crate) fn process_code(&self) -> Option<ExitStatus> {
        match self.0.metadata().get("exit-code")?.as_bytes() {
            b"126" => Some(ExitStatus::NOT_EXECUTABLE),
            b"127" => Some(ExitStatus::NO_PROGRAM),
            _ => None,
        }
    }

    /// Returns why it failed, the outermost cause first.
    fn causes(&self) -> Vec<String> {
        let sent = self.0.metadata().get_all_bin(CAUSE).iter();
        let sent: Vec<_> = sent
            .filter_map(|cause| cause.to_bytes().ok())
            .map(|cause| String::from_utf8_lossy(&cause).into_owned())
            .collect();
        if sent.is_empty() {
            vec![self.0.message().to_owned()]
        } else {
            sent
        }
    }
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.io_kind(), self.0.message()) {
            (Some(io::ErrorKind::NotFound), _) => f.write_str("there is no such socket"),
            (Some(io::ErrorKind::ConnectionRefused), _) => {
                f.write_str("nothing listens on the socket")
            }
            (Some(kind), _) if !LOST.contains(&kind) => write!(f, "{kind}"),
            _ if self.is_connection() => f.write_str("the connection to the agent was lost"),
            (_, "") => write!(f, "{}", self.0.code().description().to_lowercase()),
            _ => f.write_str(&short_ids(&self.causes().join("\n"))),
        }
    }
}

// The status's own source is the transport's wording of the same thing.
impl Error for AgentError {}

impl From<Status> for AgentError {
    fn from(status: Status) -> Self {
        Self(Box::new(status))
    }
}

/// Cuts ids down to what people read of them; digests, which follow a colon, stay whole.
fn short_ids(text: &str) -> String {
    let mut short = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_alphanumeric()) {
        let (between, word) = rest.split_at(start);
        short.push_str(between);
        let end = word.find(|letter: char| !letter.is_ascii_alphanumeric());
        let (word, after) = word.split_at(end.unwrap_or(word.len()));
        let is_id = word.len() == ID
            && !short.ends_with(':')
            && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        short.push_str(if is_id { &word[..SHORT_ID] } else { word });
        rest = after;
    }
    short + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::metadata::MetadataValue;

    #[test]
    fn an_empty_message_is_replaced_by_the_codes_meaning() {
        let error = AgentError::from(Status::new(Code::Unavailable, ""));
        assert_eq!(error.to_string(), "the service is currently unavailable");
    }

    #[test]
    fn each_cause_has_its_line() {
        let mut status = Status::internal("it was tried: disk: full");
        for cause in ["it was tried", "disk: full"] {
            let cause = MetadataValue::from_bytes(cause.as_bytes());
            status.metadata_mut().append_bin(CAUSE, cause);
        }
        assert_eq!(
            AgentError::from(status).to_string(),
            "it was tried\ndisk: full"
        );
    }

    #[test]
    fn ids_are_shortened_and_digests_are_not() {
        let id = "0123456789ab".to_owned() + &"c".repeat(52);
        assert_eq!(
            short_ids(&format!("container {id}: \"é\" of {id}")),
            "container 0123456789ab: \"é\" of 0123456789ab"
        );
        let digest = format!("image sha256:{id} is used");
        assert_eq!(short_ids(&digest), digest);
    }
}
