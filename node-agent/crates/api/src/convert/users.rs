//! User namespaces between CRI and the node.

use agent_core::container::spec::UserNamespaceWish;
use agent_core::sandbox::spec::{IdRange, UserNamespace};
use proto::cri;
use tonic::Status;

use crate::status::invalid;

/// Returns the user namespace that is asked for; `None`: the host's.
pub(super) fn namespace(options: &cri::NamespaceOption) -> Result<Option<UserNamespace>, Status> {
    let Some(wanted) = &options.userns_options else {
        return Ok(None);
    };
    match wanted.mode() {
        cri::NamespaceMode::Node if wanted.uids.is_empty() && wanted.gids.is_empty() => Ok(None),
        cri::NamespaceMode::Node => Err(invalid("user namespace mode NODE is given with mappings")),
        cri::NamespaceMode::Pod => ids(&wanted.uids, &wanted.gids)
            .map(Some)
            .map_err(|why| invalid(format!("user namespace {why}"))),
        mode @ (cri::NamespaceMode::Container | cri::NamespaceMode::Target) => {
            Err(invalid(format!(
                "user namespace mode {} is not supported",
                mode.as_str_name()
            )))
        }
    }
}

/// Returns what a container says about its users.
pub(super) fn wish(options: Option<&cri::NamespaceOption>) -> Result<UserNamespaceWish, Status> {
    let Some(options) = options.filter(|options| options.userns_options.is_some()) else {
        return Ok(UserNamespaceWish::Unsaid);
    };
    let namespace = namespace(options)?;
    Ok(namespace.map_or(UserNamespaceWish::Host, UserNamespaceWish::Of))
}

/// Returns the ids of a namespace: one range, the same for users and groups, with root in it.
pub(super) fn ids(
    uids: &[cri::IdMapping],
    gids: &[cri::IdMapping],
) -> Result<UserNamespace, &'static str> {
    let ([uid], [gid]) = (uids, gids) else {
        return Err("needs exactly one mapping of users and one of groups");
    };
    if uid != gid {
        return Err("has other mappings for groups than for users");
    }
    if uid.container_id != 0 {
        return Err("does not map the container's root, id 0");
    }
    // The last id stands for none.
    if uid.length == 0 || uid.host_id.checked_add(uid.length).is_none() {
        return Err("has a mapping of no ids, or of ids that do not exist");
    }
    let range = IdRange {
        inside: uid.container_id,
        outside: uid.host_id,
        length: uid.length,
    };
    Ok(UserNamespace {
        uids: vec![range],
        gids: vec![range],
    })
}

/// Returns ids as messages have them.
pub(super) fn shown(ranges: &[IdRange]) -> Vec<cri::IdMapping> {
    let one = |range: &IdRange| cri::IdMapping {
        host_id: range.outside,
        container_id: range.inside,
        length: range.length,
    };
    ranges.iter().map(one).collect()
}
