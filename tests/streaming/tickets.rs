//! Tickets: once, soon, and for what they are.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, Result};
use proto::cri::{AttachRequest, ExecRequest, PortForwardRequest};
use tonic::Code;

use crate::Setting;

/// Sends a request and returns the first line of the answer.
fn ask(url: &str, kind: Option<&str>, headers: &str) -> Result<String> {
    let rest = url.strip_prefix("http://").context("no http URL")?;
    let (host, path) = rest.split_once('/').context("no path")?;
    let path = kind.map_or(path.to_owned(), |kind| {
        format!("{kind}/{}", path.rsplit('/').next().unwrap_or_default())
    });
    let mut socket = TcpStream::connect(host)?;
    write!(
        socket,
        "POST /{path} HTTP/1.1\r\nHost: node\r\n{headers}\r\n"
    )?;
    let mut answer = vec![0; 64];
    let count = socket.read(&mut answer)?;
    let text = String::from_utf8_lossy(&answer[..count]).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

const SPDY: &str = "Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n";

#[tokio::test]
async fn a_ticket_is_good_once_and_for_what_it_is() -> Result<()> {
    let setting = Setting::start(&["/bin/pause"]).await?;
    let mut runtime = setting.node.cri.runtime.clone();
    let request = ExecRequest {
        container_id: setting.container.clone(),
        cmd: vec!["true".to_owned()],
        stdout: true,
        ..ExecRequest::default()
    };
    let url = runtime.exec(request).await?.into_inner().url;
    let missing = "HTTP/1.1 404 Not Found";
    assert_eq!(ask(&url, Some("attach"), SPDY)?, missing);
    assert_eq!(ask(&url, Some("portforward"), SPDY)?, missing);
    // What is refused before leaves it good.
    assert_eq!(ask(&url, None, "")?, "HTTP/1.1 400 Bad Request");
    let unknown = format!("{SPDY}X-Stream-Protocol-Version: v9.channel.k8s.io\r\n");
    assert_eq!(ask(&url, None, &unknown)?, "HTTP/1.1 403 Forbidden");
    assert_eq!(ask(&url, None, SPDY)?, "HTTP/1.1 101 Switching Protocols");
    assert_eq!(ask(&url, None, SPDY)?, missing);
    setting.finish().await
}

#[tokio::test]
async fn what_cannot_be_streamed_is_refused_at_once() -> Result<()> {
    let setting = Setting::start(&["/bin/pause"]).await?;
    let mut runtime = setting.node.cri.runtime.clone();
    let exec = ExecRequest {
        container_id: setting.container.clone(),
        cmd: vec!["true".to_owned()],
        ..ExecRequest::default()
    };
    let refused = |code, result: Result<(), tonic::Status>| {
        assert_eq!(result.err().map(|status| status.code()), Some(code));
    };
    let no_stream = runtime.exec(exec.clone()).await.map(drop);
    refused(Code::InvalidArgument, no_stream);
    let both = ExecRequest {
        tty: true,
        stderr: true,
        ..exec.clone()
    };
    refused(Code::InvalidArgument, runtime.exec(both).await.map(drop));
    let nothing = ExecRequest {
        cmd: Vec::new(),
        stdout: true,
        ..exec.clone()
    };
    refused(Code::InvalidArgument, runtime.exec(nothing).await.map(drop));
    let attach = AttachRequest {
        container_id: "none".to_owned(),
        stdout: true,
        ..AttachRequest::default()
    };
    refused(Code::NotFound, runtime.attach(attach).await.map(drop));
    let forward = |sandbox: &str, port| PortForwardRequest {
        pod_sandbox_id: sandbox.to_owned(),
        port: vec![port],
    };
    let port = runtime.port_forward(forward(&setting.sandbox.id, 70_000));
    refused(Code::InvalidArgument, port.await.map(drop));
    let none = runtime.port_forward(forward("none", 80)).await.map(drop);
    refused(Code::NotFound, none);
    setting.node.cri.stop_sandbox(&setting.sandbox.id).await?;
    let stopped = ExecRequest {
        stdout: true,
        ..exec
    };
    refused(
        Code::FailedPrecondition,
        runtime.exec(stopped).await.map(drop),
    );
    let stopped = runtime.port_forward(forward(&setting.sandbox.id, 80));
    refused(Code::FailedPrecondition, stopped.await.map(drop));
    setting.finish().await
}
