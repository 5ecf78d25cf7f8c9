//! What all containers of the sandbox share: namespaces, /dev/shm, and the first process of a
//! shared PID namespace.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use agent_runtime::{
    IdMapping, IdMappings, Namespaces, PidMode, Reaper, ReaperRequest, SharedMount, UserNamespace,
};
use nix::sched::CloneFlags;
use proto_shim::{FdRole, LaunchRequest, NamespaceMode};

use crate::cgroup::Cgroup;
use crate::container::Container;
use crate::descriptors::Descriptors;
use crate::error::RequestError;
use crate::launch::LaunchError;
use crate::namespaces::NewNamespaces;

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
    user: Option<Users>,
}

/// A user namespace with its ids.
#[derive(Debug)]
struct Users {
    namespace: OwnedFd,
    uids: Vec<IdMapping>,
    gids: Vec<IdMapping>,
}

fn mappings(from: &[proto_shim::IdMapping]) -> Vec<IdMapping> {
    let one = |mapping: &proto_shim::IdMapping| IdMapping {
        inside: mapping.inside,
        outside: mapping.outside,
        length: mapping.length,
    };
    from.iter().map(one).collect()
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
    flag: CloneFlags,
    mode: NamespaceMode,
}

fn kinds(request: &LaunchRequest) -> [Kind; 3] {
    let modes = request.namespaces.unwrap_or_default();
    [
        (CloneFlags::CLONE_NEWNET, modes.network()),
        (CloneFlags::CLONE_NEWIPC, modes.ipc()),
        (CloneFlags::CLONE_NEWUTS, modes.uts()),
    ]
    .map(|(flag, mode)| Kind { flag, mode })
}

fn new_ones(kinds: &[Kind]) -> CloneFlags {
    kinds
        .iter()
        .filter(|kind| kind.mode == NamespaceMode::Sandbox)
        .fold(CloneFlags::empty(), |flags, kind| flags | kind.flag)
}

/// Returns whether a sandbox needs the namespaces that a spare shim has.
pub(crate) fn takes_spare(request: &LaunchRequest) -> bool {
    let asked = asked(request, &kinds(request));
    request.user_namespace.is_none() && asked.contains(NewNamespaces::SPARE)
}

/// Returns the namespaces that have to be made here.
fn asked(request: &LaunchRequest, kinds: &[Kind]) -> CloneFlags {
    let new = new_ones(kinds);
    if request.network_made {
        new - CloneFlags::CLONE_NEWNET
    } else {
        new
    }
}

