use clap::{Args, ValueEnum};
use proto::agent::{InspectContainerRequest, InspectImageRequest};
use serde::Serialize as _;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};
use tonic::Code;

use super::each::Each;
use crate::client::{Client, Noun};
use crate::error::{CommandError, ExitStatus};
use crate::output::Output;
use crate::template::Template;
use crate::view::{container_detail, image};

/// What a name is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Container,
    Image,
}

/// Show containers and images in full
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// json, or a template such as '{{.State.Status}}'
    #[arg(short, long)]
    format: Option<String>,

    /// With the size of what a container has written
    #[arg(short, long)]
    size: bool,

    /// Look only among these
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<Kind>,

    /// Names or ids
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Show containers in full
#[derive(Debug, Args)]
pub(crate) struct InspectContainer {
    /// json, or a template such as '{{.State.Status}}'
    #[arg(short, long)]
    format: Option<String>,

    /// With the size of what it has written
    #[arg(short, long)]
    size: bool,

    /// Names, ids or starts of ids
    #[arg(required = true, value_name = "CONTAINER")]
    names: Vec<String>,
}

/// Show images in full
#[derive(Debug, Args)]
pub(crate) struct InspectImage {
    /// json, or a template such as '{{.Config.Env}}'
    #[arg(short, long)]
    format: Option<String>,

    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    names: Vec<String>,
}

impl From<InspectContainer> for Inspect {
    fn from(args: InspectContainer) -> Self {
        Self {
            format: args.format,
            size: args.size,
            kind: Some(Kind::Container),
            names: args.names,
        }
    }
}

impl From<InspectImage> for Inspect {
    fn from(args: InspectImage) -> Self {
        Self {
            format: args.format,
            size: false,
            kind: Some(Kind::Image),
            names: args.names,
        }
    }
}

/// Runs `ctl inspect`.
pub(super) async fn run(
    args: Inspect,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    let template = match args.format.as_deref() {
        None | Some("" | "json") => None,
        Some(text) => Some(Template::parse(text)?),
    };
    let mut each = Each::new();
    let mut found = Vec::new();
    for name in &args.names {
        match (inspect(client, &args, name).await, &template) {
            (Ok(value), Some(template)) => out.line(template.render(&value, &())?)?,
            (Ok(value), None) => found.push(value),
            (Err(error), _) => each.failed(out, &error),
        }
    }
    match (template, args.format.as_deref()) {
        (Some(_), _) => {}
        (None, Some("json")) => {
            for value in &found {
                out.line(value.to_string())?;
            }
        }
        (None, _) => out.line(pretty(&found))?,
    }
    Ok(each.status())
}

async fn inspect(client: &Client, args: &Inspect, name: &str) -> Result<Value, CommandError> {
    let Inspect { kind, size, .. } = *args;
    if kind != Some(Kind::Image) {
        let request = InspectContainerRequest {
            container: name.to_owned(),
            size,
        };
        match client.containers().inspect(request).await {
            Ok(answer) => return Ok(container_detail::detail(answer.get_ref())),
            // Without a type, what is no container may be an image.
            Err(status) if status.code() == Code::NotFound && kind.is_none() => {}
            Err(status) => {
                let answer = Err::<tonic::Response<Value>, _>(status);
                return client
                    .of_container(name, "cannot be inspected", answer)
                    .await;
            }
        }
    }
    let request = InspectImageRequest {
        image: name.to_owned(),
    };
    match client.images().inspect(request).await {
        Ok(answer) => Ok(image::detail(answer.get_ref())),
        Err(status) if status.code() == Code::NotFound && kind.is_none() => {
            Err(client.not_found(Noun::Either, name).await)
        }
        Err(status) => {
            let answer = Err::<tonic::Response<Value>, _>(status);
            client.of_image(name, "cannot be inspected", answer).await
        }
    }
}

/// Returns JSON indented by four, as docker does.
fn pretty(values: &[Value]) -> String {
    let mut text = Vec::new();
    let mut serializer =
        Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    "));
    // Values of JSON are written to memory: neither can fail.
    let _ = values.serialize(&mut serializer);
    String::from_utf8_lossy(&text).into_owned()
}
