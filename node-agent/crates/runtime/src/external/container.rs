//! What is done with a container that another runtime has made.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::Ordering;

use oci_spec::runtime::Process;

use super::config::{set_size, set_user};
use super::{Console, External, Invocation, Streams, directory, pidfd_of, read_pid};
use crate::error::{ExecError, StartError};
use crate::failure::{Failure, FailureKind};
use crate::init;
use crate::maker;
use crate::onlookers::Onlookers;
use crate::request::{ExecRequest, Execed, Stdio};

impl External {
    /// Lets the container's program run.
    pub(crate) fn start(&self) -> Result<(), StartError> {
        self.invoke("start", Streams::None, &[], &self.id)
            .map_err(StartError::Step)
    }

    /// Has the runtime forget a container whose process has ended, and removes its bundle.
    ///
    /// # Errors
    /// Says what the runtime says; the bundle is removed all the same.
    pub fn delete(&self) -> Result<(), Failure> {
        let deleted = self.invoke("delete", Streams::None, &["--force"], &self.id);
        match std::fs::remove_dir_all(&self.bundle) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                let shown = self.bundle.display().to_string();
                deleted.and(Err(Failure::io("remove", shown, error)))
            }
            _ => deleted,
        }
    }

    /// Executes a program in the container.
    ///
    /// # Errors
    /// Says why it does not run.
    pub fn exec(&self, pid: i32, request: ExecRequest<'_>) -> Result<Execed, ExecError> {
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        let names = ["json", "pid", "tty"].map(|kind| format!("exec-{number}.{kind}"));
        let executed = self.exec_with(pid, request, &names);
        for name in &names {
            // Those that there are.
            let _ = std::fs::remove_file(self.bundle.join(name));
        }
        executed.map_err(ExecError::Step)
    }

    fn exec_with(
        &self,
        pid: i32,
        request: ExecRequest<'_>,
        [process_file, pid_file, tty]: &[String; 3],
    ) -> Result<Execed, Failure> {
        let invalid = |error: serde_json::Error| {
            Failure::invalid("read", "the session's process", "").because(error.to_string())
        };
        let mut process: Process = serde_json::from_slice(request.process).map_err(invalid)?;
        let root = root_of(pid)?;
        let user = init::lookup::user(root.as_fd(), &request.user, process.user())?;
        set_user(&mut process, &user);
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
        self.write(process_file, &process)?;
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
        if let Err(failure) = self.invoke("exec", streams, &options, &self.id) {
            let missing = init::lookup::missing_program(root.as_fd(), &process, &[]);
            return Err(missing.unwrap_or(failure));
        }
        let pid = self.read_pid(pid_file)?;
        let pidfd = pidfd_of(pid)?;
        let terminal = console.as_ref().map(Console::accept).transpose();
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

    fn write(&self, name: &str, process: &Process) -> Result<(), Failure> {
        let failed = |error| Failure::io("write", name, error);
        let bytes = serde_json::to_vec(process).map_err(|error| failed(error.into()))?;
        std::fs::write(self.bundle.join(name), bytes).map_err(failed)
    }

    fn read_pid(&self, name: &str) -> Result<i32, Failure> {
        read_pid(&self.bundle.join(name))
    }

    fn invoke(
        &self,
        verb: &'static str,
        streams: Streams,
        options: &[&str],
        id: &str,
    ) -> Result<(), Failure> {
        let invocation = Invocation {
            program: &self.program,
            bundle: &self.bundle,
            mounts: Some(self.mounts.as_fd()),
            verb,
            options,
            id,
        };
        invocation.run(streams)
    }
}

fn root_of(pid: i32) -> Result<OwnedFd, Failure> {
    let failed =
        |error| Failure::io("open", "the container's root", error).of_kind(FailureKind::NotRunning);
    let file = File::open(format!("/proc/{pid}/root")).map_err(failed)?;
    Ok(file.into())
}
