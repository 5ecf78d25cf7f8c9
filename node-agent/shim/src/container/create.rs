//! Creating a container from an agent's request.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agent_runtime as runtime;
use agent_types::{ContainerId, HookStage};
use proto_shim::{CreateContainer, CreateTimes, Created, FdRole, NamespaceMode};

use super::stdio::{InputEnd, Stdio, Wanted};
use super::{Container, Phase, PidNamespace};
use crate::cgroup::Cgroup;
use crate::descriptors::Descriptors;
use crate::directory::Directory;
use crate::error::RequestError;
use crate::log::Log;
use crate::log::file::{LogFile, Rotation};
use crate::poll::Poll;
use crate::sandbox::Sandbox;

/// A container with a process to come.
#[derive(Debug)]
pub(crate) struct Unmade {
    id: ContainerId,
    cgroup: Cgroup,
    stdio: Stdio,
    log: Log,
    pid_mode: NamespaceMode,
    hooked: Option<Arc<runtime::Hooked>>,
}

/// How far a container has come.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Its process waits.
    Made(Box<Container>, Created),
    /// Another runtime is at it, or hooks are run, and that is to be followed.
    Begun(Box<Unmade>, runtime::Creation),
}

/// Clones the container's first process and sets it up to just before its program, or has another
/// process begin to do that.
pub(crate) fn create(
    request: &CreateContainer,
    id: ContainerId,
    mut descriptors: Descriptors,
    (sandbox, target): (&Sandbox, Option<&Container>),
    directory: &Directory,
    poll: &mut Poll,
) -> Result<Progress, RequestError> {
    let kernel = |step| RequestError::kernel(step, id.as_str());
    let log = Log::new(open_log(request, &id, &mut descriptors)?);
    let cgroup = Cgroup::new(
        request.cgroup_version,
        descriptors.take_all(FdRole::CgroupDirectory),
    )?;
    let other = Other::find(request, &id, &mut descriptors, directory)?;
    let mounts = descriptors.take_all(FdRole::Mount);
    let mounts = volume_mounts(request, &mounts)?;
    let images: Vec<_> = request.image_mounts.iter().map(image_mount).collect();
    let (stdio, theirs) = Stdio::prepare(wanted(request)).map_err(kernel("making pipes"))?;
    let shared = (sandbox, target);
    let volumes = (mounts.as_slice(), images.as_slice());
    let making = make(request, shared, &cgroup, (volumes, theirs), other.as_ref())?;
    let unmade = Unmade {
        id,
        cgroup,
        stdio,
        log,
        pid_mode: request.pid_mode(),
        hooked: other.as_ref().and_then(|other| other.hooked.clone()),
    };
    let made = match making {
        Ok(Making::Begun(creation)) => {
            other.into_iter().for_each(Other::keep);
            return Ok(Progress::Begun(Box::new(unmade), creation));
        }
        Ok(Making::Done(made)) => Ok(*made),
        Err(error) => Err(error),
    };
    let (container, created) = unmade.finish(made, poll)?;
    Ok(Progress::Made(container, created))
}

impl Unmade {
    /// Returns the id that it will have.
    pub(crate) const fn id(&self) -> &ContainerId {
        &self.id
    }

    /// Becomes a container with the process that a runtime has made.
    pub(crate) fn finish(
        self,
        made: Result<runtime::Created, runtime::CreateError>,
        poll: &mut Poll,
    ) -> Result<(Box<Container>, Created), RequestError> {
        let Self {
            id,
            cgroup,
            mut stdio,
            log,
            pid_mode,
            hooked,
        } = self;
        let made = made.map_err(|source| RequestError::Create {
            id: id.to_string(),
            source,
        })?;
        let serial = poll.serial();
        if let Err(errno) = watch(&mut stdio, made.terminal, serial, poll) {
            let _ = agent_sys::signal::send(made.pidfd.as_fd(), 9);
            crate::pipes::wait_for(&made.pidfd);
            return Err(RequestError::kernel("watching the output", id.as_str())(
                errno,
            ));
        }
        let reply = created(made.pid, made.user, made.times);
        let (pid_namespace, exec_pid) = where_processes_live(pid_mode);
        let container = Container {
            serial,
            id,
            pid: made.pid,
            pidfd: Some(made.pidfd),
            phase: Phase::Created(made.gate),
            pid_namespace,
            exec_pid,
            onlookers: made.onlookers,
            external: made.external,
            hooked,
            cgroup,
            stdio,
            log,
            started_at: 0,
        };
        Ok((Box::new(container), reply))
    }
}

