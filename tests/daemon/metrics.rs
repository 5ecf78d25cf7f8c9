//! Metrics of the agent itself, and what is drawn from them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use harness::agent::{Agent, Options};
use harness::http::request;
use harness::node::Node;

/// What the repository says about metrics: names in these must exist.
const ABOUT: [&str; 3] = [
    "../deploy/monitoring/grafana-dashboard.json",
    "../deploy/monitoring/prometheus-rules.yaml",
    "../node-agent/docs/metrics.md",
];

/// Returns where the agent says that it serves metrics.
fn address(agent: &Agent) -> Result<SocketAddr> {
    let log = agent.log();
    let line = log.lines().find(|line| line.contains("metrics served"));
    let line = line.with_context(|| format!("nothing about metrics in {log}"))?;
    let text = line.rsplit_once("address=").context("no address")?.1;
    text.trim()
        .parse()
        .with_context(|| format!("{text} is no address"))
}

fn read(agent: &Agent) -> Result<String> {
    let answer = request(address(agent)?, "GET", "/metrics", &[], &[])?;
    ensure!(answer.status == 200, "{}", answer.status);
    let kind = answer.header("content-type").unwrap_or_default();
    ensure!(kind.starts_with("application/openmetrics-text"), "{kind}");
    Ok(String::from_utf8(answer.body)?)
}

/// Returns the value of a metric with these labels.
fn value(text: &str, metric: &str) -> Result<f64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    let line = line.with_context(|| format!("{metric} is not in {text}"))?;
    Ok(line.parse()?)
}

/// Returns the words of a text that are names of metrics of ours, without what a histogram adds.
fn names(text: &str) -> BTreeSet<String> {
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let ours = |word: &&str| {
        let ours = ["node_agent_", "process_"]
            .iter()
            .any(|start| word.starts_with(start));
        ours && word.matches('_').count() >= 2
    };
    let bare = |word: &str| {
        let ends = ["_bucket", "_count", "_sum"];
        let end = ends.iter().find_map(|end| word.strip_suffix(end));
        end.unwrap_or(word).to_owned()
    };
    text.split(word).filter(ours).map(bare).collect()
}

#[tokio::test]
async fn what_is_done_is_measured_and_every_name_in_use_exists() -> Result<()> {
    let options = Options::default().with("metrics", "listen = \"127.0.0.1:0\"");
    let node = Node::start_with(options).await?;
    let sandbox = node.sandbox("pod").await?;
    let id = node.run(&sandbox, "main", &["/bin/pause"]).await?;
    assert_eq!(node.exec(&id, "echo x").await?, "x\n");
    node.cri
        .sandbox_status("0123456789")
        .await
        .expect_err("there is none");
    let text = read(&node.agent)?;
    for (metric, least) in [
        ("node_agent_sandboxes{owner=\"cri\",state=\"ready\"}", 1.0),
        (
            "node_agent_containers{owner=\"cri\",state=\"running\"}",
            1.0,
        ),
        ("node_agent_images", 1.0),
        ("node_agent_network_addresses_in_use", 1.0),
        (
            "node_agent_pod_start_phase_seconds_count{phase=\"launch\"}",
            1.0,
        ),
        (
            "node_agent_pod_start_phase_seconds_count{phase=\"network\"}",
            1.0,
        ),
        (
            "node_agent_container_start_phase_seconds_count{phase=\"create\"}",
            1.0,
        ),
        (
            "node_agent_container_start_phase_seconds_count{phase=\"start\"}",
            1.0,
        ),
        ("node_agent_exec_phase_seconds_count{phase=\"run\"}", 1.0),
        (
            "node_agent_image_pull_phase_seconds_count{phase=\"layers\"}",
            1.0,
        ),
        (
            "node_agent_rpc_requests_total{method=\"runtime.v1.RuntimeService/RunPodSandbox\",code=\"OK\"}",
            1.0,
        ),
        (
            "node_agent_rpc_requests_total{method=\"runtime.v1.RuntimeService/PodSandboxStatus\",code=\"NOT_FOUND\"}",
            1.0,
        ),
        ("process_resident_memory_bytes", 1e6),
        ("process_open_fds", 5.0),
    ] {
        let found = value(&text, metric)?;
        assert!(found >= least, "{metric} is {found}");
    }
    assert!(text.ends_with("# EOF\n"));

    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let live: BTreeSet<_> = samples
        .flat_map(|line| names(line.split(['{', ' ']).next().unwrap_or_default()))
        .collect();
    for file in ABOUT {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let about = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let named = names(&about);
        assert!(!named.is_empty(), "{file} names no metric");
        let missing: Vec<_> = named.difference(&live).collect();
        assert_eq!(
            missing,
            Vec::<&String>::new(),
            "{file} names what is not there"
        );
    }
    let docs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(ABOUT[2]);
    let docs = names(&std::fs::read_to_string(docs)?);
    let unknown: Vec<_> = live.difference(&docs).collect();
    assert_eq!(unknown, Vec::<&String>::new(), "not in the list of metrics");
    node.finish().await
}

#[tokio::test]
async fn metrics_are_served_over_https_with_a_certificate() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
    let made = Command::new("openssl")
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=node -addext subjectAltName=IP:127.0.0.1".split(' '))
        .args(["-keyout", &file("key.pem"), "-out", &file("cert.pem")])
        .output()?;
    ensure!(made.status.success(), "{made:?}");
    let options = Options::default()
        .with("metrics", "listen = \"127.0.0.1:0\"")
        .with(
            "metrics",
            format!("tls_certificate = \"{}\"", file("cert.pem")),
        )
        .with("metrics", format!("tls_key = \"{}\"", file("key.pem")));
    let agent = Agent::start_with(options).await?;
    let url = format!("https://{}/metrics", address(&agent)?);
    let answer = Command::new("curl")
        .args([
            "--silent",
            "--fail",
            "--noproxy",
            "*",
            "--cacert",
            &file("cert.pem"),
            &url,
        ])
        .output()?;
    ensure!(answer.status.success(), "{answer:?}");
    let text = String::from_utf8(answer.stdout)?;
    assert!(value(&text, "node_agent_images")? < 1.0);
    // Plain HTTP gets nothing.
    let plain = request(address(&agent)?, "GET", "/metrics", &[], &[]);
    assert!(plain.is_err(), "{plain:?}");
    agent.finish()
}
