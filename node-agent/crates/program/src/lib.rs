//! Programs of others that are run once for their answer: network plugins, credential helpers.
//!
//! Owns: finding a program, its pipes, a process group of its own, and an end in time with bounded
//! output. Does not: know what is asked or answered, and never asks a shell.
//!
//! Start reading at [`run()`].
#![forbid(unsafe_code)]

mod run;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

pub use run::{Ending, Environment, Output, Run, RunError, run};

/// Returns the first executable file of this name.
#[must_use]
pub fn find(name: &str, directories: &[PathBuf]) -> Option<PathBuf> {
    let mut paths = directories.iter().map(|directory| directory.join(name));
    paths.find(|path| is_program(path))
}

/// Returns at most `limit` characters without anything that could forge a line of a log.
#[must_use]
pub fn one_line(text: &str, limit: usize) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().map(plain).take(limit).collect()
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path)
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
