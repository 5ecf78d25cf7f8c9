//! Published ports, as `ps` and `port` show them.

use proto::agent::PortMapping;

use crate::parse::port::protocol_name;

/// Returns the addresses of the host a mapping is on: both families' for "every address".
pub(crate) fn host_addresses(mapping: &PortMapping) -> Vec<String> {
    let address = match mapping.host_ip.as_str() {
        "" => return vec!["0.0.0.0".into(), "::".into()],
        address => address,
    };
    vec![address.to_owned()]
}

/// Returns the name of the container's side, such as "80/tcp".
pub(crate) fn container_side(mapping: &PortMapping) -> String {
    format!(
        "{}/{}",
        mapping.container_port,
        protocol_name(mapping.protocol())
    )
}

/// Returns an address with a port, in brackets where it is of IPv6.
pub(crate) fn address_and_port(address: &str, port: &str) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

/// A run of neighbouring ports, all mapped alike.
#[derive(Debug)]
struct Run {
    address: String,
    protocol: &'static str,
    host: u32,
    container: u32,
    length: u32,
}

impl Run {
    fn continues_with(&self, next: &Self) -> bool {
        self.address == next.address
            && self.protocol == next.protocol
            && self.host + self.length == next.host
            && self.container + self.length == next.container
    }

    fn show(&self) -> String {
        let ports = |first: u32| match self.length {
            1 => first.to_string(),
            length => format!("{first}-{}", first + length - 1),
        };
        let host = address_and_port(&self.address, &ports(self.host));
        format!("{host}->{}/{}", ports(self.container), self.protocol)
    }
}

/// Returns mappings as `ps` shows them, neighbours together: `0.0.0.0:8000-8005->80-85/tcp`.
pub(crate) fn list(mappings: &[PortMapping]) -> String {
    let mut sorted: Vec<_> = mappings.iter().collect();
    sorted.sort_by_key(|mapping| (mapping.container_port, mapping.host_port, mapping.protocol));
    let mut runs: Vec<Run> = Vec::new();
    for mapping in sorted {
        for address in host_addresses(mapping) {
            let protocol = protocol_name(mapping.protocol());
            let (host, container) = (mapping.host_port, mapping.container_port);
            let next = Run {
                address,
                protocol,
                host,
                container,
                length: 1,
            };
            match runs.iter_mut().find(|run| run.continues_with(&next)) {
                Some(run) => run.length += 1,
                None => runs.push(next),
            }
        }
    }
    runs.iter().map(Run::show).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::port::publish;

    fn shown(flags: &[&str]) -> String {
        let mappings: Vec<_> = flags
            .iter()
            .flat_map(|flag| publish(flag).expect(flag).0)
            .collect();
        list(&mappings)
    }

    #[test]
    fn every_address_is_both_families() {
        assert_eq!(
            shown(&["8080:80"]),
            "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"
        );
        assert_eq!(shown(&["[::1]:53:53/udp"]), "[::1]:53->53/udp");
    }

    #[test]
    fn neighbours_stand_together() {
        let ranged = shown(&["127.0.0.1:8000-8005:80-85", "127.0.0.1:9000:90"]);
        assert_eq!(
            ranged,
            "127.0.0.1:8000-8005->80-85/tcp, 127.0.0.1:9000->90/tcp"
        );
    }
}
