//! Keeps the memory true to the host's links, and the host's rules true to the memory.

use std::sync::{Arc, Weak};
use std::time::Duration;

use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::state::LinkState;
use super::{Inner, Network, lock};
use crate::host::bridge;
use crate::netlink::watch::{Gone, Watch};

/// Pause between two repairs: whoever flushes the rules often is not to be fought in a loop.
const PAUSE: Duration = Duration::from_millis(200);

/// Watches links until the network is dropped or the socket fails.
pub(super) async fn links(mut watch: Watch, inner: Weak<Inner>) {
    loop {
        let event = watch.next().await;
        let Some(inner) = inner.upgrade() else { return };
        match event {
            Ok(Gone::Names(names)) => {
                names.iter().for_each(|name| link_gone(&inner, name));
                if names.contains(&inner.config.bridge) {
                    make_anew(inner).await;
                }
            }
            Ok(Gone::Unknown) => resync(&inner).await,
            Err(error) => {
                inner.warn(format!("links are no longer watched: {error}"));
                return;
            }
        }
    }
}

fn link_gone(inner: &Inner, name: &str) {
    if name == inner.config.bridge {
        // Nobody misses one that was not made yet, or that this agent takes down as it ends.
        if lock(&inner.base).take().is_some() {
            tracing::warn!(interface = name, "bridge was removed");
        }
    } else if name.starts_with(&inner.prefix) && !exists(name) {
        lock(&inner.state).link_gone(name);
    }
}

/// Says whether a link of this name is there: a sandbox that comes back soon has one again
/// before the end of its last is heard of.
pub(super) fn exists(name: &str) -> bool {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None);
    socket.is_ok_and(|socket| name_to_index(&socket, name).is_ok())
}

/// Makes a removed bridge anew where sandboxes need it; the next attachment does so otherwise.
async fn make_anew(inner: Arc<Inner>) {
    if lock(&inner.state).entries().next().is_none() {
        return;
    }
    let network = Network { inner };
    if let Err(error) = network.prepare().await {
        network.inner.warn(format!(
            "bridge was removed and cannot be made anew: {error}"
        ));
    }
}

/// Compares every known link with those there are.
async fn resync(inner: &Arc<Inner>) {
    // Taken first: a link that is made while the host is asked is not in this list.
    let known: Vec<String> = {
        let state = lock(&inner.state);
        let present = state.entries().filter(|e| e.link == LinkState::Present);
        present.map(|e| e.attachment.interface.clone()).collect()
    };
    match bridge::links(&inner.handle).await {
        Ok(links) => {
            let mut state = lock(&inner.state);
            for name in known {
                if !links.iter().any(|link| link.name == name) {
                    state.link_gone(&name);
                }
            }
        }
        Err(error) => tracing::warn!(error = %error, "links of the host could not be listed"),
    }
}

/// Watches tables until the network is dropped or the socket fails.
///
/// A firewall that starts anew often flushes everybody's rules; without the guard the host's
/// loopback would lie open to sandboxes, and without the maps their ports are gone.
pub(super) async fn tables(mut watch: Watch, inner: Weak<Inner>) {
    loop {
        let event = watch.next().await;
        {
            let Some(inner) = inner.upgrade() else { return };
            match event {
                Ok(Gone::Names(names)) if !names.contains(&inner.config.table) => continue,
                Ok(Gone::Names(_) | Gone::Unknown) => repair(&inner).await,
                Err(error) => {
                    inner.warn(format!("packet filter is no longer watched: {error}"));
                    return;
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn repair(inner: &Arc<Inner>) {
    // One at a time with the first preparation, which lays the rules down itself.
    let _one = inner.preparing.lock().await;
    if lock(&inner.base).is_none() {
        return;
    }
    if let Err(error) = inner.lay_down_rules().await {
        inner.warn(format!(
            "packet filter rules were removed and cannot be laid down again: {error}"
        ));
        return;
    }
    let worker = Arc::clone(inner);
    match tokio::task::spawn_blocking(move || worker.compare_elements()).await {
        Ok(Ok((added, _))) => {
            tracing::warn!(
                added,
                "packet filter rules were removed by others and laid down again"
            );
        }
        Ok(Err(error)) => inner.warn(format!("published ports were lost: {error}")),
        Err(error) => inner.warn(format!("published ports were lost: {error}")),
    }
}
