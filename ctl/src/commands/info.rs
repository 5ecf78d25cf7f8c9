use clap::Args;
use proto::agent::{InfoRequest, InfoResponse};

use crate::client::Client;
use crate::error::{CommandError, ExitStatus};
use crate::output::{Format, Output, binary_size, decimal_size};
use crate::view::node;

/// Show what the agent says of itself and its node
#[derive(Debug, Args)]
pub(crate) struct Info {
    /// json, or a template such as '{{.Containers}}'
    #[arg(short, long)]
    format: Option<String>,
}

/// Runs `ctl info`.
pub(super) async fn run(
    args: Info,
    client: &Client,
    out: &mut Output,
) -> Result<ExitStatus, CommandError> {
    let format = Format::parse(args.format.as_deref())?;
    let answer = client.system().info(InfoRequest {}).await;
    let info = answer
        .map_err(|status| client.failed("the node cannot be described", status))?
        .into_inner();
    match format {
        Format::Json => out.line(node::info(&info).to_string())?,
        Format::Template(template) | Format::TableOf(template) => {
            out.line(template.render(&node::info(&info), &())?)?;
        }
        Format::Table => {
            for (name, value) in lines(&info) {
                out.line(format!("{name}: {value}"))?;
            }
        }
    }
    for warning in &info.warnings {
        out.warning(warning);
    }
    Ok(ExitStatus::DONE)
}

fn lines(info: &InfoResponse) -> Vec<(&'static str, String)> {
    vec![
        ("Name", info.name.clone()),
        ("Agent version", info.version.clone()),
        ("Containers", info.containers.to_string()),
        (" Running", info.containers_running.to_string()),
        (" Exited", info.containers_exited.to_string()),
        ("Sandboxes", info.sandboxes.to_string()),
        ("Images", info.images.to_string()),
        ("Stored", decimal_size(info.image_bytes)),
        ("Cgroup driver", info.cgroup_driver.clone()),
        ("Cgroup version", info.cgroup_version.clone()),
        ("Kernel version", info.kernel.clone()),
        ("Operating system", info.os.clone()),
        ("Architecture", info.architecture.clone()),
        ("CPUs", info.cpus.to_string()),
        ("Total memory", binary_size(info.memory)),
        ("Root directory", info.root.clone()),
        ("State directory", info.state.clone()),
        ("Bridge", info.bridge.clone()),
        ("Subnets", info.subnets.join(", ")),
    ]
}
