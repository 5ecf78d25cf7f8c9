use clap::Args;
use proto::agent::{InspectContainerRequest, PortMapping, Protocol};

use crate::client::Client;
use crate::error::{CommandError, ExitStatus};
use crate::output::Output;
use crate::parse::port::single;
use crate::view::ports::{address_and_port, container_side, host_addresses};

/// Show where a container's ports are published
#[derive(Debug, Args)]
pub(crate) struct Port {
    /// Name, id or start of an id
    container: String,

    /// Only this port of the container, such as 80 or 53/udp
    #[arg(value_parser = single)]
    port: Option<(u32, Protocol)>,
}

/// Runs `ctl port`.
pub(super) async fn run(
    args: Port,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    let request = InspectContainerRequest {
        container: args.container.clone(),
        ..Default::default()
    };
    let answer = client.containers().inspect(request).await;
    let found = client
        .of_container(&args.container, "cannot be inspected", answer)
        .await?;
    let ports = found.container.unwrap_or_default().ports;
    let Some((port, protocol)) = args.port else {
        for mapping in &ports {
            for address in published(mapping) {
                out.line(format!("{} -> {address}", container_side(mapping)))?;
            }
        }
        return Ok(ExitStatus::DONE);
    };
    let wanted = |mapping: &&PortMapping| container_side(mapping) == side(port, protocol);
    let addresses: Vec<_> = ports.iter().filter(wanted).flat_map(published).collect();
    if addresses.is_empty() {
        return Err(CommandError::NotPublished {
            container: args.container,
            port: side(port, protocol),
        });
    }
    for address in addresses {
        out.line(address)?;
    }
    Ok(ExitStatus::DONE)
}

fn side(port: u32, protocol: Protocol) -> String {
    container_side(&PortMapping {
        container_port: port,
        protocol: protocol.into(),
        ..Default::default()
    })
}

fn published(mapping: &PortMapping) -> Vec<String> {
    let port = mapping.host_port.to_string();
    host_addresses(mapping)
        .iter()
        .map(|address| address_and_port(address, &port))
        .collect()
}
