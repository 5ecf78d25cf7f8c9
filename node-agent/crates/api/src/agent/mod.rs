//! `agent.v1`: people's containers, images and the node itself.

mod attach;
mod complete;
mod containers;
mod exec;
mod forward;
mod images;
mod streams;
mod system;

use agent_core::node::Node;
use agent_types::Owner;

use crate::server::Identity;

/// Whose containers these services are for.
const OWNER: Owner = Owner::Local;

/// The services people and automation call.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    node: Node,
    identity: Identity,
}

impl Agent {
    pub(crate) fn new(node: Node, identity: Identity) -> Self {
        Self { node, identity }
    }
}
