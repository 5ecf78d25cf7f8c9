//! What is done with a container that another runtime has made.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use oci_spec::runtime::Process;

use super::config::{set_size, set_user};
use super::{Console, External, Invocation, Run, Streams, directory, pidfd_of, read_pid};
use crate::error::{ExecError, StartError};
use crate::failure::{Failure, FailureKind};
use crate::init;
use crate::maker;
use crate::onlookers::Onlookers;
use crate::request::{ExecRequest, Execed, Stdio};
use crate::starting::Starting;

/// A session whose runtime is making it.
#[derive(Debug)]
pub struct Execution {
    of: Arc<External>,
    run: Run,
    /// Names of the files that it needs: the process, its id, its terminal.
    names: [String; 3],
    console: Option<Console>,
    /// The bundle, which the terminal's socket is reached through.
    _place: OwnedFd,
}

/// A container that its runtime is forgetting.
#[derive(Debug)]
pub struct Deletion {
    of: Arc<External>,
    run: Run,
}

macro_rules! follow_run {
    ($name:ident, $($run:tt)+) => {
        impl $name {
            /// Returns what becomes readable when the runtime has ended.
            #[must_use]
            pub fn fd(&self) -> BorrowedFd<'_> {
                self.$($run)+.fd()
            }

            /// Ends a runtime that takes longer than it may.
            pub fn kill(&mut self) {
                self.$($run)+.kill();
            }

            /// Returns how long it may take.
            #[must_use]
            pub const fn patience(&self) -> Duration {
                self.$($run)+.patience()
            }
        }
    };
}

follow_run!(Execution, run);
follow_run!(Deletion, run);

impl External {
    /// Has the runtime let the container's program run.
    pub(crate) fn start(&self) -> Result<Starting, StartError> {
        self.invoke("start", Streams::None, &[])
            .map(Starting::by_other)
            .map_err(StartError::Step)
    }

    /// Has the runtime forget a container whose process has ended.
    ///
    /// # Errors
    /// Says why the runtime could not even be run; the bundle is removed all the same.
    pub fn delete(self: &Arc<Self>) -> Result<Deletion, Failure> {
        match self.invoke("delete", Streams::None, &["--force"]) {
            Ok(run) => Ok(Deletion {
                of: Arc::clone(self),
                run,
            }),
            Err(failure) => {
                // What is left of it goes with the sandbox's directory.
                let _ = std::fs::remove_dir_all(&self.bundle);
                Err(failure)
            }
        }
    }

    /// Has the runtime execute a program in the container.
    ///
    /// # Errors
    /// Says why the runtime could not even be asked.
    pub fn exec(
        self: &Arc<Self>,
        pid: i32,
        request: ExecRequest<'_>,
    ) -> Result<Execution, ExecError> {
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        let names = ["json", "pid", "tty"].map(|kind| format!("exec-{number}.{kind}"));
        let begun = self.begin_exec(pid, request, &names);
        let (place, console, run) = begun.map_err(|failure| {
            self.remove(&names);
            ExecError::Step(failure)
        })?;
        Ok(Execution {
            of: Arc::clone(self),
            run,
            names,
            console,
            _place: place,
        })
    }