impl Sandbox {
    /// Makes what the request asks for, out of `spare` where that has just what is asked for; the
    /// caller is in the host's namespaces before and after.
    pub(crate) fn make(
        request: &LaunchRequest,
        descriptors: &mut Descriptors,
        spare: Option<NewNamespaces>,
    ) -> Result<Made, LaunchError> {
        let kinds = kinds(request);
        let (mut new, user) = new_namespaces(request, asked(request, &kinds), spare)?;
        if request.network_made {
            new.adopt_network(made_network(descriptors, user.as_ref())?);
        }
        new.set_up(request)?;
        let [network, ipc, uts] = kinds.each_ref().map(|kind| match kind.mode {
            NamespaceMode::Sandbox | NamespaceMode::Host | NamespaceMode::Unspecified => Ok(None),
            NamespaceMode::Join if kind.flag == CloneFlags::CLONE_NEWNET => descriptors
                .take(FdRole::NetworkNamespace)
                .map(Some)
                .ok_or(LaunchError::Malformed {
                    what: "a network namespace to join is needed",
                }),
            NamespaceMode::Join | NamespaceMode::Container => Err(LaunchError::Malformed {
                what: "only a network namespace can be joined, only a PID namespace be a container's",
            }),
        });
        let NewNamespaces {
            flags,
            network: new_network,
            ipc: new_ipc,
            uts: new_uts,
            netlink,
        } = new;
        let sandbox = Self {
            network: network?.or(new_network),
            owns_network: flags.contains(CloneFlags::CLONE_NEWNET),
            ipc: ipc?.or(new_ipc),
            uts: uts?.or(new_uts),
            shm: make_shm(request, user.as_ref())?,
            reaper: None,
            user,
        };
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
                    user: self.user(),
                    cgroup: attach,
                    seccomp: &request.reaper_seccomp,
                })
            })
            .map_err(|source| LaunchError::Reaper { source })?;
        self.reaper = Some(reaper);
        Ok(self)
    }

    /// Returns the namespaces of a container whose PID namespace is to be `pid`, which may be
    /// `target`'s.
    pub(crate) fn namespaces_for<'a>(
        &'a self,
        pid: NamespaceMode,
        target: Option<&'a Container>,
    ) -> Result<Namespaces<'a>, RequestError> {
        let pid = match (pid, &self.reaper) {
            (NamespaceMode::Container, _) => PidMode::New,
            (NamespaceMode::Host, _) => PidMode::Host,
            (NamespaceMode::Sandbox, Some(reaper)) => PidMode::Join(reaper),
            (NamespaceMode::Sandbox, None) => {
                return Err(RequestError::Malformed {
                    what: "the sandbox has no PID namespace to share",
                });
            }
            (NamespaceMode::Join, _) => {
                let target = target.ok_or(RequestError::Malformed {
                    what: "a container's PID namespace can be joined only by the container's name",
                })?;
                PidMode::Target(target.pidfd()?)
            }
            (NamespaceMode::Unspecified, _) => {
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
            user: self.user(),
        })
    }

    pub(crate) fn shm(&self) -> Option<&SharedMount> {
        self.shm.as_ref()
    }

    /// Returns the user namespace that the sandbox's processes live in, if not the host's.
    pub(crate) fn user(&self) -> Option<UserNamespace<'_>> {
        let users = self.user.as_ref()?;
        Some(UserNamespace {
            fd: users.namespace.as_fd(),
            ids: IdMappings {
                uids: &users.uids,
                gids: &users.gids,
            },
        })
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

/// Makes the namespaces that are asked for, or takes those of a spare; with a user namespace, if one is asked for.
fn new_namespaces(
    request: &LaunchRequest,
    asked: CloneFlags,
    spare: Option<NewNamespaces>,
) -> Result<(NewNamespaces, Option<Users>), LaunchError> {
    let Some(user) = &request.user_namespace else {
        return match spare.filter(|spare| asked.contains(spare.flags)) {
            Some(spare) => Ok((spare.with(asked)?, None)),
            None => Ok((NewNamespaces::make(asked)?, None)),
        };
    };
    let (uids, gids) = (mappings(&user.uids), mappings(&user.gids));
    let ids = IdMappings {
        uids: &uids,
        gids: &gids,
    };
    let (new, namespace) = NewNamespaces::make_owned(asked, ids)?;
    let users = Users {
        namespace,
        uids,
        gids,
    };
    Ok((new, Some(users)))
}

/// Returns the network namespace that the agent has made for the sandbox.
fn made_network(
    descriptors: &mut Descriptors,
    user: Option<&Users>,
) -> Result<OwnedFd, LaunchError> {
    let malformed = |what| LaunchError::Malformed { what };
    if user.is_some() {
        return Err(malformed(
            "a network namespace of a user namespace is made in it",
        ));
    }
    descriptors
        .take(FdRole::NetworkNamespace)
        .ok_or(malformed("the network namespace that was made is needed"))
}

fn make_shm(
    request: &LaunchRequest,
    user: Option<&Users>,
) -> Result<Option<SharedMount>, LaunchError> {
    if request.shm_size == 0 {
        return Ok(None);
    }
    let root = |mappings: &[IdMapping]| IdMapping::outside_of(mappings, 0).unwrap_or(0);
    let owner = user.map_or((0, 0), |users| (root(&users.uids), root(&users.gids)));
    let label = Some(request.mount_label.as_str()).filter(|label| !label.is_empty());
    SharedMount::shm(request.shm_size, owner, label)
        .map(Some)
        .map_err(|source| LaunchError::Shm { source })
}

fn lend(fd: Option<&OwnedFd>) -> Option<BorrowedFd<'_>> {
    fd.map(OwnedFd::as_fd)
}
