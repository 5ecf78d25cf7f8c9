//! The program that compiles profiles and loads them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::LoadError;

/// Longest complaint that is kept, in characters.
const MAX_COMPLAINT: usize = 2000;

/// Loads a profile, in place of one of the same name.
pub(crate) fn load(parsers: &[PathBuf], text: &str) -> Result<(), LoadError> {
    let program = parsers.iter().find(|program| program.exists());
    run(program.ok_or(LoadError::NoParser)?, text)
}

fn run(program: &Path, text: &str) -> Result<(), LoadError> {
    let failed = |source| LoadError::Run {
        program: program.to_owned(),
        source,
    };
    let mut child = Command::new(program)
        // What others have compiled is not looked at, and nothing is left for them.
        .args(["--replace", "--skip-cache", "--quiet"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends early says more by its status than the broken pipe does.
        let _ = stdin.write_all(text.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(LoadError::Refused {
        program: program.to_owned(),
        status: output.status,
        complaint: complaint.trim().chars().take(MAX_COMPLAINT).collect(),
    })
}
