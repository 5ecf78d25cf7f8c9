//! The line of a container in `ps`.

use jiff::Timestamp;
use proto::agent::{Container, ContainerState, MountKind};
use serde_json::json;

use super::reference::familiar;
use super::{label_list, ports, short_id};
use crate::output::{Column, Row, ago, decimal_size, local_time, span};
use crate::parse::network::network_name;

/// Whether ids and commands are shown in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Short,
    Full,
}

const SHORT_COMMAND: usize = 20;

/// The columns of `ps`, and then those only a template shows.
pub(crate) const COLUMNS: [Column; 14] = [
    Column {
        field: "ID",
        heading: "CONTAINER ID",
    },
    Column {
        field: "Image",
        heading: "IMAGE",
    },
    Column {
        field: "Command",
        heading: "COMMAND",
    },
    Column {
        field: "RunningFor",
        heading: "CREATED",
    },
    Column {
        field: "Status",
        heading: "STATUS",
    },
    Column {
        field: "Ports",
        heading: "PORTS",
    },
    Column {
        field: "Names",
        heading: "NAMES",
    },
    Column {
        field: "Size",
        heading: "SIZE",
    },
    Column {
        field: "CreatedAt",
        heading: "CREATED AT",
    },
    Column {
        field: "State",
        heading: "STATE",
    },
    Column {
        field: "Labels",
        heading: "LABELS",
    },
    Column {
        field: "Mounts",
        heading: "MOUNTS",
    },
    Column {
        field: "Networks",
        heading: "NETWORKS",
    },
    Column {
        field: "LocalVolumes",
        heading: "LOCAL VOLUMES",
    },
];

/// How many of the columns the plain table has.
pub(crate) const PLAIN_COLUMNS: usize = 7;

/// Returns the fields of a container's line.
pub(crate) fn row(container: &Container, now: Timestamp, length: Length) -> Row {
    let command = container.command.join(" ");
    let (id, command) = match length {
        Length::Short => (short_id(&container.id), ellipsis(&command, SHORT_COMMAND)),
        Length::Full => (container.id.as_str(), command),
    };
    let mounts: Vec<_> = container
        .mounts
        .iter()
        .filter(|mount| mount.kind() == MountKind::Bind)
        .map(|mount| mount.source.as_str())
        .collect();
    let fields = json!({
        "Command": format!("{command:?}"),
        "CreatedAt": local_time(container.created_at),
        "ID": id,
        "Image": familiar(&container.image),
        "Labels": label_list(&container.labels),
        // There are no named volumes yet, so this is how many there are.
        "LocalVolumes": "0",
        "Mounts": mounts.join(","),
        "Names": container.name,
        "Networks": network_name(container.network(), &container.network_container),
        "Ports": running_ports(container),
        "RunningFor": ago(container.created_at, now),
        "Size": size(container),
        "State": state_name(container.state()),
        "Status": status(container, now),
    });
    Row {
        fields,
        labels: container.labels.clone(),
    }
}

/// Returns what a container has written, such as "12kB (virtual 4.3MB)".
fn size(container: &Container) -> String {
    let own = container.size_rw.map_or_else(|| "N/A".into(), decimal_size);
    match container.size_root {
        Some(root) => format!("{own} (virtual {})", decimal_size(root)),
        None => own,
    }
}

/// Returns the name of a state.
pub(crate) fn state_name(state: ContainerState) -> &'static str {
    match state {
        ContainerState::Created => "created",
        ContainerState::Running => "running",
        ContainerState::Restarting => "restarting",
        ContainerState::Exited => "exited",
        ContainerState::Unknown | ContainerState::Unspecified => "unknown",
    }
}

/// Returns the state of the given name.
pub(crate) fn state_named(name: &str) -> Option<ContainerState> {
    use ContainerState::{Created, Exited, Restarting, Running, Unknown};
    [Created, Running, Restarting, Exited, Unknown]
        .into_iter()
        .find(|state| state_name(*state) == name)
}

/// Returns the state with its age, such as "Up 3 minutes".
pub(crate) fn status(container: &Container, now: Timestamp) -> String {
    match container.state() {
        ContainerState::Created => "Created".into(),
        ContainerState::Running => format!("Up {}", span(container.started_at, now)),
        state @ (ContainerState::Exited | ContainerState::Restarting) => {
            let ended = match state {
                ContainerState::Restarting => "Restarting",
                _ => "Exited",
            };
            format!(
                "{ended} ({}) {}",
                container.exit_code,
                ago(container.finished_at, now)
            )
        }
        ContainerState::Unknown | ContainerState::Unspecified => "Unknown".into(),
    }
}

/// Ports are held only while the container runs.
fn running_ports(container: &Container) -> String {
    match container.state() {
        ContainerState::Running => ports::list(&container.ports),
        _ => String::new(),
    }
}

fn ellipsis(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_commands_end_in_an_ellipsis() {
        assert_eq!(
            ellipsis("nginx -g 'daemon off;'", 20),
            "nginx -g 'daemon of…"
        );
        assert_eq!(ellipsis("sleep 1", 20), "sleep 1");
    }

    #[test]
    fn every_field_has_a_column_and_every_column_a_field() {
        let row = row(&Container::default(), Timestamp::now(), Length::Short);
        let mut fields: Vec<_> = row
            .fields
            .as_object()
            .expect("a map")
            .keys()
            .cloned()
            .collect();
        let mut columns: Vec<_> = COLUMNS
            .iter()
            .map(|column| column.field.to_owned())
            .collect();
        fields.sort();
        columns.sort();
        assert_eq!(fields, columns);
    }

    #[test]
    fn states_are_found_by_name() {
        assert_eq!(state_named("exited"), Some(ContainerState::Exited));
        assert_eq!(state_named("paused"), None);
    }
}
