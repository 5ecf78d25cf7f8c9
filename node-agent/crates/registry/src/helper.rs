//! Credential helpers: programs that keep credentials for the node, asked in docker's way.
//!
//! `docker-credential-NAME get` reads the server from standard input and answers with a user and a
//! secret. What it answers is never shown.

use std::path::PathBuf;
use std::time::Duration;

use agent_program::{Ending, Environment, Run, RunError, one_line};
use agent_types::reference::DEFAULT_REGISTRY;
use serde::Deserialize;
use tokio::runtime::Handle;

use crate::auth::{Auth, Secret};

/// What helpers' programs are called, before their name.
const PREFIX: &str = "docker-credential-";

/// What a helper without credentials for a server answers, by its protocol.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// The user of a secret that is an identity token.
const TOKEN_USER: &str = "<token>";

/// How long a helper may take; some ask a service elsewhere.
const LIMIT: Duration = Duration::from_secs(30);

/// Most bytes of an answer.
const MAX_ANSWER: usize = 64 << 10;

/// Most characters of a complaint.
const MAX_COMPLAINT: usize = 300;

/// Why a helper gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// Its name cannot be part of a program's.
    #[error("credential helper {name:?} has no usable name")]
    Name {
        /// The name.
        name: String,
    },
    /// There is no such program.
    #[error("credential helper {program} is not installed in {}", directories.display())]
    NotFound {
        /// The program.
        program: String,
        /// Where it was looked for, as `PATH` has it.
        directories: PathBuf,
    },
    /// It did not come to its own end.
    #[error("credential helper {program} could not be asked")]
    Run {
        /// The program.
        program: String,
        /// Why.
        source: RunError,
    },
    /// It has failed.
    #[error("credential helper {program} {ending}: {said}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        ending: Ending,
        /// What it complains of.
        said: String,
    },
    /// It has succeeded, and its answer is none. What it holds is not shown.
    #[error("credential helper {program} answered with what cannot be read")]
    Answer {
        /// The program.
        program: String,
    },
}

/// How helpers are run.
#[derive(Debug)]
pub(crate) struct Helpers {
    /// Where their programs are.
    pub(crate) directories: Vec<PathBuf>,
    /// What runs them while the caller, a thread of its own, waits.
    pub(crate) runtime: Handle,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

impl Helpers {
    /// Asks a helper for credentials for a registry; `None`: it has none. Blocking.
    pub(crate) fn ask(&self, name: &str, registry: &str) -> Result<Option<Auth>, HelperError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(is_plain) {
            return Err(HelperError::Name {
                name: name.to_owned(),
            });
        }
        let program = format!("{PREFIX}{name}");
        let Some(path) = agent_program::find(&program, &self.directories) else {
            let directories = std::env::join_paths(&self.directories);
            return Err(HelperError::NotFound {
                program,
                directories: directories.unwrap_or_default().into(),
            });
        };
        let run = agent_program::run(Run {
            program: &path,
            arguments: &["get"],
            // It may need a home, a proxy, or a cloud's variables.
            environment: Environment::Inherited,
            input: server_of(registry).into_bytes(),
            limit: LIMIT,
            most: MAX_ANSWER,
        });
        let output = match self.runtime.block_on(run) {
            Ok(output) => output,
            Err(source) => return Err(HelperError::Run { program, source }),
        };
        if output.ending.is_success() {
            let answer = serde_json::from_slice(&output.stdout);
            return match answer {
                Ok(answer) => Ok(auth(answer)),
                Err(_) => Err(HelperError::Answer { program }),
            };
        }
        // By the protocol, a failed helper's standard output is its complaint.
        let complaint = String::from_utf8_lossy(&output.stdout);
        if complaint.trim() == NOT_FOUND {
            return Ok(None);
        }
        let said = match complaint.trim().is_empty() {
            true => output.said,
            false => one_line(&complaint, MAX_COMPLAINT),
        };
        Err(HelperError::Failed {
            program,
            ending: output.ending,
            said,
        })
    }
}

/// Returns the name that helpers keep a registry's credentials under.
fn server_of(registry: &str) -> String {
    match registry {
        DEFAULT_REGISTRY => "https://index.docker.io/v1/".to_owned(),
        other => other.to_owned(),
    }
}

fn auth(answer: Answer) -> Option<Auth> {
    match answer {
        Answer { username, secret } if username.is_empty() && secret.is_empty() => None,
        Answer { username, secret } if username == TOKEN_USER => {
            Some(Auth::IdentityToken(Secret::new(secret)))
        }
        Answer { username, secret } => Some(Auth::Basic {
            username,
            password: Secret::new(secret),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// Asks a helper that is this script.
    async fn asked(script: &str, registry: &str) -> Result<Option<Auth>, HelperError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("docker-credential-test");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let helpers = Helpers {
            directories: vec!["/nonexistent".into(), directory.path().to_owned()],
            runtime: Handle::current(),
        };
        let registry = registry.to_owned();
        tokio::task::spawn_blocking(move || helpers.ask("test", &registry))
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_helper_answers_for_the_server_that_it_is_told() {
        let script =
            r#"test $1 = get && printf '{"ServerURL":"x","Username":"%s","Secret":"s"}' $(cat)"#;
        for (registry, user) in [
            ("r.io:5000", "r.io:5000"),
            ("docker.io", "https://index.docker.io/v1/"),
        ] {
            let Some(Auth::Basic { username, .. }) = asked(script, registry).await.unwrap() else {
                panic!("no user");
            };
            assert_eq!(username, user);
        }
        let script = r#"printf '{"ServerURL":"x","Username":"<token>","Secret":"s"}'"#;
        let token = asked(script, "r.io").await.unwrap();
        assert_eq!(token, Some(Auth::IdentityToken(Secret::new("s"))));
        let script = "echo credentials not found in native keychain; exit 1";
        assert_eq!(asked(script, "r.io").await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_went_wrong_is_told_without_an_answer() {
        for (script, words) in [
            (
                "echo the keychain is locked; exit 2",
                "the keychain is locked",
            ),
            ("echo no key >&2; exit 2", "ended with code 2: no key"),
            ("echo hunter2", "cannot be read"),
            ("kill -9 $$", "killed by signal 9"),
        ] {
            let error = asked(script, "r.io").await.unwrap_err();
            let shown = format!("{error} {error:?}");
            assert!(shown.contains(words), "{shown}");
            assert!(shown.contains("docker-credential-test"), "{shown}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }

    #[tokio::test]
    async fn a_name_is_no_path_and_a_helper_that_is_missing_is_named() {
        let helpers = Helpers {
            directories: vec!["/nonexistent".into()],
            runtime: Handle::current(),
        };
        for name in ["", "../x", "a/b", "x y", "x;y"] {
            let error = helpers.ask(name, "r.io").unwrap_err();
            assert!(matches!(error, HelperError::Name { .. }), "{error}");
        }
        let error = helpers.ask("absent", "r.io").unwrap_err().to_string();
        assert!(
            error.contains("docker-credential-absent") && error.contains("/nonexistent"),
            "{error}"
        );
    }
}
