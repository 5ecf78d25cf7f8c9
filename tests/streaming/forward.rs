//! Port-forward: into the pod's own network, many connections at once.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use harness::wait;
use proto::cri::{ContainerStatusRequest, PortForwardRequest};
use serde_json::{Value, json};

use crate::{Setting, script};

/// A `kubectl port-forward` that listens; ends when it is dropped.
struct Forward {
    child: Child,
    port: u16,
}

impl Forward {
    fn start(setting: &Setting, sockets: bool, port: u16) -> Result<Self> {
        let mut kubectl = setting.cluster.kubectl(sockets);
        kubectl.args(["port-forward", "pod", &format!(":{port}")]);
        let mut child = kubectl
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut stdout = child.stdout.take().context("no stdout")?;
        let mut text = String::new();
        let mut byte = [0];
        while !text.ends_with('\n') && stdout.read(&mut byte)? == 1 {
            text.push(char::from(byte[0]));
        }
        // It goes on writing a line for each connection.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        let after = text.split("127.0.0.1:").nth(1).context(text.clone())?;
        let port = after.split(' ').next().context(text.clone())?.parse()?;
        Ok(Self { child, port })
    }

    fn ask(&self, question: &[u8]) -> Result<Vec<u8>> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port))?;
        socket.write_all(question)?;
        // The far side sees the end of our side, and answers after it.
        socket.shutdown(Shutdown::Write)?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Clients at a time.
const CLIENTS: usize = 39;

/// In the pod's network, serves `count` connections side by side. Returns once it listens.
///
/// The network servers of busybox reset connections that come close together.
async fn listen(
    setting: &Setting,
    port: u16,
    count: usize,
    answer: fn(TcpStream) -> Result<()>,
) -> Result<JoinHandle<Result<()>>> {
    let request = ContainerStatusRequest {
        container_id: setting.container.clone(),
        verbose: true,
    };
    let mut runtime = setting.node.cri.runtime.clone();
    let told = runtime.container_status(request).await?.into_inner().info;
    let pid = told.get("pid").context("no process")?;
    let network = File::open(format!("/proc/{pid}/ns/net"))?;
    let (ready, is_ready) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || -> Result<()> {
        nix::sched::setns(&network, nix::sched::CloneFlags::CLONE_NEWNET)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        ready.send(())?;
        let served: Vec<_> = listener
            .incoming()
            .take(count)
            .map(|client| std::thread::spawn(move || answer(client?)))
            .collect();
        for one in served {
            one.join()
                .map_err(|_| anyhow::anyhow!("a connection's thread panicked"))??;
        }
        Ok(())
    });
    is_ready.recv().context("listen in the pod's network")?;
    Ok(server)
}

