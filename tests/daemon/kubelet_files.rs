//! What deploy/ has for a kubelet: well formed, and of one mind about where the agent serves.

use anyhow::{Context as _, Result, ensure};
use saphyr::{LoadableYamlNode as _, Yaml};

use crate::config::checked;

const KUBELET: &str = include_str!("../../deploy/kubelet/config.yaml");
const CRICTL: &str = include_str!("../../deploy/kubelet/crictl.yaml");
const DEFAULTS: &str = include_str!("../../deploy/config.toml");
const OURS: &str = include_str!("../../deploy/kubelet/node-agent.toml");
const DROP_IN: &str = include_str!("../../deploy/kubelet/node-agent.conf");

fn document(text: &'static str) -> Result<Yaml<'static>> {
    let mut documents = Yaml::load_from_str(text)?;
    ensure!(documents.len() == 1, "{} documents", documents.len());
    documents.pop().context("no document")
}

#[test]
fn the_endpoints_are_where_the_agent_serves() -> Result<()> {
    let (kubelet, crictl) = (document(KUBELET)?, document(CRICTL)?);
    let text = |yaml: &Yaml<'_>, key: &str| yaml[key].as_str().map(str::to_owned);
    let endpoint = text(&kubelet, "containerRuntimeEndpoint").context("no endpoint")?;
    assert!(
        DEFAULTS.contains(&format!("listen = [\"{endpoint}\"]")),
        "the agent does not listen on {endpoint} by default"
    );
    for key in ["runtime-endpoint", "image-endpoint"] {
        assert_eq!(text(&crictl, key), Some(endpoint.clone()), "{key}");
    }
    Ok(())
}

#[test]
fn a_kubelet_starts_on_either_version_of_cgroups() -> Result<()> {
    let kubelet = document(KUBELET)?;
    assert_eq!(kubelet["kind"].as_str(), Some("KubeletConfiguration"));
    assert_eq!(
        kubelet["apiVersion"].as_str(),
        Some("kubelet.config.k8s.io/v1beta1")
    );
    assert_eq!(kubelet["failCgroupV1"].as_bool(), Some(false));
    // Asked of the agent; said twice, it could differ.
    assert!(kubelet.as_mapping_get("cgroupDriver").is_none());
    Ok(())
}

#[test]
fn its_configuration_holds_as_it_is() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (holds, said) = checked(directory.path(), OURS)?;
    assert_eq!((holds, said.as_str()), (true, ""));
    Ok(())
}

#[tokio::test]
async fn the_agent_takes_its_configuration() -> Result<()> {
    let line = OURS.lines().find(|line| line.starts_with("cri = "));
    let options = harness::agent::Options::default().with("network", line.context("no mode")?);
    harness::agent::Agent::start_with(options).await?.finish()
}

#[test]
fn neither_side_takes_the_other_down() {
    let lines: Vec<&str> = DROP_IN.lines().collect();
    assert!(
        lines.contains(&"After=node-agent.service") && lines.contains(&"Wants=node-agent.service")
    );
    assert!(!lines.iter().any(|line| {
        ["Requires=", "BindsTo=", "PartOf="]
            .iter()
            .any(|word| line.starts_with(word))
    }));
}
