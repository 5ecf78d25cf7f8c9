use clap::Args;
use jiff::Timestamp;
use proto::agent::{Container, ListContainersRequest};

use super::filter::{self, Filter, filter, values};
use super::ps_filter::{FILTERS, Fits};
use crate::client::Client;
use crate::error::{CommandError, ExitStatus};
use crate::output::{Format, Output};
use crate::parse::ParseError;
use crate::parse::key_value::label;
use crate::view::container::{COLUMNS, Length, PLAIN_COLUMNS, row, state_named};

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

    /// With the size of what each has written
    #[arg(short, long)]
    size: bool,

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
    let plain = PLAIN_COLUMNS + usize::from(args.size);
    out.list(&format, &COLUMNS[..plain], &COLUMNS, &rows)?;
    Ok(ExitStatus::DONE)
}

/// Returns the containers that are to be shown.
async fn listed(args: &Ps, client: &Client) -> Result<Vec<Container>, CommandError> {
    let filters = &args.filters;
    let fits = Fits::new(filters, client).await?;
    // A template is docker's other way to ask for it.
    let shows_size = args.format.as_deref().is_some_and(|f| f.contains(".Size"));
    let mut request = ListContainersRequest {
        size: args.size || shows_size,
        all: args.all || args.latest || args.last.is_some() || has(filters, &["status", "exited"]),
        ..Default::default()
    };
    for text in values(filters, "label") {
        let (key, value) = label(text).map_err(CommandError::option("--filter label"))?;
        request.labels.insert(key, value);
    }
    for text in values(filters, "status") {
        let state = state_named(text).ok_or_else(|| {
            let error = ParseError::form(text, "created, running, restarting, exited or unknown");
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
