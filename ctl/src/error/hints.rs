//! What to do about an error, a line each.

use std::io;

use tonic::Code;

use super::AgentError;

pub(super) const LISTEN: &str =
    "choose another local port, or leave it out, as in :80, to get a free one";
pub(super) const INCOMPLETE: &str = "are agent and ctl of one version? `ctl version` tells";
pub(crate) const FILE: &str = "a path is taken from where ctl is run, and used as whoever runs it";
pub(super) const CREDENTIALS: &str =
    "it is docker's file of credentials; DOCKER_CONFIG names the directory of another";
pub(super) const OUTPUT: &str = "is there room where the output goes?";
pub(super) const RUNTIME: &str = "how many threads and files may this user have? `ulimit -a` tells";

/// How many containers are named as a choice.
const MAX_SHOWN: usize = 4;

/// Returns what to try where the agent cannot be reached, or has gone away.
pub(super) fn unreachable(source: &AgentError) -> Vec<String> {
    match source.io_kind() {
        Some(io::ErrorKind::PermissionDenied) => {
            vec!["run ctl as root, or as a member of the socket's group".into()]
        }
        _ => vec![
            "is node-agent running? `systemctl status node-agent` tells".into(),
            "another socket is named by -H/--host or NODE_AGENT_HOST".into(),
        ],
    }
}

/// Returns what may have been meant by an unknown name, or where to find out.
pub(super) fn near(what: &str, near: &[String]) -> Vec<String> {
    if !near.is_empty() {
        let names: Vec<_> = near.iter().map(|name| format!("`{name}`")).collect();
        return vec![format!("did you mean {}?", names.join(" or "))];
    }
    match what {
        "container" => vec!["`ctl ps -a` lists all containers".into()],
        "image" => vec!["`ctl images` lists the images of this node".into()],
        _ => vec!["`ctl ps -a` lists all containers, `ctl images` the images".into()],
    }
}

/// Returns what a refusal by itself suggests.
pub(super) fn refused(source: &AgentError) -> Vec<String> {
    if source.is_connection() {
        return vec!["containers go on without their agent; is it running again? `systemctl status node-agent` tells".into()];
    }
    match source.code() {
        Code::Unimplemented => vec!["is the agent older than ctl? `ctl version` tells".into()],
        Code::InvalidArgument | Code::OutOfRange => {
            vec!["what is refused is named last; the command's --help tells what it takes".into()]
        }
        Code::FailedPrecondition => {
            vec!["`ctl ps -a` shows what runs, `ctl inspect` what it is set up with".into()]
        }
        Code::ResourceExhausted => {
            vec![
                "what there is not enough of is named last; `ctl info` tells what the node has"
                    .into(),
            ]
        }
        Code::Cancelled | Code::DeadlineExceeded | Code::Unavailable => {
            vec!["it may work when tried again".into()]
        }
        _ => vec!["the agent's log may tell more: `journalctl -u node-agent`".into()],
    }
}

/// Returns what helps a container or a process that did not start.
pub(crate) fn not_started(source: &AgentError) -> Option<String> {
    use super::ExitStatus;
    match (source.process_code(), source.code()) {
        (Some(ExitStatus::NO_PROGRAM), _) => {
            Some("is it in the image? a name without a slash is looked for along its PATH".into())
        }
        (Some(_), _) => {
            Some("is it executable there, and what runs it (the program in its first line) too?".into())
        }
        (None, Code::InvalidArgument | Code::NotFound) => Some(
            "users, groups and directories are looked for in the container's own files".into(),
        ),
        // What a start can meet with are ports.
        (None, Code::AlreadyExists) => Some(
            "publish it on another port of the host, or give the container's alone to get a free one".into(),
        ),
        _ => None,
    }
}

/// Returns what helps a process that did not start in a directory of the user's choice.
pub(crate) fn not_started_there(source: &AgentError) -> Option<String> {
    let either = || "program and directory are looked for in the container's own files".into();
    source
        .process_code()
        .map(|_| either())
        .or_else(|| not_started(source))
}

/// Returns what helps a request that only a running container can serve.
pub(crate) fn not_running(source: &AgentError, container: &str) -> Option<String> {
    (source.code() == Code::FailedPrecondition)
        .then(|| format!("`ctl start {container}` starts it, `ctl ps -a` shows how it ended"))
}

/// Returns what to choose from where the start of an id fits several.
pub(crate) fn one_of(several: &[String]) -> String {
    let shown = several.iter().take(MAX_SHOWN).cloned();
    let more = several.len().saturating_sub(MAX_SHOWN);
    let more = (more > 0).then(|| format!("{more} more"));
    let all: Vec<_> = shown.chain(more).collect();
    format!("give more of the id, or the name: {}", all.join(", "))
}

/// Returns what helps a pull.
pub(crate) fn not_pulled(source: &AgentError) -> Option<String> {
    let hint = match source.code() {
        Code::NotFound => "are its name and its tag as the registry has them?",
        Code::Unavailable => {
            "does this node reach the registry? proxies are taken from the agent's environment"
        }
        Code::PermissionDenied | Code::Unauthenticated => {
            "does it exist, and are there credentials for its registry in ~/.docker/config.json?"
        }
        _ => return None,
    };
    Some(hint.into())
}
