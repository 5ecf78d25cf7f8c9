//! What the streaming server's tickets lead to: the node's containers and sandboxes.

use std::os::fd::OwnedFd;
use std::time::Duration;

use agent_core::exec::session::{Control, SessionEnd};
use agent_core::node::Node;
use agent_core::ticket::Ticket;
use agent_shim_client::{Attach, Attachment, ExecStreams};
use agent_streaming::{Answer, Backend, Failure, Grant, Kind, Process, Streams, Style};
use agent_types::{ContainerId, Owner};
use tokio::net::TcpStream;

/// What a terminal's processes are told when its user has gone.
const SIGHUP: i32 = 1;

/// How long after its last output a container may take to end, before its attached client is
/// taken for one that was cut off.
const SILENCE: Duration = Duration::from_secs(2);

/// The node, as the streaming server sees it.
#[derive(Debug)]
pub(crate) struct NodeStreams(pub(crate) Node);

fn granted(streams: Attach, terminal: bool) -> Grant {
    Grant::Command(Streams {
        stdin: streams.stdin,
        stdout: streams.stdout,
        stderr: streams.stderr,
        style: if terminal {
            Style::Terminal
        } else {
            Style::Pipes
        },
    })
}

impl Backend for NodeStreams {
    type Ticket = Ticket;

    fn redeem(&self, kind: Kind, token: &str) -> Option<(Grant, Ticket)> {
        let fits = |ticket: &Ticket| {
            matches!(
                (kind, ticket),
                (Kind::Exec, Ticket::Exec { .. })
                    | (Kind::Attach, Ticket::Attach { .. })
                    | (Kind::PortForward, Ticket::PortForward { .. })
            )
        };
        let ticket = self.0.redeem(token, fits)?;
        let grant = match &ticket {
            Ticket::Exec { streams, spec, .. } => granted(*streams, spec.terminal.is_some()),
            Ticket::Attach {
                streams, terminal, ..
            } => granted(*streams, *terminal),
            Ticket::PortForward { ports, .. } => Grant::Forward {
                ports: ports.clone(),
            },
        };
        Some((grant, ticket))
    }

    async fn run(&self, ticket: Ticket) -> Result<Process, Failure> {
        match ticket {
            Ticket::Exec {
                owner,
                container,
                spec,
                ..
            } => {
                let terminal = spec.terminal.is_some();
                let session = self.0.exec(owner, container.as_str(), *spec).await;
                let (streams, control, end) = session.map_err(Failure::new)?.into_parts();
                exec(streams, control, end, terminal)
            }
            Ticket::Attach {
                owner,
                container,
                streams,
                ..
            } => self.attach(owner, container, streams).await,
            Ticket::PortForward { sandbox, .. } => Err(Failure::new(format!(
                "a ticket for ports of sandbox {sandbox} runs nothing"
            ))),
        }
    }

    async fn connect(&self, ticket: &Ticket, port: u16) -> Result<TcpStream, Failure> {
        match ticket {
            Ticket::PortForward { owner, sandbox, .. } => self
                .0
                .connect(*owner, sandbox, port)
                .await
                .map_err(Failure::new),
            Ticket::Exec { container, .. } | Ticket::Attach { container, .. } => Err(Failure::new(
                format!("a ticket for container {container} reaches no port"),
            )),
        }
    }
}

impl NodeStreams {
    async fn attach(
        &self,
        owner: Owner,
        container: ContainerId,
        streams: Attach,
    ) -> Result<Process, Failure> {
        let attaching = self.0.attach(owner, container.as_str(), streams).await;
        let attached = attaching.map_err(Failure::new)?.connected().await;
        let Attachment {
            stdin,
            stdout,
            stderr,
        } = attached.map_err(Failure::new)?;
        Ok(Process {
            stdin,
            stdout,
            stderr,
            control: Box::new(Attached {
                node: self.0.clone(),
                owner,
                container,
            }),
        })
    }
}

/// Returns a process that was started.
fn exec(
    streams: ExecStreams,
    control: Control,
    end: SessionEnd,
    terminal: bool,
) -> Result<Process, Failure> {
    let (stdin, stdout, stderr) = match streams {
        ExecStreams::Pipes {
            stdin,
            stdout,
            stderr,
        } => (stdin, stdout, Some(stderr)),
        ExecStreams::Terminal(terminal) => {
            let copy: OwnedFd = terminal.try_clone().map_err(Failure::new)?;
            (Some(copy), terminal, None)
        }
    };
    Ok(Process {
        stdin,
        stdout: Some(stdout),
        stderr,
        control: Box::new(Executed {
            control,
            end,
            terminal,
        }),
    })
}

/// A further process.
struct Executed {
    control: Control,
    end: SessionEnd,
    terminal: bool,
}

impl agent_streaming::Control for Executed {
    fn resize(&self, rows: u16, columns: u16) -> Answer<'_, ()> {
        // It may have ended, or have no terminal.
        Box::pin(async move { drop(self.control.resize(rows, columns).await) })
    }

    fn ended(&mut self) -> Answer<'_, Result<Option<i32>, Failure>> {
        Box::pin(async move { self.end.wait().await.map(Some).map_err(Failure::new) })
    }

    fn fell_silent(&mut self) -> Answer<'_, Result<Option<i32>, Failure>> {
        // A process may close its outputs and go on.
        self.ended()
    }

    fn abandon(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            // Both fail only for a process that has ended.
            if self.terminal {
                drop(self.control.signal(SIGHUP).await);
            }
            drop(self.control.drain().await);
        })
    }
}

/// A container's main process.
struct Attached {
    node: Node,
    owner: Owner,
    container: ContainerId,
}

impl agent_streaming::Control for Attached {
    fn resize(&self, rows: u16, columns: u16) -> Answer<'_, ()> {
        // The container may have ended, or have no terminal.
        Box::pin(async move {
            let resized = self
                .node
                .resize(self.owner, self.container.as_str(), rows, columns);
            drop(resized.await);
        })
    }

    fn ended(&mut self) -> Answer<'_, Result<Option<i32>, Failure>> {
        Box::pin(async move {
            // A container that is gone has ended. Its code is in its status.
            drop(
                self.node
                    .wait_container(self.owner, self.container.as_str())
                    .await,
            );
            Ok(None)
        })
    }

    fn fell_silent(&mut self) -> Answer<'_, Result<Option<i32>, Failure>> {
        let text = format!(
            "attached output of container {} has ended while it runs: it was closed, or not read \
             fast enough",
            self.container
        );
        Box::pin(async move {
            tokio::time::timeout(SILENCE, self.ended())
                .await
                .unwrap_or_else(|_| Err(Failure::new(text)))
        })
    }

    fn abandon(&self) -> Answer<'_, ()> {
        // Closing its streams detaches.
        Box::pin(std::future::ready(()))
    }
}
