//! What other OCI runtimes say of themselves: the document that their command `features` prints.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use agent_program::{Environment, Run};
use serde::Deserialize;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use crate::handler::RuntimeHandlers;

/// How long a runtime may take to say it.
const LIMIT: Duration = Duration::from_secs(5);

/// Longest document that is taken, in bytes.
const MAX_DOCUMENT: usize = 1 << 20;

/// The word for a mount that is read-only with all that is mounted below it.
const RECURSIVE_READ_ONLY: &str = "rro";

/// What a runtime can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Features {
    recursive_readonly: bool,
}

/// The part of the document that is looked at.
#[derive(Deserialize)]
struct Document {
    #[serde(default, rename = "mountOptions")]
    mount_options: Vec<String>,
}

/// The features of the other runtimes, asked for once.
#[derive(Debug, Default)]
pub(crate) struct OtherFeatures(OnceCell<BTreeMap<String, Features>>);

impl OtherFeatures {
    /// Asks all of them, where nobody has.
    pub(crate) async fn ask(&self, all: &RuntimeHandlers) {
        self.0.get_or_init(|| ask_all(all)).await;
    }

    /// Says whether a handler's runtime, which is not the one built in, makes mounts read-only with all
    /// that is below them. The first call waits until every runtime has been asked. One that does not
    /// say what it can do counts as one that cannot.
    pub(crate) async fn recursive_readonly(&self, all: &RuntimeHandlers, name: &str) -> bool {
        let known = self.0.get_or_init(|| ask_all(all)).await;
        known.get(name).is_some_and(|it| it.recursive_readonly)
    }
}

/// Asks all of them side by side.
async fn ask_all(handlers: &RuntimeHandlers) -> BTreeMap<String, Features> {
    let mut asked = JoinSet::new();
    for name in handlers.names() {
        if let Some(program) = handlers.get(name).and_then(|handler| handler.program) {
            let name = name.to_owned();
            asked.spawn(async move { (name, ask(&program).await) });
        }
    }
    asked.join_all().await.into_iter().collect()
}

async fn ask(program: &Path) -> Features {
    let run = Run {
        program,
        arguments: &["features"],
        environment: Environment::Inherited,
        input: Vec::new(),
        limit: LIMIT,
        most: MAX_DOCUMENT,
    };
    let document = match agent_program::run(run).await {
        Ok(output) if output.ending.is_success() => read(&output.stdout),
        Ok(output) => {
            // An older one has no such command.
            tracing::debug!(path = %program.display(), error = %output.said, "runtime does not tell its features");
            None
        }
        Err(error) => {
            tracing::warn!(path = %program.display(), error = %agent_telemetry::chain(&error), "runtime was not asked for its features");
            None
        }
    };
    document.unwrap_or_default()
}

fn read(document: &[u8]) -> Option<Features> {
    let document: Document = serde_json::from_slice(document).ok()?;
    let mut words = document.mount_options.iter();
    Some(Features {
        recursive_readonly: words.any(|word| word == RECURSIVE_READ_ONLY),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::RuntimeHandler;

    #[test]
    fn a_document_is_read_and_noise_is_none() {
        let read = |text: &str| read(text.as_bytes());
        let known = |recursive_readonly| Some(Features { recursive_readonly });
        assert_eq!(
            read(r#"{"mountOptions":["ro","rro"],"linux":{}}"#),
            known(true)
        );
        assert_eq!(read(r#"{"mountOptions":["ro"]}"#), known(false));
        assert_eq!(read("{}"), known(false));
        assert_eq!(read("unknown command features"), None);
    }

    #[tokio::test]
    async fn who_does_not_answer_can_do_nothing() {
        let handler = |program: &str| RuntimeHandler {
            program: Some(program.into()),
            ..RuntimeHandler::default()
        };
        let all = [("false", "/bin/false"), ("gone", "/nonexistent/runtime")];
        let all = all.map(|(name, program)| (name.to_owned(), handler(program)));
        let (all, features) = (RuntimeHandlers::new(all.into()), OtherFeatures::default());
        for name in ["false", "gone", "", "unknown"] {
            assert!(!features.recursive_readonly(&all, name).await, "{name}");
        }
    }
}
