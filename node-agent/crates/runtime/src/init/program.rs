//! The program of a process: its arguments, its environment, and where it is looked for.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt};
use std::path::Path;

use oci_spec::runtime::Process;
use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::Errno;

use super::Step;
use super::in_root::InRoot;
use crate::failure::{Failure, FailureKind};

/// Where programs are looked for when the environment does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program ready to be executed.
#[derive(Debug)]
pub(super) struct Program {
    shown: String,
    candidates: Vec<CString>,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Program {
    /// Reads what a specification asks for; `home` is added to an environment without HOME.
    pub(super) fn new(process: &Process, home: Option<&[u8]>) -> Step<Self> {
        let arguments = process.args().as_deref().unwrap_or_default();
        let Some(name) = arguments.first().filter(|name| !name.is_empty()) else {
            return Err(Failure::invalid(
                "run",
                "the container's program",
                "it has no name",
            ));
        };
        let environment = process.env().as_deref().unwrap_or_default();
        let mut environment = strings("environment variable", environment)?;
        if !environment
            .iter()
            .any(|variable| variable.as_bytes().starts_with(b"HOME="))
        {
            environment.push(home_variable(home.unwrap_or(b"/")));
        }
        Ok(Self {
            shown: format!("{name:?}"),
            candidates: candidates(name, &environment)?,
            arguments: strings("argument", arguments)?,
            environment,
        })
    }

    /// Executes the program; returns only if that failed.
    pub(super) fn execute(&self) -> Failure {
        let mut refused = Errno::NOENT;
        for path in &self.candidates {
            match nix::unistd::execve(path, &self.arguments, &self.environment) {
                Ok(never) => match never {},
                Err(error) => {
                    let error = Errno::from_raw_os_error(error as i32);
                    match error {
                        Errno::NOENT => {}
                        // A part of PATH that is no directory; for a path that was given, the answer.
                        Errno::NOTDIR if self.candidates.len() > 1 => {}
                        Errno::ACCESS => refused = error,
                        _ => return self.not_run(error),
                    }
                }
            }
        }
        self.not_run(refused)
    }

    /// Returns the failure that [`Self::execute`] would end with, as far as files tell; `None` where
    /// there is something to execute, or where it may lie in a place that is hidden here.
    pub(super) fn missing_in(
        &self,
        root: InRoot<'_>,
        directory: &Path,
        is_hidden: impl Fn(&Path) -> bool,
    ) -> Option<Failure> {
        let mut refused = Errno::NOENT;
        for path in &self.candidates {
            let path = directory.join(OsStr::from_bytes(path.to_bytes()));
            if is_hidden(&path) {
                return None;
            }
            let Ok(file) = root.open(&path, OFlags::PATH) else {
                continue;
            };
            let status = fstat(&file).ok()?;
            let is_file = FileType::from_raw_mode(status.st_mode) == FileType::RegularFile;
            if is_file && status.st_mode & 0o111 != 0 {
                return None;
            }
            refused = Errno::ACCESS;
        }
        Some(self.not_run(refused))
    }

    fn not_run(&self, error: Errno) -> Failure {
        let kind = if error == Errno::NOENT {
            FailureKind::ProgramNotFound
        } else {
            FailureKind::ProgramNotExecutable
        };
        Failure::io("execute", self.shown.clone(), error).of_kind(kind)
    }
}

/// Returns the paths to try, in order.
fn candidates(name: &str, environment: &[CString]) -> Step<Vec<CString>> {
    let name = string("argument", name)?;
    if name.as_bytes().contains(&b'/') {
        return Ok(vec![name]);
    }
    let path = environment
        .iter()
        .find_map(|variable| variable.as_bytes().strip_prefix(b"PATH="));
    let path = path.unwrap_or(DEFAULT_PATH.as_bytes());
    // A relative entry would run whatever lies in the working directory.
    let absolute = path
        .split(|byte| *byte == b':')
        .filter(|entry| entry.starts_with(b"/"));
    Ok(absolute.map(|entry| joined(entry, &name)).collect())
}

fn joined(directory: &[u8], name: &CStr) -> CString {
    let mut path = directory.to_vec();
    path.push(b'/');
    path.extend_from_slice(name.to_bytes());
    // Neither part has a NUL byte: both were C strings.
    CString::new(path).unwrap_or_default()
}

/// Returns `HOME=` and a directory, the root if the directory's name cannot be in an environment.
fn home_variable(home: &[u8]) -> CString {
    let mut variable = b"HOME=".to_vec();
    variable.extend_from_slice(home);
    CString::new(variable).unwrap_or_else(|_| c"HOME=/".to_owned())
}

fn strings(what: &'static str, values: &[String]) -> Step<Vec<CString>> {
    values.iter().map(|value| string(what, value)).collect()
}

fn string(what: &'static str, value: &str) -> Step<CString> {
    CString::new(value).map_err(|error| {
        let shown = std::ffi::OsString::from_vec(error.into_vec());
        Failure::invalid("use", format!("{what} {shown:?}"), "it has a NUL byte")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(args: &[&str], env: &[&str]) -> Process {
        let mut process = Process::default();
        process.set_args(Some(args.iter().map(|arg| (*arg).to_owned()).collect()));
        process.set_env(Some(
            env.iter().map(|variable| (*variable).to_owned()).collect(),
        ));
        process
    }

    #[test]
    fn a_bare_name_is_looked_for_in_absolute_directories_of_path() {
        let program = Program::new(&process(&["sh"], &["PATH=/a:.::b:/c"]), None).unwrap();
        assert_eq!(
            program.candidates,
            [c"/a/sh".to_owned(), c"/c/sh".to_owned()]
        );
    }

    #[test]
    fn a_name_with_a_slash_is_taken_as_it_is() {
        let program = Program::new(&process(&["./x"], &["PATH=/a"]), None).unwrap();
        assert_eq!(program.candidates, [c"./x".to_owned()]);
    }

    #[test]
    fn home_is_added_only_where_it_is_missing() {
        let has = |env: &[&str], home| {
            let program = Program::new(&process(&["x"], env), home).unwrap();
            program
                .environment
                .last()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!(has(&["HOME=/x"], Some(&b"/root"[..])), "HOME=/x");
        assert_eq!(has(&["A=b"], Some(&b"/root"[..])), "HOME=/root");
        assert_eq!(has(&["A=b"], None), "HOME=/");
    }

    #[test]
    fn a_nul_byte_and_an_empty_name_are_refused() {
        for (args, env) in [
            (&["a\0b"][..], &[][..]),
            (&["a"], &["A=\0"]),
            (&[], &[]),
            (&[""], &[]),
        ] {
            assert_eq!(
                Program::new(&process(args, env), None).unwrap_err().kind(),
                FailureKind::Invalid
            );
        }
    }
}
