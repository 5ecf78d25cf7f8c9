//! What all containers of the sandbox share: namespaces, /dev/shm, and the first process of a
//! shared PID namespace.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use agent_runtime::{Namespaces, PidMode, Reaper, ReaperRequest, SharedMount};
use nix::sched::CloneFlags;
use proto_shim::{FdRole, LaunchRequest, NamespaceMode};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::cgroup::Cgroup;
use crate::descriptors::Descriptors;
use crate::error::RequestError;
use crate::launch::LaunchError;

/// The namespaces and mounts of a sandbox.
#[derive(Debug)]
pub(crate) struct Sandbox {
    network: Option<OwnedFd>,
    /// Whether the network namespace was made here.
    owns_network: bool,
    ipc: Option<OwnedFd>,
    uts: Option<OwnedFd>,
    shm: Option<SharedMount>,
    reaper: Option<Reaper>,
}

/// A sandbox and what only the agent needs of it.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) sandbox: Sandbox,
    /// An rtnetlink socket inside a network namespace made here.
    pub(crate) netlink: Option<OwnedFd>,
}

/// A kind of namespace that a sandbox may have.
struct Kind {
    name: &'static str,
    path: &'static str,
    flag: CloneFlags,
    mode: NamespaceMode,
}

fn kinds(request: &LaunchRequest) -> [Kind; 3] {
    let modes = request.namespaces.unwrap_or_default();
    [
        Kind {
            name: "network",
            path: "/proc/self/ns/net",
            flag: CloneFlags::CLONE_NEWNET,
            mode: modes.network(),
        },
        Kind {
            name: "ipc",
            path: "/proc/self/ns/ipc",
            flag: CloneFlags::CLONE_NEWIPC,
            mode: modes.ipc(),
        },
        Kind {
            name: "uts",
            path: "/proc/self/ns/uts",
            flag: CloneFlags::CLONE_NEWUTS,
            mode: modes.uts(),
        },
    ]
}

impl Sandbox {
    /// Makes what the request asks for; the caller is in the host's namespaces before and after.
    pub(crate) fn make(
        request: &LaunchRequest,
        descriptors: &mut Descriptors,
    ) -> Result<Made, LaunchError> {
        let kinds = kinds(request);
        let mut host: Vec<(OwnedFd, &Kind)> = Vec::new();
        let mut new = CloneFlags::empty();
        for kind in kinds
            .iter()
            .filter(|kind| kind.mode == NamespaceMode::Sandbox)
        {
            host.push((open(kind)?, kind));
            new |= kind.flag;
        }
        nix::sched::unshare(new).map_err(LaunchError::namespace("unshare", "new"))?;
        let [network, ipc, uts] = kinds.each_ref().map(|kind| match kind.mode {
            NamespaceMode::Sandbox => open(kind).map(Some),
            NamespaceMode::Join if kind.flag == CloneFlags::CLONE_NEWNET => descriptors
                .take(FdRole::NetworkNamespace)
                .map(Some)
                .ok_or(LaunchError::Malformed {
                    what: "a network namespace to join is needed",
                }),
            NamespaceMode::Join | NamespaceMode::Container => Err(LaunchError::Malformed {
                what: "only a network namespace can be joined, only a PID namespace be a container's",
            }),
            NamespaceMode::Host | NamespaceMode::Unspecified => Ok(None),
        });
        let inside = prepare_inside(request, new);
        for (namespace, kind) in &host {
            // Without the way back, everything later would happen in the wrong place.
            nix::sched::setns(namespace, kind.flag)
                .map_err(LaunchError::namespace("return", kind.name))?;
        }
        let sandbox = Self {
            network: network?,
            owns_network: new.contains(CloneFlags::CLONE_NEWNET),
            ipc: ipc?,
            uts: uts?,
            shm: make_shm(request)?,
            reaper: None,
        };
        let netlink = inside?;
        let sandbox = sandbox.with_reaper(request, descriptors)?;
        Ok(Made { sandbox, netlink })
    }

