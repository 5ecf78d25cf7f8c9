use clap::Args;
use jiff::Timestamp;
use proto::agent::{Container, InspectContainerRequest, ListContainersRequest};

use super::filter::{self, Filter, any, filter, values};
use crate::client::Client;
use crate::error::{CommandError, ExitStatus};
use crate::output::{Format, Output};
use crate::parse::ParseError;
use crate::parse::key_value::label;
use crate::parse::network::network_name;
use crate::parse::port::expose;
use crate::view::container::{COLUMNS, Length, PLAIN_COLUMNS, row, state_named};
use crate::view::ports::container_side;

const FILTERS: [&str; 11] = [
    "ancestor", "before", "exited", "id", "label", "name", "network", "publish", "since", "status",
    "volume",
];

/// List containers
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of docker's")]
pub(crate) struct Ps {
    /// Those too that do not run
    #[arg(short, long)]
    all: bool,

    /// Only those that fit, such as status=exited, label=role=web or name=db
    #[arg(short, long = "filter", value_name = "KEY=VALUE", value_parser = filter)]
    filters: Vec<Filter>,

    /// table, json, a template such as '{{.ID}}: {{.Names}}', or 'table TEMPLATE'
    #[arg(long)]
    format: Option<String>,

    /// The COUNT made last, running or not
    #[arg(short = 'n', long, value_name = "COUNT")]
    last: Option<usize>,

    /// The one made last, running or not
    #[arg(short, long, conflicts_with = "last")]
    latest: bool,

    /// Ids and commands in full
    #[arg(long)]
    no_trunc: bool,

    /// Only ids
    #[arg(short, long)]
    quiet: bool,
}

/// Runs `ctl ps`.
pub(super) async fn run(
    args: Ps,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    let format = Format::parse(args.format.as_deref())?;
    filter::check(&args.filters, &FILTERS, "ps").map_err(CommandError::option("--filter"))?;
    let mut containers = listed(&args, client).await?;
    containers.sort_by_key(|container| std::cmp::Reverse(container.created_at));
    if let Some(count) = args.last.or(args.latest.then_some(1)) {
        containers.truncate(count);
    }
    let length = if args.no_trunc {
        Length::Full
    } else {
        Length::Short
    };
    let now = Timestamp::now();
    let rows: Vec<_> = containers
        .iter()
        .map(|container| row(container, now, length))
        .collect();
    if args.quiet && args.format.is_none() {
        for row in &rows {
            out.line(row.fields["ID"].as_str().unwrap_or_default())?;
        }
        return Ok(ExitStatus::DONE);
    }
    out.list(&format, &COLUMNS[..PLAIN_COLUMNS], &COLUMNS, &rows)?;
    Ok(ExitStatus::DONE)
}

/// Returns the containers that are to be shown.
async fn listed(args: &Ps, client: &Client) -> Result<Vec<Container>, CommandError> {
    let filters = &args.filters;
    let fits = Fits::new(filters, client).await?;
    let mut request = ListContainersRequest {
        all: args.all || args.latest || args.last.is_some() || has(filters, &["status", "exited"]),
        ..Default::default()
    };
    for text in values(filters, "label") {
        let (key, value) = label(text).map_err(CommandError::option("--filter label"))?;
        request.labels.insert(key, value);
    }
    for text in values(filters, "status") {
        let state = state_named(text).ok_or_else(|| {
            let error = ParseError::form(text, "created, running, exited or unknown");
            CommandError::option("--filter status")(error)
        })?;
        request.states.push(state.into());
    }
    // The agent knows which images an ancestor's name means, and takes one at a time.
    let ancestors: Vec<_> = values(filters, "ancestor").collect();
    let mut containers: Vec<Container> = Vec::new();
    for ancestor in if ancestors.is_empty() {
        vec![""]
    } else {
        ancestors
    } {
        let request = ListContainersRequest {
            ancestor: ancestor.to_owned(),
            ..request.clone()
        };
        let answer = client.containers().list(request).await;
        let answer =
            answer.map_err(|status| client.failed("containers cannot be listed", status))?;
        for container in answer.into_inner().containers {
            if fits.container(filters, &container)
                && containers.iter().all(|known| known.id != container.id)
            {
                containers.push(container);
            }
        }
    }
    Ok(containers)
}

fn has(filters: &[Filter], keys: &[&str]) -> bool {
    filters
        .iter()
        .any(|filter| keys.contains(&filter.key.as_str()))
}

/// What the filters mean that the agent does not know.
#[derive(Debug)]
struct Fits {
    exited: Vec<i32>,
    published: Vec<String>,
    before: Option<i64>,
    since: Option<i64>,
}

impl Fits {
    async fn new(filters: &[Filter], client: &Client) -> Result<Self, CommandError> {
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

    fn container(&self, filters: &[Filter], container: &Container) -> bool {
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
        })
        .await;
    let found = client
        .of_container(name, "cannot be inspected", answer)
        .await?;
    Ok(found.container.unwrap_or_default().created_at)
}
