//! What went wrong, in a form that crosses from a half-made container to its maker.

use std::borrow::Cow;
use std::fmt;
use std::io;

use agent_types::ErrorKind;

/// What kind of failure; the same set as `shim.v1.ErrorCode` has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureKind {
    /// The specification or the image asks for something that cannot be.
    Invalid,
    /// The program does not exist (docker's exit code 127).
    ProgramNotFound,
    /// The program cannot be executed (docker's exit code 126).
    ProgramNotExecutable,
    /// The container has ended.
    NotRunning,
    /// A fault of ours or of the machine.
    Internal,
}

impl FailureKind {
    const ALL: [Self; 5] = [
        Self::Invalid,
        Self::ProgramNotFound,
        Self::ProgramNotExecutable,
        Self::NotRunning,
        Self::Internal,
    ];

    /// Returns the exit code of a process that ended because of it.
    pub(crate) const fn exit_code(self) -> i32 {
        match self {
            Self::ProgramNotFound => 127,
            Self::ProgramNotExecutable => 126,
            Self::Invalid | Self::NotRunning | Self::Internal => 1,
        }
    }

    /// Returns what a caller can do about it.
    #[must_use]
    pub const fn classify(self) -> ErrorKind {
        match self {
            Self::Invalid | Self::ProgramNotFound | Self::ProgramNotExecutable => {
                ErrorKind::InvalidArgument
            }
            Self::NotRunning => ErrorKind::FailedPrecondition,
            Self::Internal => ErrorKind::Internal,
        }
    }
}

/// One step that failed: what was attempted, on what, and why.
#[derive(Debug)]
pub struct Failure {
    kind: FailureKind,
    action: Cow<'static, str>,
    object: String,
    reason: Cow<'static, str>,
    source: Option<io::Error>,
}

/// Longest part of a message that is sent on, in bytes.
const PART_CAP: usize = 1024;

impl Failure {
    /// Returns the failure of `action` on `object` that the kernel reported.
    pub(crate) fn io(
        action: &'static str,
        object: impl Into<String>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self {
            kind: FailureKind::Internal,
            action: action.into(),
            object: object.into(),
            reason: "".into(),
            source: Some(source.into()),
        }
    }

    /// Returns the refusal of what a specification or an image asks for.
    pub(crate) fn invalid(
        action: &'static str,
        object: impl Into<String>,
        reason: &'static str,
    ) -> Self {
        Self {
            kind: FailureKind::Invalid,
            action: action.into(),
            object: object.into(),
            reason: reason.into(),
            source: None,
        }
    }

    /// Returns the failure of `action` on `object` that somebody else has reported, in words.
    pub(crate) fn of(
        action: &'static str,
        object: impl Into<String>,
        error: &dyn std::error::Error,
    ) -> Self {
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            reason.push_str(": ");
            reason.push_str(&error.to_string());
            cause = error.source();
        }
        Self::invalid(action, object, "")
            .of_kind(FailureKind::Internal)
            .because(reason)
    }

    /// Returns the same failure with a reason in words.
    pub(crate) fn because(mut self, reason: impl Into<Cow<'static, str>>) -> Self {
        self.reason = reason.into();
        self
    }

    /// Returns the same failure as another kind.
    pub(crate) const fn of_kind(mut self, kind: FailureKind) -> Self {
        self.kind = kind;
        self
    }

    /// Returns the kind.
    #[must_use]
    pub const fn kind(&self) -> FailureKind {
        self.kind
    }

    /// Returns the kernel's error number, 0 if there is none.
    #[must_use]
    pub fn errno(&self) -> i32 {
        self.source
            .as_ref()
            .and_then(io::Error::raw_os_error)
            .unwrap_or(0)
    }

    /// Appends the failure in the form that [`Failure::decode`] reads.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let kind = Self::position(self.kind);
        out.push(kind);
        out.extend_from_slice(&self.errno().to_le_bytes());
        for part in [
            self.action.as_ref(),
            self.object.as_str(),
            self.reason.as_ref(),
        ] {
            let part = cut(part);
            let length = u16::try_from(part.len()).unwrap_or(0);
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(part.as_bytes());
        }
    }

    /// Reads a failure; `None` if the bytes are not one.
    ///
    /// The sender may be under the control of a container: every field is checked.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let kind = *FailureKind::ALL.get(usize::from(*kind))?;
        let (errno, mut rest) = rest.split_first_chunk::<4>()?;
        let errno = i32::from_le_bytes(*errno);
        let mut part = || -> Option<String> {
            let (length, tail) = rest.split_first_chunk::<2>()?;
            let (text, tail) = tail.split_at_checked(u16::from_le_bytes(*length).into())?;
            rest = tail;
            Some(String::from_utf8_lossy(text).into_owned())
        };
        Some(Self {
            kind,
            action: part()?.into(),
            object: part()?,
            reason: part()?.into(),
            source: (errno != 0).then(|| io::Error::from_raw_os_error(errno)),
        })
    }

    fn position(kind: FailureKind) -> u8 {
        let found = FailureKind::ALL.iter().position(|known| *known == kind);
        found
            .and_then(|index| u8::try_from(index).ok())
            .unwrap_or(u8::MAX)
    }
}

/// Returns as much of `text` as may be sent, whole characters only.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(PART_CAP);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}", self.action, self.object)?;
        if !self.reason.is_empty() {
            write!(f, ": {}", self.reason)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Failure {
        Failure::io("mount", "tmpfs on /dev", io::Error::from_raw_os_error(22))
            .because("it is a link")
            .of_kind(FailureKind::Invalid)
    }

    #[test]
    fn a_failure_survives_the_way_to_its_maker() {
        let mut bytes = Vec::new();
        sample().encode(&mut bytes);
        let decoded = Failure::decode(&bytes).unwrap();
        assert_eq!(
            decoded.to_string(),
            "cannot mount tmpfs on /dev: it is a link"
        );
        assert_eq!(
            (decoded.kind(), decoded.errno()),
            (FailureKind::Invalid, 22)
        );
    }

    #[test]
    fn every_kind_survives() {
        for kind in FailureKind::ALL {
            let mut bytes = Vec::new();
            sample().of_kind(kind).encode(&mut bytes);
            assert_eq!(Failure::decode(&bytes).unwrap().kind(), kind);
        }
    }

    #[test]
    fn a_long_object_is_cut_between_characters() {
        let mut bytes = Vec::new();
        Failure::invalid("find", "é".repeat(4000), "too long").encode(&mut bytes);
        let shown = Failure::decode(&bytes).unwrap().to_string();
        assert!(
            shown.ends_with("é: too long") && shown.len() < 1100,
            "{}",
            shown.len()
        );
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Failure::decode(&bytes).map(|failure| failure.to_string());
        }
    }
}
