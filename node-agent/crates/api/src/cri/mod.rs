//! CRI v1: one file a noun, each method a translation and a call.
//!
//! Stop and remove of what does not exist succeed, as the API demands of a runtime.

mod batch;
mod container;
mod image;
mod runtime;
mod sandbox;
mod stats;
mod stream;

use agent_core::node::Node;
use agent_types::{Classify, ErrorKind, Owner};

use crate::server::Identity;

/// Whose sandboxes and containers a kubelet sees.
const OWNER: Owner = Owner::Cri;

/// The services a kubelet calls.
#[derive(Debug, Clone)]
pub(crate) struct Cri {
    node: Node,
    identity: Identity,
}

impl Cri {
    pub(crate) fn new(node: Node, identity: Identity) -> Self {
        Self { node, identity }
    }
}

/// Takes "there is none" for done.
fn gone_is_done<E: Classify + 'static>(result: Result<(), E>) -> Result<(), tonic::Status> {
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(crate::status::of(&error)),
        _ => Ok(()),
    }
}
