use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Stdio};

use expect_test::expect;

use crate::support::Agent;
use crate::support::samples::web;

fn agent() -> Agent {
    Agent::new(|fake| {
        fake.container(web());
    })
}

/// A `ctl` that goes on until it is dropped.
struct Forwarding(Child);

impl Drop for Forwarding {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn connections_are_carried_with_both_their_ends() {
    let agent = agent();
    let mut ctl = agent.ctl("port-forward web :80");
    let child = ctl.command.stdout(Stdio::piped()).spawn();
    let mut forwarding = Forwarding(child.expect("ctl starts"));
    let stdout = forwarding.0.stdout.take().expect("a pipe");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let address = line.strip_suffix(" -> 80\n").expect("where it listens");
    for text in ["one", "two"] {
        let mut socket = TcpStream::connect(address).expect("it listens");
        socket.write_all(text.as_bytes()).expect("it reads");
        socket.shutdown(Shutdown::Write).expect("our end");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("its end");
        assert_eq!(answer, text);
    }
    assert_eq!(
        agent.requests(),
        ["Inspect web", "Forward web 80", "Forward web 80"]
    );
}

#[test]
fn what_cannot_be_is_told_at_once() {
    agent().ctl("port-forward wob 80").check(&expect![[r#"
        exit 1
        --- stderr
        error: there is no container wob
        hint: did you mean `web`?
    "#]]);
    agent()
        .ctl("port-forward web 80/udp")
        .check(&expect![[r#"
            exit 2
            --- stderr
            error: invalid value '80/udp' for '<[[LOCAL]:]PORT>...': "80/udp" is not [[LOCAL_PORT]:]CONTAINER_PORT

            For more information, try '--help'.
        "#]]);
    agent()
        .ctl("port-forward --address 192.0.2.1 web 80")
        .check(&expect![[r#"
            exit 1
            --- stderr
            error: cannot listen on 192.0.2.1:80
              Cannot assign requested address (os error 99)
            hint: choose another local port, or leave it out, as in :80, to get a free one
        "#]]);
}
