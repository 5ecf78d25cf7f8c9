use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use clap::Args;
use proto::agent::InspectContainerRequest;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::error::{CommandError, ExitStatus};
use crate::output::Output;
use crate::parse::port::{Forwarded, forward};
use crate::session;

/// How long nobody is let in after one could not be.
const REST: Duration = Duration::from_millis(100);

/// Failures of connections that wait to be shown.
const QUEUE: usize = 16;

/// Have ports of this machine lead to ports of a container
#[derive(Debug, Args)]
#[command(
    after_help = "The ports need not be published, and the container's programs may listen on its loopback alone. It goes on until it is interrupted."
)]
pub(crate) struct PortForward {
    /// Listen on this address
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST), value_name = "ADDRESS")]
    address: IpAddr,

    /// Name, id or start of an id
    container: String,

    /// Port here and in the container, such as 8080:80; one number for both; :80 for any here
    #[arg(required = true, value_parser = forward, value_name = "[[LOCAL]:]PORT")]
    ports: Vec<Forwarded>,
}

/// Runs `ctl port-forward`.
pub(super) async fn run(
    args: PortForward,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    // A wrong name is told now, and not to the first who connects.
    let request = InspectContainerRequest {
        container: args.container.clone(),
        ..Default::default()
    };
    let answer = client.containers().inspect(request).await;
    client
        .of_container(&args.container, "cannot be inspected", answer)
        .await?;
    let (tell, mut failures) = mpsc::channel(QUEUE);
    let mut serving = JoinSet::new();
    for ports in args.ports {
        let asked = SocketAddr::new(args.address, ports.local);
        let listening = |source| CommandError::Listen {
            address: asked,
            source,
        };
        let listener = TcpListener::bind(asked).await.map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;
        out.line(format!("{address} -> {}", ports.remote))?;
        let (client, container, tell) = (client.clone(), args.container.clone(), tell.clone());
        serving.spawn(serve(listener, ports.remote, client, container, tell));
    }
    out.flush()?;
    while let Some(failure) = failures.recv().await {
        out.error(&failure);
    }
    Ok(ExitStatus::DONE)
}

/// Serves everybody who connects.
async fn serve(
    listener: TcpListener,
    port: u16,
    client: Client,
    container: String,
    tell: mpsc::Sender<CommandError>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(ended) = connections.join_next() => {
                if let Ok(Err(failure)) = ended {
                    // Whoever shows them goes with the program.
                    let _ = tell.send(failure).await;
                }
            }
            taken = listener.accept() => match taken {
                Ok((socket, _)) => {
                    let (client, container) = (client.clone(), container.clone());
                    connections.spawn(session::forward(client, container, port, socket));
                }
                // Most often no descriptor is left, until one of the connections ends.
                Err(_) => tokio::time::sleep(REST).await,
            }
        }
    }
}
