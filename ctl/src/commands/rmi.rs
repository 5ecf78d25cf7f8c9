use clap::Args;
use proto::agent::RemoveImageRequest;
use tonic::Code;

use super::each::Each;
use crate::client::Client;
use crate::error::{CommandError, ExitStatus};
use crate::output::Output;
use crate::view::reference::familiar;

/// Remove names of images, and each image with its last name
#[derive(Debug, Args)]
pub(crate) struct Rmi {
    /// Remove all names of an image named by its id
    #[arg(short, long)]
    force: bool,

    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

/// Gives the refusal to remove a used image its hint.
fn in_use(error: CommandError, image: &str) -> CommandError {
    error.hinted(|source| {
        (source.code() == Code::FailedPrecondition)
            .then(|| format!("`ctl ps -a --filter ancestor={image}` lists its containers"))
    })
}

/// Runs `ctl rmi`.
pub(super) async fn run(
    args: Rmi,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    let mut each = Each::new();
    for name in &args.images {
        let request = RemoveImageRequest {
            image: name.clone(),
            force: args.force,
        };
        let answer = client.images().remove(request).await;
        let answer = client.of_image(name, "cannot be removed", answer).await;
        match answer.map_err(|error| in_use(error, name)) {
            Ok(removed) => {
                for reference in &removed.untagged {
                    out.line(format!("Untagged: {}", familiar(reference)))?;
                }
                for id in &removed.deleted {
                    out.line(format!("Deleted: {id}"))?;
                }
            }
            Err(error) => each.failed(out, &error),
        }
    }
    Ok(each.status())
}
