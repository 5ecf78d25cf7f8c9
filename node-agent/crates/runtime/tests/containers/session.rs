//! Exec sessions, as a shim would start them.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use agent_runtime::{
    ExecError, ExecPid, ExecRequest, Execed, GroupFile, Home, Onlookers, Stdio, UserRequest,
};
use rustix::pipe::{PipeFlags, pipe_with};
use serde_json::{Value, json};

use crate::fixture::{Fixture, Outcome, Running, attach, chain, exit_code};
use crate::spec::spec;

/// An exec session to be run.
pub(crate) struct Session<'a> {
    pub(crate) running: &'a Running,
    pub(crate) fixture: &'a Fixture,
    pub(crate) process: Value,
    pub(crate) user: &'a str,
    pub(crate) terminal: bool,
    pub(crate) pid: ExecPid,
    pub(crate) onlookers: Onlookers,
    pub(crate) home: Home,
    pub(crate) seccomp: Vec<u8>,
}

impl<'a> Session<'a> {
    pub(crate) fn new(fixture: &'a Fixture, running: &'a Running, args: &[&str]) -> Self {
        let mut process = spec()["process"].clone();
        process["args"] = json!(args);
        Self {
            running,
            fixture,
            process,
            user: "",
            terminal: false,
            pid: ExecPid::Container,
            onlookers: running.created.onlookers,
            home: Home::default(),
            seccomp: Vec::new(),
        }
    }

    pub(crate) fn start(&self) -> Result<(Execed, File), ExecError> {
        let process = serde_json::to_vec(&self.process).unwrap();
        let (stdout, stdout_end) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let stderr_end = stdout_end.try_clone().unwrap();
        let stdio = if self.terminal {
            Stdio::Terminal {
                rows: 44,
                columns: 88,
            }
        } else {
            Stdio::Pipes {
                stdin: None,
                stdout: stdout_end,
                stderr: stderr_end,
            }
        };
        let cgroups = self.fixture.cgroup_fds();
        let cgroups: Vec<_> = cgroups.iter().map(AsFd::as_fd).collect();
        let execed = agent_runtime::exec(ExecRequest {
            container: self.running.created.pidfd.as_fd(),
            pid: self.pid,
            onlookers: self.onlookers,
            user_namespace: None,
            home: &self.home,
            process: &process,
            user: UserRequest {
                text: self.user,
                supplemental_groups: &[],
                group_names: &[],
                group_file: GroupFile::Merge,
            },
            seccomp: &self.seccomp,
            cgroup: attach(&cgroups),
            stdio,
        })?;
        Ok((execed, stdout.into()))
    }

    pub(crate) fn run(&self) -> Outcome {
        let (execed, mut stdout) = self
            .start()
            .unwrap_or_else(|error| panic!("{}", chain(&error)));
        let mut bytes = Vec::new();
        match execed.terminal {
            Some(master) => drop(File::from(master).read_to_end(&mut bytes)),
            None => drop(stdout.read_to_end(&mut bytes)),
        }
        let stdout = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
        Outcome {
            code: exit_code(&execed.pidfd),
            stdout,
            stderr: String::new(),
        }
    }

    pub(crate) fn output(&self) -> String {
        let outcome = self.run();
        assert_eq!(outcome.code, 0, "{outcome:?}");
        outcome.stdout
    }
}