    fn with_reaper(
        mut self,
        request: &LaunchRequest,
        descriptors: &mut Descriptors,
    ) -> Result<Self, LaunchError> {
        let modes = request.namespaces.unwrap_or_default();
        if modes.pid() != NamespaceMode::Sandbox {
            return Ok(self);
        }
        let directories = descriptors.take_all(FdRole::CgroupDirectory);
        let cgroup = Cgroup::new(request.cgroup_version, directories).map_err(|_| {
            LaunchError::Malformed {
                what: "cgroup version is neither 1 nor 2",
            }
        })?;
        let reaper = cgroup
            .with_attach(|attach| {
                agent_runtime::start_reaper(&ReaperRequest {
                    network: lend(self.network.as_ref()),
                    ipc: lend(self.ipc.as_ref()),
                    uts: lend(self.uts.as_ref()),
                    cgroup: attach,
                    seccomp: &request.reaper_seccomp,
                })
            })
            .map_err(|source| LaunchError::Reaper { source })?;
        self.reaper = Some(reaper);
        Ok(self)
    }

    /// Returns the namespaces of a container whose PID namespace is to be `pid`.
    pub(crate) fn namespaces_for(
        &self,
        pid: NamespaceMode,
    ) -> Result<Namespaces<'_>, RequestError> {
        let pid = match (pid, &self.reaper) {
            (NamespaceMode::Container, _) => PidMode::New,
            (NamespaceMode::Host, _) => PidMode::Host,
            (NamespaceMode::Sandbox, Some(reaper)) => PidMode::Join(reaper),
            (NamespaceMode::Sandbox, None) => {
                return Err(RequestError::Malformed {
                    what: "the sandbox has no PID namespace to share",
                });
            }
            (NamespaceMode::Join | NamespaceMode::Unspecified, _) => {
                return Err(RequestError::Malformed {
                    what: "a container's PID namespace is its own, the sandbox's or the host's",
                });
            }
        };
        Ok(Namespaces {
            network: lend(self.network.as_ref()),
            ipc: lend(self.ipc.as_ref()),
            uts: lend(self.uts.as_ref()),
            pid,
        })
    }

    pub(crate) fn shm(&self) -> Option<&SharedMount> {
        self.shm.as_ref()
    }

    pub(crate) fn reaper(&self) -> Option<&Reaper> {
        self.reaper.as_ref()
    }

    /// Returns a descriptor of the network namespace made for the sandbox.
    pub(crate) fn own_network(&self) -> Option<io::Result<OwnedFd>> {
        let network = self.network.as_ref().filter(|_| self.owns_network)?;
        Some(network.try_clone())
    }
}

fn open(kind: &Kind) -> Result<OwnedFd, LaunchError> {
    File::open(kind.path)
        .map(OwnedFd::from)
        .map_err(LaunchError::namespace("open", kind.name))
}

/// Sets up what can only be set up from inside the new namespaces.
fn prepare_inside(
    request: &LaunchRequest,
    new: CloneFlags,
) -> Result<Option<OwnedFd>, LaunchError> {
    if new.contains(CloneFlags::CLONE_NEWUTS) {
        agent_sys::process::set_hostname_and_domain(&request.hostname, &request.domainname)
            .map_err(|source| LaunchError::Hostname {
                name: request.hostname.clone(),
                source,
            })?;
    }
    if !request.sysctls.is_empty() {
        let pairs = request.sysctls.iter();
        agent_runtime::write_sysctls(pairs.map(|(name, value)| (name.as_str(), value.as_str())))
            .map_err(|source| LaunchError::Sysctl { source })?;
    }
    if !new.contains(CloneFlags::CLONE_NEWNET) {
        return Ok(None);
    }
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)
        .map(Some)
        .map_err(LaunchError::namespace("open netlink socket", "network"))
}

fn make_shm(request: &LaunchRequest) -> Result<Option<SharedMount>, LaunchError> {
    if request.shm_size == 0 {
        return Ok(None);
    }
    SharedMount::shm(request.shm_size)
        .map(Some)
        .map_err(|source| LaunchError::Shm { source })
}

fn lend(fd: Option<&OwnedFd>) -> Option<BorrowedFd<'_>> {
    fd.map(OwnedFd::as_fd)
}
