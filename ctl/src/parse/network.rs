//! `--network`, and the namespaces a container may share with the host.

use proto::agent::NetworkKind;

use super::ParseError;

/// The network a container is to be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) kind: NetworkKind,
    /// Whose network it joins, if another container's.
    pub(crate) container: String,
}

/// Reads `bridge`, `host`, `none` or `container:NAME`.
pub(crate) fn network(text: &str) -> Result<Network, ParseError> {
    let of = |kind| Network {
        kind,
        container: String::new(),
    };
    match text {
        "bridge" | "default" => Ok(of(NetworkKind::Bridge)),
        "host" => Ok(of(NetworkKind::Host)),
        "none" => Ok(of(NetworkKind::None)),
        _ => match text.strip_prefix("container:") {
            Some(name) if !name.is_empty() => Ok(Network {
                kind: NetworkKind::Container,
                container: name.to_owned(),
            }),
            _ => Err(ParseError::form(
                text,
                "bridge, host, none or container:NAME",
            )),
        },
    }
}

/// Returns the name of a kind of network.
pub(crate) fn network_name(kind: NetworkKind, container: &str) -> String {
    match kind {
        NetworkKind::Unspecified | NetworkKind::Bridge => "bridge".into(),
        NetworkKind::Host => "host".into(),
        NetworkKind::None => "none".into(),
        NetworkKind::Container => format!("container:{container}"),
    }
}

/// Reads `host`, or `private` for one's own, which the agent calls by nothing.
pub(crate) fn namespace(text: &str) -> Result<String, ParseError> {
    match text {
        "host" => Ok("host".into()),
        "private" | "" => Ok(String::new()),
        _ => Err(ParseError::form(text, "host or private")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_dockers_names() {
        for text in ["bridge", "host", "none", "container:web"] {
            let network = network(text).expect(text);
            assert_eq!(network_name(network.kind, &network.container), text);
        }
        for text in ["", "mine", "container:"] {
            assert!(network(text).is_err(), "{text}");
        }
    }
}
