//! New namespaces of a sandbox, made and held while the caller stays in the host's.

use std::fs::File;
use std::os::fd::OwnedFd;

use agent_runtime::IdMappings;
use nix::sched::CloneFlags;
use proto_shim::LaunchRequest;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::UnshareFlags;

use crate::launch::LaunchError;

/// Namespaces that nothing else lives in yet.
#[derive(Debug)]
pub(crate) struct NewNamespaces {
    /// Which ones these are.
    pub(crate) flags: CloneFlags,
    pub(crate) network: Option<OwnedFd>,
    pub(crate) ipc: Option<OwnedFd>,
    pub(crate) uts: Option<OwnedFd>,
    /// An rtnetlink socket inside the network namespace.
    pub(crate) netlink: Option<OwnedFd>,
}

/// What each kind is called, in messages and below `/proc/self/ns`.
const KINDS: [(CloneFlags, &str, &str); 3] = [
    (CloneFlags::CLONE_NEWNET, "network", "net"),
    (CloneFlags::CLONE_NEWIPC, "ipc", "ipc"),
    (CloneFlags::CLONE_NEWUTS, "uts", "uts"),
];

impl NewNamespaces {
    /// What almost every sandbox asks for, and a spare shim therefore makes ahead. Its network is
    /// the agent's to make ahead, with all that is in it.
    pub(crate) const SPARE: CloneFlags = CloneFlags::CLONE_NEWIPC.union(CloneFlags::CLONE_NEWUTS);

    /// Makes those that `flags` names.
    pub(crate) fn make(flags: CloneFlags) -> Result<Self, LaunchError> {
        let hosts = open(flags)?;
        nix::sched::unshare(flags).map_err(LaunchError::namespace("unshare", "new"))?;
        let made = open(flags);
        let netlink = flags
            .contains(CloneFlags::CLONE_NEWNET)
            .then(netlink)
            .transpose();
        enter(flags, &hosts, "return")?;
        let [network, ipc, uts] = made?;
        Ok(Self {
            flags,
            network,
            ipc,
            uts,
            netlink: netlink?,
        })
    }

    /// Makes those of `flags` that are not there yet.
    pub(crate) fn with(self, flags: CloneFlags) -> Result<Self, LaunchError> {
        let missing = flags - self.flags;
        if missing.is_empty() {
            return Ok(self);
        }
        let more = Self::make(missing)?;
        Ok(Self {
            flags: self.flags | more.flags,
            network: self.network.or(more.network),
            ipc: self.ipc.or(more.ipc),
            uts: self.uts.or(more.uts),
            netlink: self.netlink.or(more.netlink),
        })
    }

    /// Takes a network namespace that was made elsewhere.
    pub(crate) fn adopt_network(&mut self, network: OwnedFd) {
        self.flags |= CloneFlags::CLONE_NEWNET;
        self.network = Some(network);
    }

    /// Makes those that `flags` names in a new user namespace, which owns them.
    pub(crate) fn make_owned(
        flags: CloneFlags,
        ids: IdMappings<'_>,
    ) -> Result<(Self, OwnedFd), LaunchError> {
        let new = UnshareFlags::from_bits_retain(flags.bits().cast_unsigned());
        let owned = agent_runtime::make_user_namespace(ids, new)
            .map_err(|source| LaunchError::UserNamespace { source })?;
        let [network, ipc, uts] = owned.others;
        let mut made = Self {
            flags,
            network,
            ipc,
            uts,
            netlink: None,
        };
        if made.network.is_some() {
            let only = CloneFlags::CLONE_NEWNET;
            let hosts = open(only)?;
            enter_some(only, [made.network.as_ref(), None, None], "entering")?;
            let netlink = netlink();
            enter(only, &hosts, "return")?;
            made.netlink = Some(netlink?);
        }
        Ok((made, owned.user))
    }

    /// Sets what can only be set from inside: the host's name, sysctls.
    pub(crate) fn set_up(&self, request: &LaunchRequest) -> Result<(), LaunchError> {
        let mut inside = self.flags & CloneFlags::CLONE_NEWUTS;
        if !request.sysctls.is_empty() {
            inside = self.flags;
        }
        if inside.is_empty() && request.sysctls.is_empty() {
            return Ok(());
        }
        let hosts = open(inside)?;
        let own = [&self.network, &self.ipc, &self.uts];
        let entered = enter_some(inside, own.map(Option::as_ref), "entering");
        let done = entered.and_then(|()| configure(request, inside));
        // Without the way back, everything later would happen in the wrong place.
        enter(inside, &hosts, "return")?;
        done
    }
}

fn open(flags: CloneFlags) -> Result<[Option<OwnedFd>; 3], LaunchError> {
    let mut fds = [None, None, None];
    for (fd, (flag, name, file)) in fds.iter_mut().zip(KINDS) {
        if flags.contains(flag) {
            let opened = File::open(format!("/proc/self/ns/{file}"))
                .map_err(LaunchError::namespace("open", name))?;
            *fd = Some(opened.into());
        }
    }
    Ok(fds)
}

fn enter(
    flags: CloneFlags,
    namespaces: &[Option<OwnedFd>; 3],
    step: &'static str,
) -> Result<(), LaunchError> {
    enter_some(flags, namespaces.each_ref().map(Option::as_ref), step)
}

fn enter_some(
    flags: CloneFlags,
    namespaces: [Option<&OwnedFd>; 3],
    step: &'static str,
) -> Result<(), LaunchError> {
    for (namespace, (flag, name, _)) in namespaces.into_iter().zip(KINDS) {
        if let Some(namespace) = namespace.filter(|_| flags.contains(flag)) {
            nix::sched::setns(namespace, flag).map_err(LaunchError::namespace(step, name))?;
        }
    }
    Ok(())
}

fn netlink() -> Result<OwnedFd, LaunchError> {
    let flags = SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)
        .map_err(LaunchError::namespace("open netlink socket", "network"))
}

fn configure(request: &LaunchRequest, inside: CloneFlags) -> Result<(), LaunchError> {
    if inside.contains(CloneFlags::CLONE_NEWUTS) {
        agent_sys::process::set_hostname_and_domain(&request.hostname, &request.domainname)
            .map_err(|source| LaunchError::Hostname {
                name: request.hostname.clone(),
                source,
            })?;
    }
    if request.sysctls.is_empty() {
        return Ok(());
    }
    let pairs = request.sysctls.iter();
    agent_runtime::write_sysctls(pairs.map(|(name, value)| (name.as_str(), value.as_str())))
        .map_err(|source| LaunchError::Sysctl { source })
}
