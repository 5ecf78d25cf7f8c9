//! Makes what was reserved: link, inside, published ports.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use agent_types::SandboxId;
use rustix::io::Errno;

use super::state::LinkState;
use super::{Base, Inner, Network, lock};
use crate::attachment::{Attachment, BridgeAttachment, Guest};
use crate::error::AttachError;
use crate::forward;
use crate::netlink::{Refused, Socket, link};
use crate::nft::{Change, Stale, elements};

impl Network {
    /// Makes `attachment`, which [`Network::reserve`] or [`Network::recover`] knows.
    ///
    /// `guest` is the inside of the sandbox's network namespace; needed in the modes that give
    /// it one. On failure what was made is undone, and the reservation stays until
    /// [`Network::detach`]. A second call makes the link anew.
    ///
    /// # Errors
    /// When the host cannot be made ready, or the kernel refuses a step.
    pub async fn attach(
        &self,
        attachment: &Attachment,
        guest: Option<Guest<'_>>,
    ) -> Result<(), AttachError> {
        let sandbox = attachment.sandbox();
        let no_guest = || AttachError::NoGuest {
            sandbox: sandbox.clone(),
        };
        match attachment {
            Attachment::Host { .. } | Attachment::Container { .. } => Ok(()),
            Attachment::None { .. } => {
                let netlink = guest.ok_or_else(no_guest)?.netlink;
                let work = move || link::loopback_up(&mut Socket::of_guest(netlink));
                let done = tokio::task::spawn_blocking(work).await;
                let interrupted = |source| AttachError::Interrupted {
                    sandbox: sandbox.clone(),
                    source,
                };
                done.map_err(interrupted)?
                    .map_err(|source| AttachError::Inside {
                        sandbox: sandbox.clone(),
                        source,
                    })
            }
            Attachment::Bridge(bridge) => {
                self.attach_bridge(bridge, guest.ok_or_else(no_guest)?)
                    .await
            }
        }
    }

    async fn attach_bridge(
        &self,
        attachment: &BridgeAttachment,
        guest: Guest<'_>,
    ) -> Result<(), AttachError> {
        let sandbox = &attachment.sandbox;
        let known = lock(&self.inner.state)
            .get(sandbox)
            .is_some_and(|entry| !entry.detached && entry.attachment == *attachment);
        if !known {
            return Err(AttachError::NotReserved {
                sandbox: sandbox.clone(),
            });
        }
        let netns = guest.netns.try_clone_to_owned();
        let netns = netns.map_err(|source| AttachError::Netns {
            sandbox: sandbox.clone(),
            source,
        })?;
        let prepare = |source| AttachError::Prepare {
            sandbox: sandbox.clone(),
            source,
        };
        let base = self.base().await.map_err(prepare)?;
        let mut work = Work {
            inner: Arc::clone(&self.inner),
            attachment: attachment.clone(),
            netns,
            netlink: Socket::of_guest(guest.netlink),
            base,
        };
        // One hop to a blocking thread for all the kernel's work.
        let run = move || {
            let done = work.make();
            (done, work)
        };
        let interrupted = |source| AttachError::Interrupted {
            sandbox: sandbox.clone(),
            source,
        };
        let (mut done, mut work) = tokio::task::spawn_blocking(run)
            .await
            .map_err(interrupted)?;
        if done.as_ref().is_err_and(host_is_not_ready) {
            *lock(&self.inner.base) = None;
            work.base = self.base().await.map_err(prepare)?;
            done = tokio::task::spawn_blocking(move || work.make())
                .await
                .map_err(interrupted)?;
        }
        done?;
        self.forward(attachment).await
    }

    /// Ends what serves the ports of a sandbox.
    pub(super) async fn stop_forwarders(&self, sandbox: &SandboxId) {
        let serving = lock(&self.inner.forwarders).remove(sandbox);
        forward::stop(serving.unwrap_or_default()).await;
    }

    /// Serves the ports that only a forwarder can.
    pub(super) async fn forward(&self, attachment: &BridgeAttachment) -> Result<(), AttachError> {
        // A second attachment of the same sandbox listens on the same ports.
        self.stop_forwarders(&attachment.sandbox).await;
        let (working, mut failed) = forward::start(attachment);
        if let Some((port, source)) = failed.pop() {
            forward::stop(working).await;
            let (inner, attachment) = (Arc::clone(&self.inner), attachment.clone());
            let sandbox = attachment.sandbox.clone();
            let undone = tokio::task::spawn_blocking(move || inner.unmake(&attachment)).await;
            if let Err(error) = undone {
                tracing::warn!(sandbox_id = %sandbox, error = %error, "undoing an attachment was interrupted");
            }
            return Err(AttachError::Forward {
                sandbox,
                port: port.to_string(),
                source,
            });
        }
        if !working.is_empty() {
            let sandbox = attachment.sandbox.clone();
            lock(&self.inner.forwarders).insert(sandbox, working);
        }
        Ok(())
    }
}

