use std::net::IpAddr;

use clap::Args;
use proto::agent::ContainerSpec;

use crate::parse::host::extra_host;
use crate::parse::network::{Network as Mode, namespace, network};
use crate::parse::port::{Exposed, Published, expose, publish};

/// How the container is reached, and what it reaches.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(in crate::commands) struct Network {
    /// Network to be in: bridge, host, none or container:NAME
    #[arg(long, visible_alias = "net", value_name = "NETWORK", default_value = "bridge", value_parser = network)]
    network: Mode,

    /// Publish a port: [[HOST_IP:][HOST_PORT]:]PORT[/tcp|udp|sctp], or ranges of ports
    #[arg(short, long, value_name = "PORTS", value_parser = publish)]
    publish: Vec<Published>,

    /// Publish every port that the image and --expose name, each on a free port of the host
    #[arg(short = 'P', long)]
    publish_all: bool,

    /// Tell that the container listens on a port
    #[arg(long, value_name = "PORT[/PROTOCOL]", value_parser = expose)]
    expose: Vec<Exposed>,

    /// Line for /etc/hosts; host-gateway stands for the host's address
    #[arg(long, value_name = "NAME:IP", value_parser = extra_host)]
    add_host: Vec<String>,

    /// Name server
    #[arg(long, value_name = "IP")]
    dns: Vec<IpAddr>,

    /// Domain to search names in
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,

    /// Option for /etc/resolv.conf
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    dns_option: Vec<String>,

    /// UTS namespace: host, or private
    #[arg(long, value_name = "MODE", default_value = "private", value_parser = namespace)]
    uts: String,
}

impl Network {
    pub(super) fn fill(&self, spec: &mut ContainerSpec) {
        spec.network = self.network.kind.into();
        spec.network_container.clone_from(&self.network.container);
        spec.ports = self
            .publish
            .iter()
            .flat_map(|Published(ports)| ports)
            .cloned()
            .collect();
        spec.exposed_ports = self
            .expose
            .iter()
            .flat_map(|Exposed(ports)| ports)
            .cloned()
            .collect();
        spec.publish_all = self.publish_all;
        spec.extra_hosts.clone_from(&self.add_host);
        spec.dns_servers = self.dns.iter().map(ToString::to_string).collect();
        spec.dns_searches.clone_from(&self.dns_search);
        spec.dns_options.clone_from(&self.dns_option);
        spec.uts_mode.clone_from(&self.uts);
    }
}
