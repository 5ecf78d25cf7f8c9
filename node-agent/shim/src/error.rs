//! Why a request was refused or failed, and how that is told to the agent.

use agent_runtime::{CreateError, ExecError, FailureKind, StartError};
use proto_shim::ErrorCode;

use crate::log::file::LogError;

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestError {
    #[error("{what} {id} does not exist")]
    NotFound { what: &'static str, id: String },
    #[error("{what} {id} exists already")]
    Exists { what: &'static str, id: String },
    #[error("{what} {id} is {state}")]
    State {
        what: &'static str,
        id: String,
        state: &'static str,
    },
    #[error("request is malformed: {what}")]
    Malformed { what: &'static str },
    #[error("container {id} could not be created")]
    Create { id: String, source: CreateError },
    #[error("container {id} could not be started")]
    Start { id: String, source: StartError },
    #[error("exec session {id} could not be started")]
    Exec { id: String, source: ExecError },
    #[error("log of container {id} could not be opened")]
    Log { id: String, source: LogError },
    #[error("{step} for {id} failed")]
    Kernel {
        step: &'static str,
        id: String,
        source: std::io::Error,
    },
    #[error("processes of {count} containers could not be ended")]
    Shutdown { count: usize },
}

impl RequestError {
    /// Returns a function that wraps what the kernel said about `step` on `id`.
    pub(crate) fn kernel<E: Into<std::io::Error>>(
        step: &'static str,
        id: &str,
    ) -> impl FnOnce(E) -> Self {
        let id = id.to_owned();
        move |source| Self::Kernel {
            step,
            id,
            source: source.into(),
        }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::Exists { .. } => ErrorCode::AlreadyExists,
            Self::State { .. } => ErrorCode::State,
            Self::Malformed { .. } => ErrorCode::Invalid,
            Self::Create { source, .. } => code_of(source.kind()),
            Self::Start { source, .. } => code_of(source.kind()),
            Self::Exec { source, .. } => code_of(source.kind()),
            Self::Log { source, .. } => match source {
                LogError::Name { .. } | LogError::NotRegular { .. } => ErrorCode::Invalid,
                LogError::Open { .. } => ErrorCode::Internal,
            },
            Self::Kernel { .. } | Self::Shutdown { .. } => ErrorCode::Internal,
        }
    }

    fn errno(&self) -> i32 {
        match self {
            Self::Create { source, .. } => source.errno(),
            Self::Start { source, .. } => source.errno(),
            Self::Exec { source, .. } => source.errno(),
            Self::Kernel { source, .. } => source.raw_os_error().unwrap_or(0),
            Self::Log {
                source: LogError::Open { source, .. },
                ..
            } => source.raw_os_error().unwrap_or(0),
            _ => 0,
        }
    }
}

const fn code_of(kind: FailureKind) -> ErrorCode {
    match kind {
        FailureKind::Invalid => ErrorCode::Invalid,
        FailureKind::ProgramNotFound => ErrorCode::ProgramNotFound,
        FailureKind::ProgramNotExecutable => ErrorCode::ProgramNotExecutable,
        FailureKind::NotRunning => ErrorCode::State,
        FailureKind::Internal => ErrorCode::Internal,
    }
}

impl From<&RequestError> for proto_shim::Error {
    fn from(error: &RequestError) -> Self {
        Self {
            code: error.code().into(),
            message: chain(error),
            errno: error.errno(),
        }
    }
}

/// Returns the error and its causes in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_is_told_the_whole_chain_and_the_number() {
        let source = std::io::Error::from_raw_os_error(28);
        let error = RequestError::Kernel {
            step: "pipe",
            id: "c1".into(),
            source,
        };
        let told = proto_shim::Error::from(&error);
        assert_eq!(told.code(), ErrorCode::Internal);
        assert_eq!(told.errno, 28);
        assert!(
            told.message
                .starts_with("pipe for c1 failed: No space left"),
            "{}",
            told.message
        );
    }
}