/// Reads a connection to its end, then tells how many bytes came.
fn count_bytes(mut client: TcpStream) -> Result<()> {
    let mut question = Vec::new();
    client.read_to_end(&mut question)?;
    writeln!(client, "{}", question.len())?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_at_once_end_on_both_sides() -> Result<()> {
    let setting = Setting::start(&["/bin/pause"]).await?;
    let server = listen(&setting, 8080, 2 * CLIENTS, count_bytes).await?;
    for sockets in [false, true] {
        let forward = Forward::start(&setting, sockets, 8080)?;
        std::thread::scope(|scope| -> Result<()> {
            let asking: Vec<_> = (1..=CLIENTS)
                .map(|number| {
                    let forward = &forward;
                    scope.spawn(move || (number, forward.ask(&vec![b'x'; number * 5000])))
                })
                .collect();
            for asked in asking {
                let (number, answer) = asked.join().expect("it does not panic");
                assert_eq!(
                    String::from_utf8_lossy(&answer?),
                    format!("{}\n", number * 5000)
                );
            }
            Ok(())
        })?;
    }
    server.join().expect("it does not panic")?;
    setting.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_on_ipv6_loopback_is_reached() -> Result<()> {
    let line = "echo page > /page; exec httpd -f -p [::1]:8080 -h /";
    let setting = Setting::start(&["/bin/sh", "-c", line]).await?;
    let forward = Forward::start(&setting, false, 8080)?;
    wait::until("the server answers", || {
        let answer = forward.ask(b"GET /page HTTP/1.0\r\n\r\n")?;
        Ok(answer.ends_with(b"page\n").then_some(()))
    })?;
    drop(forward);
    setting.finish().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_where_nobody_listens_is_an_error() -> Result<()> {
    let setting = Setting::start(&["/bin/pause"]).await?;
    for sockets in [false, true] {
        let mut kubectl = setting.cluster.kubectl(sockets);
        kubectl.args(["port-forward", "pod", ":81"]);
        let mut child = kubectl
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdout = child.stdout.take().context("no stdout")?;
        let mut line = vec![0; 200];
        let count = stdout.read(&mut line)?;
        let text = String::from_utf8_lossy(&line[..count]).into_owned();
        let after = text.split("127.0.0.1:").nth(1).context(text.clone())?;
        let port: u16 = after.split(' ').next().context(text.clone())?.parse()?;
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        assert_eq!(answer, b"");
        let mut stderr = child.stderr.take().context("no stderr")?;
        let mut said = String::new();
        let mut byte = [0];
        while !said.contains("refused") && stderr.read(&mut byte)? == 1 {
            said.push(char::from(byte[0]));
        }
        assert!(said.contains("error forwarding port 81"), "{said}");
        let _ = child.kill();
        child.wait()?;
    }
    setting.finish().await
}

/// Gives back the first line of a connection.
fn echo_line(client: TcpStream) -> Result<()> {
    let mut line = String::new();
    let mut reader = BufReader::new(&client);
    reader.read_line(&mut line)?;
    (&client).write_all(line.as_bytes())?;
    // Its client ends it.
    reader.read_line(&mut line)?;
    Ok(())
}

/// Forwards ports over one WebSocket, and returns what came by which channel.
async fn forward_ports(
    setting: &Setting,
    protocol: &str,
    ports: std::ops::RangeInclusive<u16>,
) -> Result<Value> {
    let request = PortForwardRequest {
        pod_sandbox_id: setting.sandbox.id.clone(),
        port: ports.clone().map(i32::from).collect(),
    };
    let mut runtime = setting.node.cri.runtime.clone();
    let url = runtime.port_forward(request).await?.into_inner().url;
    let count = ports.count().to_string();
    script("socket_forward.py", &[&url, protocol, &count])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_has_channels_of_its_own_for_each_port() -> Result<()> {
    let setting = Setting::start(&["/bin/pause"]).await?;
    for (protocol, first, most) in [
        ("v4.channel.k8s.io", 8100, 128),
        ("v4.base64.channel.k8s.io", 8300, 40),
    ] {
        let last = first + most - 1;
        let one = listen(&setting, first, 1, echo_line).await?;
        let two = listen(&setting, last, 1, echo_line).await?;
        let seen = forward_ports(&setting, protocol, first..=last).await?;
        let channel = |number: u16| seen[number.to_string()].clone();
        for (number, wanted) in [
            (0, json!([first, "line 0\n"])),
            (1, json!([first, ""])),
            (2, json!([first + 1, ""])),
            (2 * most - 2, json!([last, format!("line {}\n", most - 1)])),
        ] {
            assert_eq!(channel(number), wanted, "{protocol}: {seen}");
        }
        let told = channel(3)[1].as_str().unwrap_or_default().to_owned();
        let wanted = format!("error forwarding port {}", first + 1);
        assert!(told.contains(&wanted), "{seen}");
        // One more has no channel, and is not left out silently.
        let refused = forward_ports(&setting, protocol, first..=last + 1).await;
        let Err(refused) = refused else {
            anyhow::bail!("{protocol}: {} ports were taken", most + 1);
        };
        let refused = format!("{refused:#}");
        assert!(refused.contains("400 Bad Request"), "{refused}");
        for server in [one, two] {
            server.join().expect("it does not panic")?;
        }
    }
    setting.finish().await
}
