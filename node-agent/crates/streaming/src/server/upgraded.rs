//! A connection that has been upgraded: who serves it, and for how long.

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Server;
use super::negotiate::Carrier;
use crate::backend::{Backend, Grant};
use crate::transport::Transport;
use crate::{command, forward, socket};

/// Who was upgraded, and to what.
pub(super) struct Client<T> {
    pub(super) grant: Grant,
    pub(super) ticket: T,
    pub(super) carrier: Carrier,
    pub(super) protocol: &'static str,
}

impl<B: Backend> Server<B> {
    /// Serves an upgraded connection to its end.
    pub(super) async fn upgraded(&self, client: Client<B::Ticket>, upgraded: Upgraded) {
        let Ok(parts) = upgraded.downcast::<TokioIo<TcpStream>>() else {
            return;
        };
        let transport = match Transport::over(parts.io.into_inner(), parts.read_buf) {
            Ok(transport) => transport,
            Err(error) => {
                tracing::warn!(error = %error, "streaming client not served");
                return;
            }
        };
        let activity = transport.activity.clone();
        // Whatever is dropped here ends with the connection.
        tokio::select! {
            () = self.carry(client, transport) => {}
            () = activity.idle_for(self.config.idle_timeout) => {
                tracing::debug!("streaming client cut off: idle");
            }
            () = self.stop.cancelled() => {}
        }
    }

    async fn carry(&self, client: Client<B::Ticket>, transport: Transport) {
        let Client {
            grant,
            ticket,
            carrier,
            protocol,
        } = client;
        let backend = &self.backend;
        let timeout = self.config.stream_timeout;
        match (grant, carrier) {
            (Grant::Command(granted), Carrier::Socket { .. }) => {
                command::serve_socket(backend, ticket, granted, transport, protocol).await;
            }
            (Grant::Command(granted), Carrier::Spdy) => {
                let offer = command::Offer {
                    granted,
                    protocol,
                    timeout,
                };
                command::serve_spdy(backend, ticket, offer, transport).await;
            }
            (Grant::Forward { .. }, Carrier::Socket { .. }) if protocol == forward::TUNNEL => {
                let inner = socket::tunnel(transport);
                forward::serve_spdy(backend, ticket, inner, timeout).await;
            }
            (Grant::Forward { ports }, Carrier::Socket { .. }) => {
                forward::serve_socket(backend, ticket, &ports, transport, protocol).await;
            }
            (Grant::Forward { .. }, Carrier::Spdy) => {
                forward::serve_spdy(backend, ticket, transport, timeout).await;
            }
        }
    }
}