/// Everything a blocking thread needs to attach a sandbox.
struct Work {
    inner: Arc<Inner>,
    attachment: BridgeAttachment,
    netns: OwnedFd,
    netlink: Socket,
    base: Base,
}

impl Work {
    fn make(&mut self) -> Result<(), AttachError> {
        let attachment = &self.attachment;
        let sandbox = &attachment.sandbox;
        self.make_link().map_err(|source| AttachError::Link {
            sandbox: sandbox.clone(),
            interface: attachment.interface.clone(),
            source,
        })?;
        let made = link::configure(&mut self.netlink, &self.attachment)
            .map_err(|source| AttachError::Inside {
                sandbox: self.attachment.sandbox.clone(),
                source,
            })
            .and_then(|()| self.inner.publish(&self.attachment));
        if made.is_err() {
            self.inner.unmake(&self.attachment);
        }
        made
    }

    fn make_link(&self) -> Result<(), Refused> {
        let Base { bridge, mtu } = self.base;
        let mut route = lock(&self.inner.route);
        let mut create = || {
            link::create(
                &mut route,
                &self.attachment,
                self.netns.as_fd(),
                bridge,
                mtu,
            )
        };
        match create() {
            // Left by an attempt that was cut off; the name says whose it is.
            Err(refused) if refused.source.errno == Errno::EXIST => {}
            done => {
                done?;
                drop(route);
                self.mark(LinkState::Present);
                return Ok(());
            }
        }
        link::delete(&mut route, &self.attachment.interface)?;
        link::create(
            &mut route,
            &self.attachment,
            self.netns.as_fd(),
            bridge,
            mtu,
        )?;
        drop(route);
        self.mark(LinkState::Present);
        Ok(())
    }

    fn mark(&self, link: LinkState) {
        if let Some(entry) = lock(&self.inner.state).get_mut(&self.attachment.sandbox) {
            entry.link = link;
        }
    }
}

impl Inner {
    /// Lets the host's ports lead to a sandbox whose link stands.
    pub(super) fn publish(&self, attachment: &BridgeAttachment) -> Result<(), AttachError> {
        if attachment.ports.is_empty() {
            return Ok(());
        }
        let interface = &attachment.interface;
        link::allow_hairpin(&mut lock(&self.route), interface).map_err(|source| {
            AttachError::Link {
                sandbox: attachment.sandbox.clone(),
                interface: interface.clone(),
                source,
            }
        })?;
        let added: Vec<Change> = elements(attachment).into_iter().map(Change::Add).collect();
        let mut table = lock(&self.table);
        table
            .commit(&added)
            .map_err(|source| AttachError::Publish {
                sandbox: attachment.sandbox.clone(),
                source,
            })?;
        table.forget_stale(attachment, Stale::Elsewhere);
        Ok(())
    }

    /// Takes back what an attachment made that failed half way; the reservation stays.
    fn unmake(&self, attachment: &BridgeAttachment) {
        self.withdraw_ports(attachment);
        if let Err(error) = link::delete(&mut lock(&self.route), &attachment.interface) {
            tracing::warn!(sandbox_id = %attachment.sandbox, error = %error.source, "link of a failed attachment stayed");
        }
    }

    /// Takes the ports of an attachment that failed half way out of the maps.
    pub(super) fn withdraw_ports(&self, attachment: &BridgeAttachment) {
        let gone: Vec<Change> = elements(attachment)
            .into_iter()
            .map(Change::Delete)
            .collect();
        if let Err(error) = lock(&self.table).commit(&gone) {
            tracing::warn!(sandbox_id = %attachment.sandbox, error = %error, "ports of a failed attachment stayed");
        }
    }
}

/// The bridge's index leads nowhere, or the maps are gone: somebody cleared the host.
pub(super) fn host_is_not_ready(error: &AttachError) -> bool {
    match error {
        AttachError::Link { source, .. } => {
            matches!(
                source.source.errno,
                Errno::NODEV | Errno::INVAL | Errno::NXIO
            )
        }
        AttachError::Publish { source, .. } => source.errno == Errno::NOENT,
        AttachError::Prepare { .. }
        | AttachError::NotReserved { .. }
        | AttachError::NoGuest { .. }
        | AttachError::Netns { .. }
        | AttachError::Inside { .. }
        | AttachError::Forward { .. }
        | AttachError::Interrupted { .. } => false,
    }
}
