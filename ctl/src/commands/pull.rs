use clap::Args;
use proto::agent::PullRequest;
use proto::agent::pull_progress::Event;
use tonic::Code;

use crate::client::Client;
use crate::credentials;
use crate::error::{CommandError, ExitStatus, hints};
use crate::output::{Output, PullDisplay};

/// Fetch images from a registry
#[derive(Debug, Args)]
#[command(
    after_help = "Progress goes to stderr, and the name of the image to stdout. A pull that was cut off goes on where it stopped."
)]
pub(crate) struct Pull {
    /// Show nothing but the names
    #[arg(short, long)]
    quiet: bool,

    /// Fetch for OS/ARCHITECTURE[/VARIANT] in place of this machine
    #[arg(long)]
    platform: Option<String>,

    /// NAME[:TAG] or NAME@DIGEST
    #[arg(value_name = "IMAGE")]
    image: String,
}

/// Runs `ctl pull`.
pub(super) async fn run(
    args: Pull,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    let reference = pull(client, out, &args.image, args.platform, args.quiet).await?;
    out.line(reference)?;
    Ok(ExitStatus::DONE)
}

/// Fetches one image and returns its name in full.
pub(super) async fn pull(
    client: &Client,
    out: &mut Output,
    image: &str,
    platform: Option<String>,
    quiet: bool,
) -> Result<String, CommandError> {
    let failed = |status| {
        client
            .failed(format!("image {image} cannot be pulled"), status)
            .hinted(hints::not_pulled)
    };
    let request = PullRequest {
        reference: image.to_owned(),
        platform: platform.unwrap_or_default(),
        auth: credentials::of(image)?,
    };
    let mut progress = client
        .images()
        .pull(request)
        .await
        .map_err(failed)?
        .into_inner();
    let mut display = PullDisplay::new(out, quiet);
    while let Some(message) = progress.message().await.map_err(failed)? {
        match message.event {
            Some(Event::Status(line)) => display.status(out, &line),
            Some(Event::Layer(layer)) => display.layer(out, &layer),
            Some(Event::Done(done)) => {
                display.status(out, &format!("Digest: {}", done.digest));
                let said = if done.up_to_date {
                    "Image is up to date"
                } else {
                    "Downloaded newer image"
                };
                display.status(out, &format!("Status: {said} for {}", done.reference));
                return Ok(done.reference);
            }
            None => {}
        }
    }
    Err(failed(tonic::Status::new(
        Code::Aborted,
        "the agent stopped before it was done",
    )))
}
