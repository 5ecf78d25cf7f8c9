//! Starts the `nft` program to lay down the fixed rules.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Longest complaint of `nft` that is kept.
const MAX_COMPLAINT: usize = 2000;

/// Why the fixed rules could not be laid down.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The program could not be run.
    #[error("program {} could not be run", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The program refused the rules.
    #[error("program {} refused the rules ({status}): {complaint}", program.display())]
    Refused {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote.
        complaint: String,
    },
}

/// Lays down `ruleset` in one transaction.
pub(crate) async fn lay_down(program: &Path, ruleset: &str) -> Result<(), RulesError> {
    let run = |source| RulesError::Run {
        program: program.to_owned(),
        source,
    };
    let mut child = Command::new(program)
        .args(["-f", "-"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(run)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends early says more by its status than the broken pipe does.
        let _ = stdin.write_all(ruleset.as_bytes()).await;
    }
    let output = child.wait_with_output().await.map_err(run)?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(RulesError::Refused {
        program: program.to_owned(),
        status: output.status,
        complaint: complaint.trim().chars().take(MAX_COMPLAINT).collect(),
    })
}