/// Begins to read what the container writes.
fn watch(
    stdio: &mut Stdio,
    terminal: Option<OwnedFd>,
    serial: u32,
    poll: &mut Poll,
) -> rustix::io::Result<()> {
    if let Some(master) = terminal {
        stdio.set_terminal(master)?;
    }
    stdio.watch(serial, poll)
}

/// Mounts of volumes, and of images.
type Volumes<'a> = (
    &'a [runtime::VolumeMount<'a>],
    &'a [runtime::ImageMount<'a>],
);

/// How far a runtime has come.
enum Making {
    Done(Box<runtime::Created>),
    Begun(runtime::Creation),
}

/// Has a runtime make the container.
fn make(
    request: &CreateContainer,
    (sandbox, target): (&Sandbox, Option<&Container>),
    cgroup: &Cgroup,
    ((mounts, images), stdio): (Volumes<'_>, runtime::Stdio),
    other: Option<&Other>,
) -> Result<Result<Making, runtime::CreateError>, RequestError> {
    cgroup.with_attach(|attach| {
        let wanted = runtime::CreateRequest {
            spec: &request.spec,
            root: root(request)?,
            namespaces: sandbox.namespaces_for(request.pid_mode(), target)?,
            shm: sandbox.shm(),
            cgroup: attach,
            user: user(
                &request.user,
                &request.supplemental_groups,
                &request.group_names,
                request.strict_groups,
            ),
            seccomp: &request.seccomp,
            mounts,
            images,
            own_volumes: &request.volumes,
            stdio,
            hooks: other.and_then(|other| other.hooked.as_deref()),
        };
        Ok(match other {
            None => runtime::create(wanted).map(|made| Making::Done(Box::new(made))),
            Some(other) => other.create(request, wanted).map(Making::Begun),
        })
    })
}

/// Another runtime, or hooks, and where these find what they need; dropped before they are asked for
/// anything, it removes that.
struct Other {
    /// The host's mount namespace.
    mounts: OwnedFd,
    bundle: PathBuf,
    hooked: Option<Arc<runtime::Hooked>>,
}

impl Other {
    /// Makes a bundle for a container that another runtime is to make, or that has hooks.
    fn find(
        request: &CreateContainer,
        id: &ContainerId,
        descriptors: &mut Descriptors,
        directory: &Directory,
    ) -> Result<Option<Self>, RequestError> {
        if request.runtime.is_empty() && !request.hooks {
            return Ok(None);
        }
        let what = "another runtime, or hooks, need the host's mounts";
        let mounts = descriptors.require(FdRole::MountNamespace, what)?;
        let bundle = directory.path().join(format!("{id}.bundle"));
        std::fs::create_dir(&bundle)
            .map_err(RequestError::kernel("making a bundle", id.as_str()))?;
        let mut other = Self {
            mounts,
            bundle,
            hooked: None,
        };
        if request.hooks {
            let mounts = other.mounts.try_clone();
            let mounts = mounts.map_err(RequestError::kernel("keeping mounts", id.as_str()))?;
            let read = runtime::Hooked::read(&request.spec, id.as_str(), &other.bundle, mounts);
            other.hooked = Some(read.map_err(|source| RequestError::Create {
                id: id.to_string(),
                source,
            })?);
        }
        Ok(Some(other))
    }

    fn create(
        &self,
        request: &CreateContainer,
        wanted: runtime::CreateRequest<'_>,
    ) -> Result<runtime::Creation, runtime::CreateError> {
        let mut patience = runtime::RuntimeRun::PATIENCE;
        if let Some(hooked) = &self.hooked {
            if request.runtime.is_empty() {
                return runtime::create_with_hooks(wanted, hooked);
            }
            patience += hooked.patience(&HookStage::ALL);
        }
        let how = runtime::ExternalRequest {
            program: Path::new(&request.runtime),
            id: &request.container_id,
            bundle: &self.bundle,
            mounts: self.mounts.as_fd(),
            patience,
        };
        runtime::create_external(wanted, how)
    }

    /// Leaves the bundle to whoever makes the container.
    fn keep(mut self) {
        self.bundle = PathBuf::new();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        if !self.bundle.as_os_str().is_empty() {
            // What is left of it goes with the sandbox's directory.
            let _ = std::fs::remove_dir_all(&self.bundle);
        }
    }
}

fn created(pid: i32, user: runtime::ResolvedUser, times: runtime::Times) -> Created {
    let runtime::Times {
        begun,
        born,
        joined,
        mounted,
    } = times;
    Created {
        pid,
        uid: user.uid,
        gid: user.gid,
        groups: user.groups,
        times: (begun > 0).then_some(CreateTimes {
            begun,
            born,
            joined,
            mounted,
        }),
    }
}

fn where_processes_live(pid_mode: NamespaceMode) -> (PidNamespace, runtime::ExecPid) {
    match pid_mode {
        NamespaceMode::Container => (PidNamespace::Own, runtime::ExecPid::Container),
        NamespaceMode::Host => (PidNamespace::Shared, runtime::ExecPid::Host),
        NamespaceMode::Sandbox | NamespaceMode::Join | NamespaceMode::Unspecified => {
            (PidNamespace::Shared, runtime::ExecPid::Container)
        }
    }
}

fn open_log(
    request: &CreateContainer,
    id: &ContainerId,
    descriptors: &mut Descriptors,
) -> Result<Option<LogFile>, RequestError> {
    let Some(log) = request.log.as_ref().filter(|log| !log.file_name.is_empty()) else {
        return Ok(None);
    };
    let directory = descriptors.require(FdRole::LogDirectory, "a log needs its directory")?;
    let rotation = (log.max_size > 0).then_some(Rotation {
        max_size: log.max_size,
        max_files: log.max_files,
    });
    LogFile::open(directory, log.file_name.clone(), rotation)
        .map(Some)
        .map_err(|source| RequestError::Log {
            id: id.to_string(),
            source,
        })
}

fn volume_mounts<'a>(
    request: &'a CreateContainer,
    mounts: &'a [OwnedFd],
) -> Result<Vec<runtime::VolumeMount<'a>>, RequestError> {
    if mounts.len() != request.mount_destinations.len() {
        return Err(RequestError::Malformed {
            what: "as many mounts as destinations are needed",
        });
    }
    let pair = |(destination, mount): (&'a String, &'a OwnedFd)| runtime::VolumeMount {
        destination,
        mount: mount.as_fd(),
    };
    Ok(request
        .mount_destinations
        .iter()
        .zip(mounts)
        .map(pair)
        .collect())
}

