//! Sets addresses and ports aside, before anything is made: what the ledger is told first.

use agent_types::SandboxId;
use ipnet::{Ipv4Net, Ipv6Net};

use super::state::State;
use super::{Network, lock};
use crate::attachment::{
    AttachSpec, Attachment, BridgeAttachment, Ipv4Address, Ipv6Address, MacAddress, ModeSpec,
};
use crate::config::Config;
use crate::error::{PortHolder, ReserveError};
use crate::ipam::Pool;
use crate::netlink::{interface_name, link};
use crate::pools::Subnets;
use crate::port::{PortMapping, Probe, Scope, probe};

/// Ports tried where any will do, before giving up.
const MAX_TRIES: u32 = 2000;

impl Network {
    /// Sets aside what `spec` needs and returns what [`Network::attach`] will make.
    ///
    /// Save it before attaching. It is given back by [`Network::detach`]. The same request again
    /// returns the same attachment.
    ///
    /// # Errors
    /// When no address is free, a port is taken or cannot be published, or the sandbox is
    /// attached in another way.
    pub fn reserve(&self, spec: &AttachSpec) -> Result<Attachment, ReserveError> {
        let sandbox = spec.sandbox.clone();
        if spec.mode != ModeSpec::Bridge
            && let Some(port) = spec.ports.first()
        {
            return Err(ReserveError::Invalid {
                sandbox,
                port: port.to_string(),
                why: "its network mode publishes none",
            });
        }
        match &spec.mode {
            ModeSpec::Host => Ok(Attachment::Host { sandbox }),
            ModeSpec::None => Ok(Attachment::None { sandbox }),
            ModeSpec::Container { of } => Ok(Attachment::Container {
                sandbox,
                of: of.clone(),
            }),
            ModeSpec::Bridge => {
                self.finish_leaving(&spec.sandbox);
                let mut state = lock(&self.inner.state);
                reserve_bridge(&self.inner.config, &mut state, spec).map(Attachment::Bridge)
            }
        }
    }

    /// Ends what is left of the sandbox's last attachment: a person's container may be started
    /// again before the kernel has taken its link down, which is a matter of milliseconds.
    pub(super) fn finish_leaving(&self, sandbox: &SandboxId) {
        let leaving = lock(&self.inner.state)
            .get(sandbox)
            .filter(|entry| entry.detached)
            .map(|entry| entry.attachment.interface.clone());
        let Some(interface) = leaving else { return };
        let deleted = link::delete(&mut lock(&self.inner.route), &interface);
        match deleted {
            Ok(()) => lock(&self.inner.state).link_gone(&interface),
            Err(error) => {
                tracing::warn!(interface = %interface, error = %error.source, "link of an ended sandbox stayed");
            }
        }
    }
}

fn reserve_bridge(
    config: &Config,
    state: &mut State,
    spec: &AttachSpec,
) -> Result<BridgeAttachment, ReserveError> {
    let sandbox = &spec.sandbox;
    if let Some(entry) = state.get(sandbox) {
        if entry.detached || !same_ports(&spec.ports, &entry.attachment.ports) {
            return Err(ReserveError::Attached {
                sandbox: sandbox.clone(),
            });
        }
        return Ok(entry.attachment.clone());
    }
    let ports = choose_ports(config, state, spec)?;
    let number = state
        .pools
        .allocate(spec.source)
        .map_err(|source| ReserveError::Exhausted {
            sandbox: sandbox.clone(),
            source,
        })?;
    let pool = state.pools.of(spec.source);
    let attachment = describe(config, pool, sandbox, number.number, ports);
    state.insert(attachment.clone(), Some(number));
    Ok(attachment)
}

