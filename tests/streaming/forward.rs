//! Port-forward: into the pod's own network, many connections at once.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Stdio};

use anyhow::{Context as _, Result};
use harness::wait;

use crate::Setting;

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

/// Serves connections that read to the end of what the client sends, then answer.
const SERVER: &str = "exec nc -ll -p 8080 -e wc -c";

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_at_once_end_on_both_sides() -> Result<()> {
    let setting = Setting::start(&["/bin/sh", "-c", SERVER]).await?;
    for sockets in [false, true] {
        let forward = Forward::start(&setting, sockets, 8080)?;
        wait::until("the server listens", || {
            Ok((forward.ask(b"")? == b"0\n").then_some(()))
        })?;
        std::thread::scope(|scope| -> Result<()> {
            let asking: Vec<_> = (1..40_usize)
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