fn image_mount(image: &proto_shim::ImageMount) -> runtime::ImageMount<'_> {
    runtime::ImageMount {
        destination: &image.destination,
        lower: &image.lower,
        sub_path: &image.sub_path,
    }
}

fn wanted(request: &CreateContainer) -> Wanted {
    if request.terminal {
        return Wanted::Terminal {
            rows: dimension(request.terminal_rows),
            columns: dimension(request.terminal_columns),
        };
    }
    let end = if request.stdin_once {
        InputEnd::Close
    } else {
        InputEnd::Keep
    };
    Wanted::Pipes {
        input: request.stdin.then_some(end),
    }
}

/// Returns a terminal's height or width as the kernel takes it.
pub(crate) fn dimension(value: u32) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

fn root(request: &CreateContainer) -> Result<runtime::Root<'_>, RequestError> {
    let root = request.root.as_ref().ok_or(RequestError::Malformed {
        what: "a container needs a root file system",
    })?;
    Ok(runtime::Root {
        base: Path::new(&root.base),
        lower: &root.lower,
        upper: (!root.upper.is_empty()).then(|| Path::new(&root.upper)),
        work: (!root.work.is_empty()).then(|| Path::new(&root.work)),
        durability: if root.volatile {
            runtime::Durability::Volatile
        } else {
            runtime::Durability::Synced
        },
        mount_api: runtime::MountApi::Newest,
        label: Some(root.label.as_str()).filter(|label| !label.is_empty()),
    })
}

/// Returns whom a process is to run as, in the runtime's words.
pub(crate) fn user<'a>(
    text: &'a str,
    supplemental_groups: &'a [u32],
    group_names: &'a [String],
    strict_groups: bool,
) -> runtime::UserRequest<'a> {
    runtime::UserRequest {
        text,
        supplemental_groups,
        group_names,
        group_file: if strict_groups {
            runtime::GroupFile::Ignore
        } else {
            runtime::GroupFile::Merge
        },
    }
}