fn describe(
    config: &Config,
    pool: &Pool,
    sandbox: &SandboxId,
    number: u32,
    ports: Vec<PortMapping>,
) -> BridgeAttachment {
    let (ipv4, ipv6) = pool.addresses(number);
    let (gateway4, gateway6) = pool.gateways();
    let (subnet4, subnet6) = pool.subnets();
    let of4 = || {
        Some(Ipv4Address {
            address: Ipv4Net::new(ipv4?, subnet4?.prefix_len()).ok()?,
            gateway: gateway4?,
        })
    };
    let of6 = || {
        Some(Ipv6Address {
            address: Ipv6Net::new(ipv6?, subnet6?.prefix_len()).ok()?,
            gateway: gateway6?,
        })
    };
    BridgeAttachment {
        sandbox: sandbox.clone(),
        interface: interface_name(&config.bridge, sandbox),
        mac: MacAddress::of(ipv4, ipv6),
        ipv4: of4(),
        ipv6: of6(),
        ports,
    }
}

/// Says whether a request is the one that led to these ports; 0 asked for any.
fn same_ports(asked: &[PortMapping], given: &[PortMapping]) -> bool {
    asked.len() == given.len()
        && asked.iter().zip(given).all(|(a, b)| {
            let any = PortMapping {
                host_port: b.host_port,
                ..*a
            };
            any == *b && (a.host_port == 0 || a == b)
        })
}

pub(super) fn choose_ports(
    config: &Config,
    state: &mut State,
    spec: &AttachSpec,
) -> Result<Vec<PortMapping>, ReserveError> {
    let mut chosen: Vec<PortMapping> = Vec::with_capacity(spec.ports.len());
    let subnets = state.pools.of(spec.source).subnets();
    for port in &spec.ports {
        check(subnets, &spec.sandbox, port)?;
        let taken_here = |port: &PortMapping, chosen: &[PortMapping]| {
            chosen.iter().any(|other| {
                other.protocol == port.protocol
                    && other.host_port == port.host_port
                    && other.scope().overlaps(port.scope())
            })
        };
        if port.host_port == 0 {
            let sandbox = &spec.sandbox;
            let free = |p: &PortMapping| !taken_here(p, &chosen);
            let found = any_port(config, state, sandbox, port, free)?;
            chosen.push(found);
            continue;
        }
        let in_use = |holder| ReserveError::PortInUse {
            port: port.to_string(),
            holder,
        };
        if taken_here(port, &chosen) {
            return Err(in_use(PortHolder::Sandbox(spec.sandbox.clone())));
        }
        if let Some(holder) = state.ports.holder(port) {
            return Err(in_use(PortHolder::Sandbox(holder.clone())));
        }
        match ask_host(port)? {
            Probe::Free => chosen.push(*port),
            Probe::Taken => return Err(in_use(PortHolder::Host)),
            Probe::NoSuchAddress => {
                return Err(ReserveError::NoSuchAddress {
                    port: port.to_string(),
                });
            }
        }
    }
    Ok(chosen)
}

fn any_port(
    config: &Config,
    state: &mut State,
    sandbox: &SandboxId,
    port: &PortMapping,
    free: impl Fn(&PortMapping) -> bool,
) -> Result<PortMapping, ReserveError> {
    let size = u32::from(config.last_port - config.first_port) + 1;
    for _ in 0..size.min(MAX_TRIES) {
        let candidate = PortMapping {
            host_port: state.next_port,
            ..*port
        };
        let last = state.next_port >= config.last_port;
        state.next_port = if last {
            config.first_port
        } else {
            state.next_port + 1
        };
        if !free(&candidate) || state.ports.holder(&candidate).is_some() {
            continue;
        }
        match ask_host(&candidate)? {
            Probe::Free => return Ok(candidate),
            Probe::Taken => {}
            Probe::NoSuchAddress => {
                return Err(ReserveError::NoSuchAddress {
                    port: port.to_string(),
                });
            }
        }
    }
    Err(ReserveError::NoPort {
        sandbox: sandbox.clone(),
        container_port: port.container_port,
    })
}

fn ask_host(port: &PortMapping) -> Result<Probe, ReserveError> {
    probe(port).map_err(|source| ReserveError::Probe {
        port: port.to_string(),
        source,
    })
}

