use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use clap::Args;
use proto::agent::{
    ContainerSpec, CreateContainerRequest, CreateContainerResponse, InspectImageRequest,
};
use tonic::{Code, Status};

use super::options::{ContainerOptions, PullWhen};
use super::pull::pull;
use crate::client::{Client, Noun};
use crate::error::{CommandError, ExitStatus};
use crate::output::Output;

/// Create a container without starting it
#[derive(Debug, Args)]
#[command(
    disable_help_flag = true,
    override_usage = "ctl create [OPTIONS] IMAGE [COMMAND] [ARG...]"
)]
pub(crate) struct Create {
    #[command(flatten)]
    options: ContainerOptions,
}

/// Runs `ctl create`.
pub(super) async fn run(
    args: Create,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    let spec = args.options.spec()?;
    let created = create(client, out, &args.options, spec).await?;
    out.line(created.id)?;
    Ok(ExitStatus::DONE)
}

/// Creates a container, with its image fetched as the options say.
pub(super) async fn create(
    client: &Client,
    out: &mut Output,
    options: &ContainerOptions,
    spec: ContainerSpec,
) -> Result<CreateContainerResponse, CommandError> {
    let id_file = options
        .identity
        .cidfile
        .as_deref()
        .map(IdFile::create)
        .transpose()?;
    let image = spec.image.clone();
    if options.image.pull == PullWhen::Always {
        fetch(client, out, options, &image).await?;
    }
    let request = CreateContainerRequest { spec: Some(spec) };
    let answer = match client.containers().create(request.clone()).await {
        Err(status) if status.code() == Code::NotFound => {
            missing(client, out, options, &image, status).await?;
            client.containers().create(request).await
        }
        answer => answer,
    };
    let created = answer
        .map_err(|status| refused(client, &image, status))?
        .into_inner();
    for warning in &created.warnings {
        out.warning(warning);
    }
    if let Some(id_file) = id_file {
        id_file.write(&created.id)?;
    }
    Ok(created)
}

fn refused(client: &Client, image: &str, status: Status) -> CommandError {
    client
        .failed(format!("a container of {image} cannot be created"), status)
        .hinted(|source| match source.code() {
            Code::AlreadyExists => Some(
                "give it another --name, or remove the one that has it with `ctl rm -f`".into(),
            ),
            Code::NotFound => Some("`ctl ps -a` lists all containers".into()),
            _ => None,
        })
}

/// Fetches the image, if it is what was not found and may be fetched.
async fn missing(
    client: &Client,
    out: &mut Output,
    options: &ContainerOptions,
    image: &str,
    status: Status,
) -> Result<(), CommandError> {
    match client
        .images()
        .inspect(InspectImageRequest {
            image: image.to_owned(),
        })
        .await
    {
        Err(answer) if answer.code() == Code::NotFound => {}
        // The image is here: something else was not found.
        _ => return Err(refused(client, image, status)),
    }
    if options.image.pull == PullWhen::Never {
        return Err(client.not_found(Noun::Image, image).await);
    }
    if !options.image.quiet {
        out.message(format!("Image {image} is not here yet: pulling it"));
    }
    fetch(client, out, options, image).await
}

async fn fetch(
    client: &Client,
    out: &mut Output,
    options: &ContainerOptions,
    image: &str,
) -> Result<(), CommandError> {
    pull(
        client,
        out,
        image,
        options.image.platform.clone(),
        options.image.quiet,
    )
    .await?;
    Ok(())
}

/// The file that takes the container's id: made first, so that it cannot be someone else's.
#[derive(Debug)]
struct IdFile<'a> {
    path: &'a Path,
    file: File,
    written: bool,
}

impl<'a> IdFile<'a> {
    fn create(path: &'a Path) -> Result<Self, CommandError> {
        let file = File::create_new(path).map_err(|source| CommandError::File {
            verb: "created",
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path,
            file,
            written: false,
        })
    }

    fn write(mut self, id: &str) -> Result<(), CommandError> {
        self.file
            .write_all(id.as_bytes())
            .map_err(|source| CommandError::File {
                verb: "written",
                path: self.path.to_owned(),
                source,
            })?;
        self.written = true;
        Ok(())
    }
}

impl Drop for IdFile<'_> {
    /// Takes an empty file away: there is no container it would tell of.
    fn drop(&mut self) {
        if !self.written {
            let _ = std::fs::remove_file(self.path);
        }
    }
}
