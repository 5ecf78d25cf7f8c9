//! The launcher, and the process beside each sandbox that it forks.
//!
//! Owns: what must go on without the agent: containers, their output, their exits.
//! Does not: decide anything the agent can decide; run anything from an image outside a container.
//!
//! One thread, no allocation that grows with time, no dependency on the agent. Start reading at
//! [`launcher`], then [`launch`], then [`shim`].
#![forbid(unsafe_code)]

mod attach;
mod buffers;
mod cgroup;
mod connection;
mod container;
mod descriptors;
mod directory;
mod error;
mod exec;
mod launch;
mod launcher;
mod log;
mod namespaces;
mod oom;
mod patience;
mod pipes;
mod poll;
mod sandbox;
mod shim;
mod spare;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use launcher::Arguments;

fn main() -> ExitCode {
    let Some(arguments) = parse(std::env::args_os().skip(1)) else {
        // Nobody calls this by hand; whoever does gets the usage of a tool that was misused.
        return ExitCode::from(2);
    };
    match launcher::run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Reads `launcher --root DIR --state DIR`.
fn parse(mut arguments: impl Iterator<Item = OsString>) -> Option<Arguments> {
    if arguments.next()? != "launcher" {
        return None;
    }
    let (mut root, mut state) = (None, None);
    while let Some(name) = arguments.next() {
        let value = Some(PathBuf::from(arguments.next()?));
        if name == "--root" {
            root = value;
        } else if name == "--state" {
            state = value;
        } else {
            return None;
        }
    }
    Some(Arguments {
        root: root?,
        state: state?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(PathBuf, PathBuf)> {
        let words = text.split(' ').map(OsString::from);
        parse(words).map(|arguments| (arguments.root, arguments.state))
    }

    #[test]
    fn both_directories_are_needed_and_nothing_else_is_taken() {
        let both = Some(("/a".into(), "/b".into()));
        assert_eq!(parsed("launcher --root /a --state /b"), both);
        assert_eq!(parsed("launcher --state /b --root /a"), both);
        for wrong in [
            "",
            "launcher",
            "launcher --root /a",
            "launcher --root /a --state",
            "launcher --root /a --state /b --more /c",
            "shim --root /a --state /b",
        ] {
            assert_eq!(parsed(wrong), None, "{wrong:?}");
        }
    }
}
