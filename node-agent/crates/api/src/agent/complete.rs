//! Completes a request for a container with what only the node knows.

use std::net::{IpAddr, Ipv4Addr};

use proto::agent;
use tonic::Status;

use super::{Agent, OWNER};
use crate::convert::shown;
use crate::status::{self, invalid};

/// Stands for the host's address in a line for /etc/hosts.
const HOST_GATEWAY: &str = "host-gateway";

impl Agent {
    /// Puts addresses, ports and mounts in place of what stands for them.
    pub(super) fn complete(&self, spec: &mut agent::ContainerSpec) -> Result<(), Status> {
        if spec.extra_hosts.iter().any(|line| names_host(line)) {
            let host = match spec.network() {
                agent::NetworkKind::Host => vec![Ipv4Addr::LOCALHOST.into()],
                _ => self.node.services().network.gateways(),
            };
            spec.extra_hosts = with_host(&spec.extra_hosts, &host);
        }
        if std::mem::take(&mut spec.publish_all) {
            self.publish_all(spec)?;
        }
        for other in std::mem::take(&mut spec.volumes_from) {
            self.take_mounts(spec, &other)?;
        }
        Ok(())
    }

    /// Publishes what the image and the request say is listened on, each on any free port.
    fn publish_all(&self, spec: &mut agent::ContainerSpec) -> Result<(), Status> {
        let image = self.node.images().resolve(&spec.image);
        let image = image.map_err(|error| status::of(&error))?;
        let mut exposed = image.config.exposed_ports.clone();
        exposed.extend(spec.exposed_ports.iter().cloned());
        for text in exposed {
            let mapping = any_port(&text)?;
            let published = spec.ports.iter().any(|port| {
                port.container_port == mapping.container_port
                    && port.protocol() == mapping.protocol()
            });
            if !published {
                spec.ports.push(mapping);
            }
        }
        Ok(())
    }

    /// Adds the mounts of another container: `NAME`, or `NAME:ro`.
    fn take_mounts(&self, spec: &mut agent::ContainerSpec, other: &str) -> Result<(), Status> {
        let (name, read_only) = match other.rsplit_once(':') {
            None | Some((_, "rw")) => (other.trim_end_matches(":rw"), false),
            Some((name, "ro")) => (name, true),
            Some((_, mode)) => {
                return Err(invalid(format!("mode {mode:?} is neither ro nor rw")));
            }
        };
        let seen = self.node.container(OWNER, name);
        let seen = seen.map_err(|error| status::of(&error))?;
        for mount in &seen.container.record.spec.mounts {
            let mut mount = shown::mount(mount);
            mount.read_only |= read_only;
            // What the request mounts itself comes first.
            let taken = |own: &agent::Mount| own.destination == mount.destination;
            if !spec.mounts.iter().any(taken) {
                spec.mounts.push(mount);
            }
        }
        Ok(())
    }
}

fn names_host(line: &str) -> bool {
    line.split_once([':', '='])
        .is_some_and(|(_, address)| address == HOST_GATEWAY)
}

/// Writes a line for each of the host's addresses in place of one that stands for them.
fn with_host(lines: &[String], host: &[IpAddr]) -> Vec<String> {
    let written = lines
        .iter()
        .flat_map(|line| match line.split_once([':', '=']) {
            Some((name, HOST_GATEWAY)) => host.iter().map(|ip| format!("{name}:{ip}")).collect(),
            _ => vec![line.clone()],
        });
    written.collect()
}

/// Reads `PORT[/PROTOCOL]` as an image or a request says it.
fn any_port(text: &str) -> Result<agent::PortMapping, Status> {
    let refused = || invalid(format!("exposed port {text:?} is not PORT[/tcp|udp|sctp]"));
    let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = match protocol {
        "tcp" => agent::Protocol::Tcp,
        "udp" => agent::Protocol::Udp,
        "sctp" => agent::Protocol::Sctp,
        _ => return Err(refused()),
    };
    let port: u16 = port.parse().map_err(|_| refused())?;
    Ok(agent::PortMapping {
        protocol: protocol.into(),
        container_port: port.into(),
        ..agent::PortMapping::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_stands_in_hosts_with_every_address() {
        let lines = ["db:10.0.0.1".to_owned(), "host=host-gateway".to_owned()];
        let host = ["10.1.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        assert_eq!(
            with_host(&lines, &host),
            ["db:10.0.0.1", "host:10.1.0.1", "host:fd00::1"]
        );
        assert!(names_host(&lines[1]) && !names_host(&lines[0]));
    }

    #[test]
    fn exposed_ports_have_a_protocol() {
        assert_eq!(any_port("80").unwrap().protocol(), agent::Protocol::Tcp);
        let dns = any_port("53/udp").unwrap();
        assert_eq!(
            (dns.container_port, dns.protocol()),
            (53, agent::Protocol::Udp)
        );
        for text in ["", "x/tcp", "80/x", "99999"] {
            assert!(any_port(text).is_err(), "{text}");
        }
    }
}
