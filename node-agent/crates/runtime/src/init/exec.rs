//! An exec session from the child's side, in order.

use std::os::fd::AsFd;

use agent_sys::process::leave;
use oci_spec::runtime::Process;
use rustix::fs::{Mode, OFlags};
use rustix::thread::ThreadNameSpaceType as Namespace;

use super::create::{begin, detached_procfs};
use super::credentials::Credentials;
use super::in_root::InRoot;
use super::launch::{Launch, Wait, place_streams};
use super::process::{self, Missing};
use super::program::Program;
use super::{Step, cgroup, passwd, user_namespace};
use crate::channel::ChildEnd;
use crate::failure::Failure;
use crate::maker::Birth;
use crate::request::{ExecRequest, Stdio};
use crate::times::Times;
use crate::visit;

/// Runs the child's side to its end.
pub(crate) fn run(request: ExecRequest<'_>, end: ChildEnd) -> ! {
    match prepare(&request) {
        Ok(launch) => launch.run(end),
        Err(failure) => {
            end.failed(&failure);
            leave(failure.kind().exit_code())
        }
    }
}

fn prepare<'a>(request: &'a ExecRequest<'_>) -> Step<Launch<'a>> {
    begin()?;
    cgroup::attach(&request.cgroup)?;
    let process: Process = serde_json::from_slice(request.process).map_err(|error| {
        Failure::invalid("read", "the session's process", "").because(error.to_string())
    })?;
    if needs_procfs(&process) {
        let made;
        let procfs = match crate::procfs::inherited() {
            Some(inherited) => inherited,
            None => {
                made = detached_procfs()?;
                &made
            }
        };
        process::set_oom_score(procfs, &process)?;
        process::set_labels(procfs, &process)?;
    }
    if let Some(user) = &request.user_namespace {
        user_namespace::give_streams(&request.stdio, user);
    }
    join_container(request)?;
    if let Some(user) = &request.user_namespace {
        user_namespace::become_root(user)?;
    }
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open("/", directory, Mode::empty())
        .map_err(|error| Failure::io("open", "the container's root", error))?;
    let in_root = InRoot(root.as_fd());
    let user = passwd::resolve(in_root, &request.user, process.user())?;
    user_namespace::check_user(&user, request.user_namespace.as_ref())?;
    process::enter_directory(in_root, process.cwd(), Missing::Refuse)?;
    let terminal = place_streams(in_root, &request.stdio, &user)?;
    let limits = process::Limits::of(&process);
    process::set_limits(&limits.now)?;
    Ok(Launch {
        program: Program::new(&process, user.home.as_deref())?,
        credentials: Credentials::new(user, &process, request.seccomp),
        has_terminal: matches!(request.stdio, Stdio::Terminal { .. }),
        terminal,
        limits,
        umask: Mode::from_raw_mode(process.user().umask().unwrap_or(0o022) & 0o777),
        birth: request.birth(),
        wait: Wait::Not,
        hooks: None,
        times: Times::default(),
    })
}

fn needs_procfs(process: &Process) -> bool {
    process.oom_score_adj().is_some()
        || process.apparmor_profile().is_some()
        || process.selinux_label().is_some()
}

/// Joins those of the container's namespaces that the process was not born in; of the PID namespace only a sibling to come is a member.
fn join_container(request: &ExecRequest<'_>) -> Step<()> {
    let inside = Namespace::INTER_PROCESS_COMMUNICATION
        | Namespace::HOST_NAME_AND_NIS_DOMAIN_NAME
        | Namespace::CONTROL_GROUP;
    let missing = match request.birth() {
        Birth::Inside => inside,
        Birth::Direct | Birth::First => inside | Namespace::MOUNT | Namespace::NETWORK,
        Birth::Sibling => inside | Namespace::MOUNT | Namespace::NETWORK | Namespace::PROCESS_ID,
    };
    visit::join(request.container, missing)
}