fn check(subnets: Subnets, sandbox: &SandboxId, port: &PortMapping) -> Result<(), ReserveError> {
    let invalid = |why| ReserveError::Invalid {
        sandbox: sandbox.clone(),
        port: port.to_string(),
        why,
    };
    if port.container_port == 0 {
        return Err(invalid("the port inside is 0"));
    }
    let scope = port.scope();
    if let Scope::One(ip) = scope
        && ip.is_multicast()
    {
        return Err(invalid("its host address is a multicast group"));
    }
    // [::1] is served by a forwarder, which reaches sandboxes of either family.
    let reachable = scope.has_loopback6()
        || (scope.has_v4() && subnets.0.is_some())
        || (scope.has_v6() && subnets.1.is_some());
    if reachable {
        Ok(())
    } else {
        Err(ReserveError::Family {
            port: port.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;
    use crate::pools::Pools;
    use crate::port::Protocol;
    use agent_types::{Classify, ErrorKind};

    fn port(host_port: u16) -> PortMapping {
        PortMapping {
            protocol: Protocol::Tcp,
            host_ip: "127.0.0.1".parse().ok(),
            host_port,
            container_port: 80,
        }
    }

    fn spec(name: &str, ports: &[PortMapping]) -> AttachSpec {
        AttachSpec {
            sandbox: name.parse().unwrap(),
            mode: ModeSpec::Bridge,
            ports: ports.to_vec(),
            source: Source::Configured,
        }
    }

    fn state(config: &Config) -> State {
        let pool = Pool::new(config.ipv4_subnet, config.ipv6_subnet);
        State::new(Pools::new(pool), config.first_port)
    }

    #[test]
    fn the_same_request_gets_the_same_answer() {
        let config = Config::default();
        let mut state = state(&config);
        let request = spec("a", &[port(0)]);
        let first = reserve_bridge(&config, &mut state, &request).unwrap();
        assert_ne!(first.ports[0].host_port, 0);
        let again = reserve_bridge(&config, &mut state, &request).unwrap();
        assert_eq!(first, again);
        let other = reserve_bridge(&config, &mut state, &spec("a", &[])).unwrap_err();
        assert_eq!(other.kind(), ErrorKind::AlreadyExists);
        assert_eq!(first.ipv4.unwrap().address.to_string(), "10.199.0.2/16");
        assert_eq!(
            first.ipv6.unwrap().address.to_string(),
            "fd6e:6f64:6561:1::2/64"
        );
    }

    #[test]
    fn a_port_of_another_sandbox_is_named() {
        let config = Config::default();
        let mut state = state(&config);
        let first = reserve_bridge(&config, &mut state, &spec("a", &[port(0)])).unwrap();
        let taken = port(first.ports[0].host_port);
        let error = reserve_bridge(&config, &mut state, &spec("b", &[taken])).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "port 127.0.0.1:{}/tcp is already in use by sandbox a",
                taken.host_port
            )
        );
        let next = reserve_bridge(&config, &mut state, &spec("b", &[])).unwrap();
        assert_eq!(
            next.ipv4.unwrap().address.addr().to_string(),
            "10.199.0.3",
            "a refused request takes no address"
        );
    }

    #[test]
    fn a_listener_of_the_host_is_named() {
        let config = Config::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = port(listener.local_addr().unwrap().port());
        let error = reserve_bridge(&config, &mut state(&config), &spec("a", &[taken])).unwrap_err();
        assert!(
            error.to_string().ends_with("by a process of the host"),
            "{error}"
        );
    }

    #[test]
    fn what_cannot_be_published_is_refused() {
        let config = Config {
            ipv6_subnet: None,
            ..Config::default()
        };
        let refused = |mapping: PortMapping| {
            reserve_bridge(&config, &mut state(&config), &spec("a", &[mapping])).unwrap_err()
        };
        let mut no_inside = port(0);
        no_inside.container_port = 0;
        let mut family = port(8080);
        family.host_ip = "fd00::1".parse().ok();
        for mapping in [no_inside, family] {
            assert_eq!(refused(mapping).kind(), ErrorKind::InvalidArgument);
        }
        let twice = spec("a", &[port(0), port(0)]);
        let both = reserve_bridge(&config, &mut state(&config), &twice).unwrap();
        assert_ne!(both.ports[0].host_port, both.ports[1].host_port);
    }
}
