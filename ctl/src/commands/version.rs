use clap::Args;
use proto::agent::VersionRequest;
use serde_json::{Value, json};

use crate::client::Client;
use crate::error::{CommandError, ExitStatus};
use crate::output::{Format, Output};
use crate::view::node;

/// Show the versions of ctl and of the agent
#[derive(Debug, Args)]
pub(crate) struct Version {
    /// json, or a template such as '{{.Server.Version}}'
    #[arg(short, long)]
    format: Option<String>,
}

/// Runs `ctl version`. Without an agent it still shows ctl's own.
pub(super) async fn run(
    args: Version,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    let format = Format::parse(args.format.as_deref())?;
    let answer = client.system().version(VersionRequest {}).await;
    let (server, status) = match answer {
        Ok(answer) => (node::server(answer.get_ref()), ExitStatus::DONE),
        Err(status) => {
            out.error(&client.failed("the agent does not tell its version", status));
            (Value::Null, ExitStatus::FAILED)
        }
    };
    let versions = json!({"Client": node::client(), "Server": server});
    match format {
        Format::Json => out.line(versions.to_string())?,
        Format::Template(template) | Format::TableOf(template) => {
            out.line(template.render(&versions, &())?)?
        }
        Format::Table => {
            part(out, "Client", &versions["Client"])?;
            part(out, "Server", &versions["Server"])?;
        }
    }
    Ok(status)
}

fn part(out: &mut Output, name: &str, fields: &Value) -> Result<(), CommandError> {
    let Some(fields) = fields.as_object() else {
        return Ok(());
    };
    out.line(format!("{name}:"))?;
    for (field, value) in fields {
        if let Some(value) = value.as_str().filter(|value| !value.is_empty()) {
            out.line(format!(" {:15}{value}", format!("{field}:")))?;
        }
    }
    Ok(())
}
