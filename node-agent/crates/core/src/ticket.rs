//! Tickets: leave to use the streams of a container or the ports of a sandbox, once and soon.
//!
//! A ticket is issued to whoever may ask for it and redeemed by whoever serves the streams, who
//! need not know the other.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agent_shim_client::Attach;
use agent_types::{Classify, ContainerId, ErrorKind, Owner, SandboxId};

use crate::exec::{ExecError, ExecSpec};

/// How long a ticket is good for.
pub const LIFETIME: Duration = Duration::from_secs(60);

/// Most tickets that are out at a time.
const MAX: usize = 1000;

/// What a ticket stands for.
#[derive(Debug, Clone)]
pub enum Ticket {
    /// A further process in a container.
    Exec {
        /// Whose container it is.
        owner: Owner,
        /// The container.
        container: ContainerId,
        /// The process.
        spec: Box<ExecSpec>,
        /// The streams that may be used.
        streams: Attach,
    },
    /// A container's main process.
    Attach {
        /// Whose container it is.
        owner: Owner,
        /// The container.
        container: ContainerId,
        /// The streams that may be used.
        streams: Attach,
        /// Whether the caller takes them for a terminal's.
        terminal: bool,
    },
    /// Ports of a sandbox.
    PortForward {
        /// Whose sandbox it is.
        owner: Owner,
        /// The sandbox.
        sandbox: SandboxId,
        /// Ports that were named beforehand.
        ports: Vec<u16>,
    },
}

/// Why no ticket was issued.
#[derive(Debug, thiserror::Error)]
pub enum TicketError {
    /// Nothing can be run in the container.
    #[error(transparent)]
    Container(#[from] ExecError),
    /// The sandbox cannot be reached.
    #[error(transparent)]
    Sandbox(#[from] crate::node::ForwardError),
    /// Too many are out.
    #[error("{MAX} streams are waited for, which is as many as can be")]
    TooMany,
    /// No random bytes for it.
    #[error("ticket could not be named")]
    Random {
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl Classify for TicketError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Container(source) => source.kind(),
            Self::Sandbox(source) => source.kind(),
            Self::TooMany => ErrorKind::ResourceExhausted,
            Self::Random { .. } => ErrorKind::Internal,
        }
    }
}

/// The tickets that are out.
#[derive(Debug, Default)]
pub(crate) struct Tickets(Mutex<HashMap<String, (Instant, Ticket)>>);

impl Tickets {
    /// Issues a ticket and returns what to redeem it with: 256 random bits in hexadecimal.
    pub(crate) fn issue(&self, ticket: Ticket) -> Result<String, TicketError> {
        let bytes = crate::random::bytes().map_err(|source| TicketError::Random { source })?;
        let token: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut out = self.lock();
        out.retain(|_, (issued, _)| issued.elapsed() < LIFETIME);
        if out.len() >= MAX {
            return Err(TicketError::TooMany);
        }
        out.insert(token.clone(), (Instant::now(), ticket));
        Ok(token)
    }

    /// Takes a ticket that `fits`; one that does not stays.
    pub(crate) fn redeem(&self, token: &str, fits: impl Fn(&Ticket) -> bool) -> Option<Ticket> {
        let mut out = self.lock();
        let (issued, ticket) = out.get(token)?;
        if !fits(ticket) || issued.elapsed() >= LIFETIME {
            return None;
        }
        out.remove(token).map(|(_, ticket)| ticket)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Instant, Ticket)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forward() -> Ticket {
        Ticket::PortForward {
            owner: Owner::Cri,
            sandbox: SandboxId::from_random([1; 32]),
            ports: vec![80],
        }
    }

    #[test]
    fn a_ticket_is_good_once_and_for_what_it_is() {
        let tickets = Tickets::default();
        let token = tickets.issue(forward()).unwrap();
        assert_eq!(token.len(), 64);
        assert!(tickets.redeem(&token, |_| false).is_none());
        assert!(tickets.redeem("other", |_| true).is_none());
        assert!(tickets.redeem(&token, |_| true).is_some());
        assert!(tickets.redeem(&token, |_| true).is_none());
    }

    #[test]
    fn an_old_ticket_is_good_for_nothing() {
        let tickets = Tickets::default();
        let token = tickets.issue(forward()).unwrap();
        let old = Instant::now().checked_sub(LIFETIME).unwrap();
        tickets.lock().get_mut(&token).unwrap().0 = old;
        assert!(tickets.redeem(&token, |_| true).is_none());
    }

    #[test]
    fn no_more_are_out_than_can_be() {
        let tickets = Tickets::default();
        for _ in 0..MAX {
            tickets.issue(forward()).unwrap();
        }
        let refused = tickets.issue(forward()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ResourceExhausted);
        let old = Instant::now().checked_sub(LIFETIME).unwrap();
        for (issued, _) in tickets.lock().values_mut() {
            *issued = old;
        }
        assert!(tickets.issue(forward()).is_ok(), "old ones make room");
    }
}
