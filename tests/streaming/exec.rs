//! Exec over a WebSocket, by a client that is not `kubectl`: Python's websocket-client.

use anyhow::{Context as _, Result};
use proto::cri::ExecRequest;
use serde_json::Value;

use crate::{Setting, script};

/// Runs a shell line over a WebSocket and returns what the client saw.
async fn run(setting: &Setting, protocol: &str, line: &str, stdin: &str) -> Result<Value> {
    let request = ExecRequest {
        container_id: setting.container.clone(),
        cmd: ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
        stdin: !stdin.is_empty(),
        stdout: true,
        stderr: true,
        tty: false,
    };
    let mut runtime = setting.node.cri.runtime.clone();
    let url = runtime.exec(request).await?.into_inner().url;
    script("socket_client.py", &[&url, protocol, stdin])
}

#[tokio::test(flavor = "multi_thread")]
async fn every_protocol_carries_streams_and_the_end() -> Result<()> {
    let setting = Setting::start(&["/bin/pause"]).await?;
    // All but the last lack an end of input, so the command reads one line.
    for protocol in [
        "channel.k8s.io",
        "base64.channel.k8s.io",
        "v4.channel.k8s.io",
        "v4.base64.channel.k8s.io",
        "v5.channel.k8s.io",
    ] {
        let line = "read line; echo out $line; echo err >&2; exit 3";
        let seen = run(&setting, protocol, line, "in\n").await?;
        assert_eq!(
            (&seen["stdout"], &seen["stderr"]),
            (&"out in\n".into(), &"err\n".into()),
            "{protocol}"
        );
        let status = seen["status"].as_str().context("no status")?;
        if protocol.starts_with('v') {
            let status: Value = serde_json::from_str(status)?;
            assert_eq!(status["details"]["causes"][0]["message"], "3", "{protocol}");
        } else {
            assert_eq!(status, "command terminated with exit code 3", "{protocol}");
        }
    }
    setting.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fifth_version_ends_the_input() -> Result<()> {
    let setting = Setting::start(&["/bin/pause"]).await?;
    let seen = run(&setting, "v5.channel.k8s.io", "wc -c", "twelve bytes").await?;
    assert_eq!(seen["stdout"], "12\n");
    let status: Value = serde_json::from_str(seen["status"].as_str().context("no status")?)?;
    assert_eq!(status["status"], "Success");
    setting.finish().await
}
