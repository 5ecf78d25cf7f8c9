use clap::Args;
use proto::agent::TagImageRequest;

use crate::client::Client;
use crate::error::{CommandError, ExitStatus};

/// Give an image a further name
#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// Name or id of the image
    image: String,

    /// The further name, as REPOSITORY[:TAG]
    #[arg(value_name = "NAME")]
    reference: String,
}

/// Runs `ctl tag`.
pub(super) async fn run(args: Tag, client: &Client) -> Result<ExitStatus, CommandError> {
    let request = TagImageRequest {
        image: args.image.clone(),
        reference: args.reference,
    };
    let answer = client.images().tag(request).await;
    client
        .of_image(&args.image, "cannot be tagged", answer)
        .await?;
    Ok(ExitStatus::DONE)
}
