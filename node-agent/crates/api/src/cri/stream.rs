//! URLs of streams: exec, attach and port-forward.

use agent_core::exec::ExecSpec;
use agent_core::ticket::TicketError;
use agent_shim_client::Attach;
use proto::cri;
use tonic::Status;

use super::{Cri, OWNER};
use crate::status;

/// What is wrong with the streams that are asked for, if anything.
fn checked(streams: Attach, terminal: bool) -> Result<Attach, Status> {
    if terminal && streams.stderr {
        return Err(status::invalid("tty and stderr cannot both be set"));
    }
    if !(streams.stdin || streams.stdout || streams.stderr) {
        return Err(status::invalid(
            "one of stdin, stdout and stderr must be set",
        ));
    }
    Ok(streams)
}

impl Cri {
    fn url(&self, kind: &str, token: Result<String, TicketError>) -> Result<String, Status> {
        let token = token.map_err(|error| status::of(&error))?;
        Ok(format!("{}/{kind}/{token}", self.identity.streams))
    }

    pub(super) fn exec_url(&self, request: cri::ExecRequest) -> Result<cri::ExecResponse, Status> {
        if request.cmd.is_empty() {
            return Err(status::invalid("cmd is empty"));
        }
        let streams = Attach {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
        };
        let streams = checked(streams, request.tty)?;
        let spec = ExecSpec {
            command: request.cmd,
            // Its client tells the size once it is connected.
            terminal: request.tty.then_some((0, 0)),
            stdin: request.stdin,
            ..ExecSpec::default()
        };
        let token = self
            .node
            .exec_ticket(OWNER, &request.container_id, spec, streams);
        let url = self.url("exec", token)?;
        Ok(cri::ExecResponse { url })
    }

    pub(super) fn attach_url(
        &self,
        request: &cri::AttachRequest,
    ) -> Result<cri::AttachResponse, Status> {
        let streams = Attach {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
        };
        let streams = checked(streams, request.tty)?;
        let token = self
            .node
            .attach_ticket(OWNER, &request.container_id, streams, request.tty);
        let url = self.url("attach", token)?;
        Ok(cri::AttachResponse { url })
    }

    pub(super) fn port_forward_url(
        &self,
        request: &cri::PortForwardRequest,
    ) -> Result<cri::PortForwardResponse, Status> {
        let port = |port: &i32| {
            let port = u16::try_from(*port).ok().filter(|port| *port != 0);
            port.ok_or_else(|| status::invalid("port is not between 1 and 65535"))
        };
        let ports = request.port.iter().map(port).collect::<Result<_, _>>()?;
        let token = self
            .node
            .port_forward_ticket(OWNER, &request.pod_sandbox_id, ports);
        let url = self.url("portforward", token)?;
        Ok(cri::PortForwardResponse { url })
    }
}
