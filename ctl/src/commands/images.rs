use clap::Args;
use jiff::Timestamp;
use proto::agent::{Image, InspectImageRequest, ListImagesRequest};

use super::filter::{self, Filter, any, filter, values};
use crate::client::Client;
use crate::error::{CommandError, ExitStatus};
use crate::output::{Column, Format, Output};
use crate::parse::key_value::label;
use crate::view::container::Length;
use crate::view::image::{COLUMNS, Name, PLAIN_COLUMNS, names, row};
use crate::view::reference::{familiar, matches, split};

const FILTERS: [&str; 5] = ["before", "dangling", "label", "reference", "since"];
const NONE: &str = "<none>";

/// List the images of this node
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of docker's")]
pub(crate) struct Images {
    /// All images: they always are, as none are intermediate
    #[arg(short, long)]
    all: bool,

    /// With their digests
    #[arg(long)]
    digests: bool,

    /// Only those that fit, such as reference=web*, label=role or dangling=true
    #[arg(short, long = "filter", value_name = "KEY=VALUE", value_parser = filter)]
    filters: Vec<Filter>,

    /// table, json, a template such as '{{.Repository}}:{{.Tag}}', or 'table TEMPLATE'
    #[arg(long)]
    format: Option<String>,

    /// Ids in full
    #[arg(long)]
    no_trunc: bool,

    /// Only ids
    #[arg(short, long)]
    quiet: bool,

    /// Only images of this name; * and ? stand for any letters
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
}

/// Runs `ctl images`.
pub(super) async fn run(
    args: Images,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    let format = Format::parse(args.format.as_deref())?;
    filter::check(&args.filters, &FILTERS, "images").map_err(CommandError::option("--filter"))?;
    let fits = Fits::new(&args, client).await?;
    let answer = client.images().list(ListImagesRequest::default()).await;
    let answer = answer.map_err(|status| client.failed("images cannot be listed", status))?;
    let mut images = answer.into_inner().images;
    images.sort_by_key(|image| std::cmp::Reverse(image.created_at));
    let length = if args.no_trunc {
        Length::Full
    } else {
        Length::Short
    };
    let now = Timestamp::now();
    let mut rows = Vec::new();
    for image in images.iter().filter(|image| fits.image(image)) {
        let names = names(image).into_iter().filter(|name| fits.name(name));
        rows.extend(names.map(|name| row(image, &name, now, length)));
    }
    if args.quiet && args.format.is_none() {
        let mut ids: Vec<_> = rows
            .iter()
            .filter_map(|row| row.fields["ID"].as_str())
            .collect();
        ids.dedup();
        for id in ids {
            out.line(id)?;
        }
        return Ok(ExitStatus::DONE);
    }
    let plain: Vec<Column> = COLUMNS[..PLAIN_COLUMNS]
        .iter()
        .filter(|column| args.digests || column.field != "Digest")
        .copied()
        .collect();
    out.list(&format, &plain, &COLUMNS, &rows)?;
    Ok(ExitStatus::DONE)
}

/// Which images and names are to be shown.
#[derive(Debug)]
struct Fits<'a> {
    filters: &'a [Filter],
    patterns: Vec<&'a str>,
    labels: Vec<(String, String)>,
    dangling: Option<bool>,
    before: Option<i64>,
    since: Option<i64>,
}

impl<'a> Fits<'a> {
    async fn new(args: &'a Images, client: &Client) -> Result<Self, CommandError> {
        let filters = args.filters.as_slice();
        let mut fits = Self {
            filters,
            patterns: args.name.as_deref().into_iter().collect(),
            labels: Vec::new(),
            dangling: None,
            before: None,
            since: None,
        };
        for text in values(filters, "label") {
            fits.labels
                .push(label(text).map_err(CommandError::option("--filter label"))?);
        }
        for text in values(filters, "dangling") {
            fits.dangling =
                Some(filter::truth(text).map_err(CommandError::option("--filter dangling"))?);
        }
        for name in values(filters, "before") {
            fits.before = Some(created(client, name).await?);
        }
        for name in values(filters, "since") {
            fits.since = Some(created(client, name).await?);
        }
        Ok(fits)
    }

    fn image(&self, image: &Image) -> bool {
        let labelled = |(key, value): &(String, String)| {
            image
                .labels
                .get(key)
                .is_some_and(|known| value.is_empty() || known == value)
        };
        self.labels.iter().all(labelled)
            && self
                .dangling
                .is_none_or(|dangling| dangling == image.tags.is_empty())
            && self.before.is_none_or(|before| image.created_at < before)
            && self.since.is_none_or(|since| image.created_at > since)
    }

    fn name(&self, name: &Name) -> bool {
        self.patterns.iter().all(|pattern| fits_name(pattern, name))
            && any(self.filters, "reference", |pattern| {
                fits_name(pattern, name)
            })
    }
}

/// Tells whether a name fits a pattern, which may be of a repository or of a tag of it.
fn fits_name(pattern: &str, name: &Name) -> bool {
    let pattern = familiar(pattern);
    let (repository, tag) = split(&pattern);
    let tagged = match (tag, pattern.contains('@')) {
        ("", _) => true,
        (digest, true) => name.digest == digest,
        (tag, false) => name.tag != NONE && matches(tag, &name.tag),
    };
    matches(repository, &name.repository) && tagged
}

/// Returns when an image was made.
async fn created(client: &Client, name: &str) -> Result<i64, CommandError> {
    let answer = client
        .images()
        .inspect(InspectImageRequest {
            image: name.to_owned(),
        })
        .await;
    let found = client.of_image(name, "cannot be inspected", answer).await?;
    Ok(found.image.unwrap_or_default().created_at)
}