    fn begin_exec(
        &self,
        pid: i32,
        request: ExecRequest<'_>,
        [process_file, pid_file, tty]: &[String; 3],
    ) -> Result<(OwnedFd, Option<Console>, Run), Failure> {
        let invalid = |error: serde_json::Error| {
            Failure::invalid("read", "the session's process", "").because(error.to_string())
        };
        let mut process: Process = serde_json::from_slice(request.process).map_err(invalid)?;
        let root = root_of(pid)?;
        let place = directory(&self.bundle)?;
        let (streams, console) = match request.stdio {
            Stdio::Pipes {
                stdin,
                stdout,
                stderr,
            } => (Streams::Pipes(stdin, stdout, stderr), None),
            Stdio::Terminal { rows, columns } => {
                process.set_terminal(Some(true));
                set_size(&mut process, rows, columns);
                (Streams::None, Some(Console::listen(&place, tty)?))
            }
        };
        // The container's files may be of any size, and on a file system that never answers.
        let prepare = || {
            let mut process = process.clone();
            let user = init::lookup::user(root.as_fd(), &request.user, process.user())?;
            let missing = init::lookup::missing_program(root.as_fd(), &process, &[]);
            set_user(&mut process, &user);
            self.write(process_file, &process)?;
            Ok(missing)
        };
        let file = |name: &str| self.bundle.join(name).display().to_string();
        let (process_path, pid_path) = (file(process_file), file(pid_file));
        let mut options = vec![
            "--detach",
            "--process",
            &process_path,
            "--pid-file",
            &pid_path,
        ];
        if let Some(console) = &console {
            options.extend(["--tty", "--console-socket", console.path()]);
        }
        let run = self
            .invocation("exec", &options)
            .begin_after(prepare, streams)?;
        Ok((place, console, run))
    }

    /// Removes those of a session's files that there are.
    fn remove(&self, names: &[String]) {
        for name in names {
            let _ = std::fs::remove_file(self.bundle.join(name));
        }
    }

    fn write(&self, name: &str, process: &Process) -> Result<(), Failure> {
        let failed = |error| Failure::io("write", name, error);
        let bytes = serde_json::to_vec(process).map_err(|error| failed(error.into()))?;
        std::fs::write(self.bundle.join(name), bytes).map_err(failed)
    }

    fn invoke(
        &self,
        verb: &'static str,
        streams: Streams,
        options: &[&str],
    ) -> Result<Run, Failure> {
        self.invocation(verb, options).begin(streams)
    }

    fn invocation<'a>(&'a self, verb: &'static str, options: &'a [&'a str]) -> Invocation<'a> {
        Invocation {
            program: &self.program,
            bundle: &self.bundle,
            mounts: Some(self.mounts.as_fd()),
            verb,
            options,
            id: &self.id,
            patience: self.patience,
        }
    }
}

impl Execution {
    /// Takes over the session; the runtime has ended.
    ///
    /// # Errors
    /// Says why the program does not run.
    pub fn finish(self) -> Result<Execed, ExecError> {
        let of = Arc::clone(&self.of);
        let names = self.names.clone();
        let execed = self.take_over();
        of.remove(&names);
        execed.map_err(ExecError::Step)
    }

    fn take_over(self) -> Result<Execed, Failure> {
        let [_, pid_file, _] = &self.names;
        let pid = read_pid(&self.of.bundle.join(pid_file));
        if let Err(failure) = self.run.finish() {
            // A runtime that was cut off may have made a process that nobody would know of.
            if let Ok(pidfd) = pid.and_then(pidfd_of) {
                maker::kill(&pidfd);
            }
            return Err(failure);
        }
        let pid = pid?;
        let pidfd = pidfd_of(pid)?;
        let terminal = self.console.as_ref().map(Console::accept).transpose();
        let terminal = terminal.inspect_err(|_| {
            maker::kill(&pidfd);
            maker::reap(&pidfd);
        })?;
        Ok(Execed {
            pid,
            pidfd,
            onlookers: Onlookers::Bystanders,
            terminal,
        })
    }
}

impl Deletion {
    /// Removes the bundle; the runtime has ended.
    ///
    /// # Errors
    /// Says what the runtime says; the bundle is removed all the same.
    pub fn finish(self) -> Result<(), Failure> {
        let deleted = self.run.finish();
        match std::fs::remove_dir_all(&self.of.bundle) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let shown = self.of.bundle.display().to_string();
                deleted.and(Err(Failure::io("remove", shown, error)))
            }
            _ => deleted,
        }
    }
}

fn root_of(pid: i32) -> Result<OwnedFd, Failure> {
    let failed =
        |error| Failure::io("open", "the container's root", error).of_kind(FailureKind::NotRunning);
    let file = File::open(format!("/proc/{pid}/root")).map_err(failed)?;
    Ok(file.into())
}
