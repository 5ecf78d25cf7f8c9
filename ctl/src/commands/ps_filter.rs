//! The filters of `ps` that ctl applies itself.

use proto::agent::{Container, InspectContainerRequest};

use super::filter::{Filter, any, values};
use crate::client::Client;
use crate::error::CommandError;
use crate::parse::ParseError;
use crate::parse::network::network_name;
use crate::parse::port::expose;
use crate::view::ports::container_side;

/// All filters that `ps` knows.
pub(super) const FILTERS: [&str; 11] = [
    "ancestor", "before", "exited", "id", "label", "name", "network", "publish", "since", "status",
    "volume",
];

/// What the filters mean that the agent does not know.
#[derive(Debug)]
pub(super) struct Fits {
    exited: Vec<i32>,
    published: Vec<String>,
    before: Option<i64>,
    since: Option<i64>,
}

impl Fits {
    /// Reads the filters; what was made before or since is asked of the agent.
    pub(super) async fn new(filters: &[Filter], client: &Client) -> Result<Self, CommandError> {
        let mut fits = Self {
            exited: Vec::new(),
            published: Vec::new(),
            before: None,
            since: None,
        };
        for text in values(filters, "exited") {
            let code = text.parse().map_err(|_| {
                CommandError::option("--filter exited")(ParseError::form(text, "an exit code"))
            })?;
            fits.exited.push(code);
        }
        for text in values(filters, "publish") {
            fits.published.extend(
                expose(text)
                    .map_err(CommandError::option("--filter publish"))?
                    .0,
            );
        }
        for name in values(filters, "before") {
            fits.before = Some(created(client, name).await?);
        }
        for name in values(filters, "since") {
            fits.since = Some(created(client, name).await?);
        }
        Ok(fits)
    }

    /// Tells whether a container fits.
    pub(super) fn container(&self, filters: &[Filter], container: &Container) -> bool {
        let network = network_name(container.network(), &container.network_container);
        let published = |mapping| self.published.contains(&container_side(mapping));
        any(filters, "id", |id| container.id.starts_with(id))
            && any(filters, "name", |name| {
                container.name.contains(name.trim_start_matches('/'))
            })
            && any(filters, "network", |name| network == name)
            && any(filters, "volume", |path| {
                container
                    .mounts
                    .iter()
                    .any(|mount| mount.source == path || mount.destination == path)
            })
            && (self.exited.is_empty()
                || self.exited.contains(&container.exit_code) && container.finished_at != 0)
            && (self.published.is_empty() || container.ports.iter().any(published))
            && self
                .before
                .is_none_or(|before| container.created_at < before)
            && self.since.is_none_or(|since| container.created_at > since)
    }
}

/// Returns when a container was made.
async fn created(client: &Client, name: &str) -> Result<i64, CommandError> {
    let answer = client
        .containers()
        .inspect(InspectContainerRequest {
            container: name.to_owned(),
            ..Default::default()
        })
        .await;
    let found = client
        .of_container(name, "cannot be inspected", answer)
        .await?;
    Ok(found.container.unwrap_or_default().created_at)
}
