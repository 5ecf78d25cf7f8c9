use clap::Args;
use proto::agent::{Event, EventsRequest};
use serde_json::{Value, json};

use super::filter::{self, Filter, any, filter, values};
use crate::client::Client;
use crate::error::{CommandError, ExitStatus};
use crate::output::{Format, Output, utc_time};
use crate::view::sorted;

const FILTERS: [&str; 5] = ["container", "event", "image", "label", "type"];

/// Show what happens on the node, as it happens
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Only those that fit, such as type=container, event=exit or container=web
    #[arg(short, long = "filter", value_name = "KEY=VALUE", value_parser = filter)]
    filters: Vec<Filter>,

    /// json, or a template such as '{{.Action}} {{.ID}}'
    #[arg(long)]
    format: Option<String>,
}

/// Runs `ctl events`.
pub(super) async fn run(
    args: Events,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    let format = Format::parse(args.format.as_deref())?;
    filter::check(&args.filters, &FILTERS, "events").map_err(CommandError::option("--filter"))?;
    let failed = |status| client.failed("events cannot be followed", status);
    let kinds = values(&args.filters, "type").map(str::to_owned).collect();
    let answer = client.system().events(EventsRequest { kinds }).await;
    let mut events = answer.map_err(failed)?.into_inner();
    while let Some(event) = events.message().await.map_err(failed)? {
        if !fits(&args.filters, &event) {
            continue;
        }
        let line = match &format {
            Format::Table => plain(&event),
            Format::Json => fields(&event).to_string(),
            Format::Template(template) | Format::TableOf(template) => {
                template.render(&fields(&event), &())?
            }
        };
        out.line(line)?;
        out.flush()?;
    }
    Ok(ExitStatus::DONE)
}

fn fits(filters: &[Filter], event: &Event) -> bool {
    let attribute = |key: &str| event.attributes.get(key).map(String::as_str);
    let named = |kind: &str, wanted: &str| {
        event.kind == kind && (event.id.starts_with(wanted) || attribute("name") == Some(wanted))
    };
    any(filters, "event", |action| event.action == action)
        && any(filters, "container", |wanted| named("container", wanted))
        && any(filters, "image", |wanted| {
            named("image", wanted) || attribute("image") == Some(wanted)
        })
        && any(filters, "label", |wanted| match wanted.split_once('=') {
            Some((key, value)) => attribute(key) == Some(value),
            None => attribute(wanted).is_some(),
        })
}

fn plain(event: &Event) -> String {
    let attributes: Vec<_> = sorted(&event.attributes)
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let attributes = if attributes.is_empty() {
        String::new()
    } else {
        format!(" ({})", attributes.join(", "))
    };
    format!(
        "{} {} {} {}{attributes}",
        utc_time(event.time),
        event.kind,
        event.action,
        event.id
    )
}

fn fields(event: &Event) -> Value {
    json!({
        "Type": event.kind,
        "Action": event.action,
        "ID": event.id,
        "Owner": event.owner,
        "Actor": {"ID": event.id, "Attributes": sorted(&event.attributes)},
        "Time": event.time / 1_000_000_000,
        "TimeNano": event.time,
    })
}
