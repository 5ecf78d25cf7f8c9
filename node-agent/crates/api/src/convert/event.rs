//! What happens to sandboxes and containers, as CRI tells it.

use agent_core::event::{Action, Event, Subject};
use agent_types::Owner;
use proto::cri;
use proto::cri::ContainerEventType as Kind;

/// Returns what a kubelet is told of an event: nothing of what is not its own. A sandbox is told of
/// under its own id, and runs as soon as it is made.
pub(crate) fn container_events(event: &Event) -> Vec<cri::ContainerEventResponse> {
    if event.owner != Some(Owner::Cri) {
        return Vec::new();
    }
    let kinds: &[Kind] = match (event.subject, event.action) {
        (Subject::Container, Action::Create) => &[Kind::ContainerCreatedEvent],
        (Subject::Container, Action::Start) => &[Kind::ContainerStartedEvent],
        (Subject::Container, Action::Exit) | (Subject::Sandbox, Action::Stop) => {
            &[Kind::ContainerStoppedEvent]
        }
        (Subject::Container | Subject::Sandbox, Action::Remove) => &[Kind::ContainerDeletedEvent],
        (Subject::Sandbox, Action::Create) => {
            &[Kind::ContainerCreatedEvent, Kind::ContainerStartedEvent]
        }
        _ => &[],
    };
    kinds.iter().map(|kind| message(event, *kind)).collect()
}

fn message(event: &Event, kind: Kind) -> cri::ContainerEventResponse {
    let sandbox = event.sandbox.as_deref();
    cri::ContainerEventResponse {
        container_id: event.id.clone(),
        container_event_type: kind.into(),
        created_at: event.time.nanos(),
        pod_sandbox_status: sandbox.map(super::sandbox::status),
        containers_statuses: sandbox
            .iter()
            .flat_map(|sandbox| &sandbox.containers)
            .map(super::container::status)
            .collect(),
    }
}
