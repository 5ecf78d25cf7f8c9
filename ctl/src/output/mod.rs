//! What people and scripts see.
//!
//! Owns: the two streams (data on stdout, everything said on stderr), colour,
//! tables, ages and sizes in words. Does not: know any command.
//! Start reading at [`Output`]; a list of things goes through `list.rs`.

mod age;
mod list;
mod progress;
mod size;
mod table;

use std::error::Error;
use std::io::{self, BufWriter, IsTerminal, Stderr, Stdout, Write};

use clap::builder::StyledStr;

pub(crate) use age::{ago, local_time, span, utc_time};
pub(crate) use list::{Column, Format, Row};
pub(crate) use progress::PullDisplay;
pub(crate) use size::{binary_size, decimal_size};
pub(crate) use table::Table;

use crate::error::CommandError;

/// Why output could not be written.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct OutputError(#[from] io::Error);

impl OutputError {
    /// Tells whether the reader has gone away.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// The streams of this process and how they may be used.
#[derive(Debug)]
pub(crate) struct Output {
    stdout: BufWriter<Stdout>,
    stderr: Stderr,
    /// The user has not asked for plain text.
    allows_color: bool,
    /// stderr is a terminal that may be coloured.
    color: bool,
}

impl Output {
    /// Returns the process's own streams.
    pub(crate) fn stdio() -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let stderr = io::stderr();
        Self {
            allows_color: !plain,
            color: stderr.is_terminal() && !plain,
            stdout: BufWriter::new(io::stdout()),
            stderr,
        }
    }

    /// Writes a line of data.
    pub(crate) fn line(&mut self, line: impl AsRef<str>) -> Result<(), OutputError> {
        self.stdout.write_all(line.as_ref().as_bytes())?;
        Ok(self.stdout.write_all(b"\n")?)
    }

    /// Writes bytes of a container's stdout and hands them on at once.
    pub(crate) fn stdout(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        self.stdout.write_all(bytes)?;
        self.flush()
    }

    /// Writes bytes of a container's stderr.
    pub(crate) fn stderr(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        self.stderr.write_all(bytes)?;
        Ok(self.stderr.flush()?)
    }

    /// Writes a table as data.
    pub(crate) fn table(&mut self, table: &Table) -> Result<(), OutputError> {
        Ok(self.stdout.write_all(table.to_string().as_bytes())?)
    }

    /// Hands on what is buffered.
    pub(crate) fn flush(&mut self) -> Result<(), OutputError> {
        Ok(self.stdout.flush()?)
    }

    /// Says something that is not data. Failing to say it is no failure.
    pub(crate) fn message(&mut self, message: impl AsRef<str>) {
        let _ = self.stdout.flush();
        let _ = writeln!(self.stderr, "{}", message.as_ref());
    }

    /// Says that something is not as it should be, without being an error.
    pub(crate) fn warning(&mut self, warning: &str) {
        let label = self.paint("33", "warning:");
        self.message(format!("{label} {warning}"));
    }

    /// Reports an error: what failed, why, and what to do about it.
    pub(crate) fn error(&mut self, error: &CommandError) {
        if error.is_broken_pipe() {
            return;
        }
        let mut text = format!("{} {error}", self.paint("1;31", "error:"));
        let repeated = format!("{error}: ");
        let mut source = error.source();
        while let Some(error) = source {
            let cause = error.to_string();
            // The agent may name what was attempted too.
            let cause = cause.strip_prefix(&repeated).unwrap_or(&cause);
            for line in cause.lines() {
                text.push_str("\n  ");
                text.push_str(line);
            }
            source = error.source();
        }
        for hint in error.hints() {
            text.push_str(&format!("\n{} {hint}", self.paint("36", "hint:")));
        }
        self.message(text);
    }

    /// Writes a help text as data.
    pub(crate) fn help(&mut self, text: &StyledStr) -> Result<(), OutputError> {
        let text = if io::stdout().is_terminal() && self.allows_color {
            text.ansi().to_string()
        } else {
            text.to_string()
        };
        Ok(self.stdout.write_all(text.as_bytes())?)
    }

    /// Reports a mistake in the command line.
    pub(crate) fn usage(&mut self, text: &StyledStr) {
        let text = if self.color {
            text.ansi().to_string()
        } else {
            text.to_string()
        };
        let _ = self.stderr.write_all(text.as_bytes());
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// Tells whether stderr is a terminal, where progress may be drawn.
    pub(crate) fn draws_progress(&self) -> bool {
        self.stderr.is_terminal()
    }
}
