//! An error with its causes, in one line.

use std::error::Error;
use std::fmt;

/// Prints an error and everything that led to it, outermost first, with colons between.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(&'a dyn Error);

/// Returns what prints `error` with its causes.
#[must_use]
pub fn chain(error: &(impl Error + 'static)) -> Chain<'_> {
    Chain(error)
}

impl Chain<'_> {
    /// Returns the error and its causes, each by itself, outermost first.
    #[must_use]
    pub fn links(&self) -> Vec<String> {
        let mut links = vec![self.0.to_string()];
        let mut next = self.0.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            // A wrapper that shows its cause's words is passed over.
            if links.last() != Some(&text) {
                links.push(text);
            }
            next = cause.source();
        }
        links
    }
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.links().join(": "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Sample {
        #[error("disk is full")]
        Disk,
        #[error(transparent)]
        Through(Box<Sample>),
        #[error("blob was not written")]
        Blob(#[source] Box<Sample>),
    }

    #[test]
    fn causes_follow_and_wrappers_do_not_repeat() {
        let error = Sample::Blob(Box::new(Sample::Through(Box::new(Sample::Disk))));
        assert_eq!(
            chain(&error).to_string(),
            "blob was not written: disk is full"
        );
        assert_eq!(
            chain(&error).links(),
            ["blob was not written", "disk is full"]
        );
    }
}
