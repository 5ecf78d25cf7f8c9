//! `ctl port-forward`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use anyhow::{Context as _, Result};
use harness::node::Node;
use harness::wait;

/// A `ctl` that goes on until it is dropped.
struct Forwarding(Child);

impl Drop for Forwarding {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_port_of_the_containers_loopback_is_reached() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let serve = "echo page >/page; exec httpd -f -p 127.0.0.1:8080 -h /";
    ctl.ok(&["run", "-d", "--name", "one", &node.image, "sh", "-c", serve])?;
    let mut forwarding = Forwarding(
        ctl.command(&["port-forward", "one", ":8080", ":81"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?,
    );
    let mut lines = BufReader::new(forwarding.0.stdout.take().context("no stdout")?).lines();
    let mut address = || -> Result<String> {
        let line = lines.next().context("ctl has ended")??;
        Ok(line.split(' ').next().unwrap_or_default().to_owned())
    };
    let (served, nobody) = (address()?, address()?);
    wait::until("the server answers", || {
        let mut socket = TcpStream::connect(&served)?;
        std::io::Write::write_all(&mut socket, b"GET /page HTTP/1.0\r\n\r\n")?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer)?;
        Ok(answer.ends_with(b"page\n").then_some(()))
    })?;
    // Where nobody listens, the client is let go and the reason is told.
    let mut answer = Vec::new();
    TcpStream::connect(&nobody)?.read_to_end(&mut answer)?;
    assert_eq!(answer, b"");
    let mut said = BufReader::new(forwarding.0.stderr.take().context("no stderr")?).lines();
    let told = |line: &std::io::Result<String>| {
        line.as_ref()
            .is_ok_and(|line| line.starts_with("error: cannot forward to port 81"))
    };
    assert!(said.any(|line| told(&line)));
    drop(forwarding);
    ctl.ok(&["rm", "-f", "one"])?;
    node.finish().await
}
