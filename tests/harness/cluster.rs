//! A stand-in for a cluster's API server: the few answers that `kubectl` needs about pods, and
//! their streams, passed through to the node's own URLs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, bail};
use proto::cri::{AttachRequest, ExecRequest, PortForwardRequest};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::cri::Cri;

/// Longest head of a request.
const MAX_HEAD: usize = 64 << 10;

/// A pod that the server knows.
#[derive(Clone, Debug, Default)]
pub struct Pod {
    /// Id of its sandbox.
    pub sandbox: String,
    /// Ids of its containers by their names.
    pub containers: BTreeMap<String, String>,
    /// Whether its containers have an open input, and a terminal.
    pub interactive: bool,
}

type Pods = Arc<Mutex<BTreeMap<String, Pod>>>;

/// A running server; it ends when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    address: SocketAddr,
    pods: Pods,
    home: TempDir,
    serving: JoinHandle<()>,
}

fn lock(pods: &Pods) -> MutexGuard<'_, BTreeMap<String, Pod>> {
    pods.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cluster {
    /// Starts a server in front of a node.
    pub async fn start(cri: Cri) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let pods = Pods::default();
        let known = Arc::clone(&pods);
        let serving = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (cri, pods) = (cri.clone(), Arc::clone(&known));
                // A client that breaks off is the client's own affair.
                tokio::spawn(async move { drop(serve(client, &cri, &pods).await) });
            }
        });
        Ok(Self {
            address,
            pods,
            home: tempfile::tempdir().context("make kubectl's home")?,
            serving,
        })
    }

    /// Makes a pod known.
    pub fn add(&self, name: &str, pod: Pod) {
        lock(&self.pods).insert(name.to_owned(), pod);
    }

    /// Returns `kubectl`, pointed here; `sockets` says whether it tries WebSockets first, where it is new enough to know them.
    #[must_use]
    pub fn kubectl(&self, sockets: bool) -> Command {
        let mut command = Command::new("kubectl");
        command
            .env("HOME", self.home.path())
            .env("KUBECONFIG", "/dev/null")
            .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", sockets.to_string())
            .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", sockets.to_string())
            .arg(format!("--server=http://{}", self.address));
        command
    }

    /// Returns a directory that goes with the server.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.home.path()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The head of a request.
struct Head {
    path: String,
    query: Vec<(String, String)>,
    /// All lines but the first, as they came.
    lines: String,
    method: String,
}

impl Head {
    async fn read(client: &mut TcpStream) -> Result<Self> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            if bytes.len() > MAX_HEAD {
                bail!("the request has no end");
            }
            bytes.push(client.read_u8().await?);
        }
        let text = String::from_utf8(bytes)?;
        let (first, lines) = text.split_once("\r\n").context("no request line")?;
        let mut words = first.split(' ');
        let (method, target) = (words.next().context("no method")?, words.next());
        let target = target.context("no target")?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = query.split('&').filter_map(|pair| pair.split_once('='));
        Ok(Self {
            path: path.to_owned(),
            query: query.map(|(k, v)| (k.to_owned(), decoded(v))).collect(),
            lines: lines.to_owned(),
            method: method.to_owned(),
        })
    }

    fn all(&self, name: &str) -> Vec<String> {
        let values = self.query.iter().filter(|(known, _)| known == name);
        values.map(|(_, value)| value.clone()).collect()
    }

    fn is(&self, name: &str) -> bool {
        self.all(name)
            .first()
            .is_some_and(|value| value == "true" || value == "1")
    }
}

/// Undoes the encoding of a query.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: Option<u8>| char::from(byte.unwrap_or_default()).to_digit(16);
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let (high, low) = (hex(rest.next()), hex(rest.next()));
                let value = high.unwrap_or_default() * 16 + low.unwrap_or_default();
                bytes.push(u8::try_from(value).unwrap_or_default());
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn serve(mut client: TcpStream, cri: &Cri, pods: &Pods) -> Result<()> {
    let head = Head::read(&mut client).await?;
    let segments: Vec<&str> = head.path.trim_matches('/').split('/').collect();
    let answer = match segments.as_slice() {
        ["api"] => {
            json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
        }
        ["apis"] => json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []}),
        ["api", "v1"] => resources(),
        ["version"] => json!({"major": "1", "minor": "36", "gitVersion": "v1.36.0"}),
        ["api", "v1", "namespaces", _, "pods", name] => {
            let found = lock(pods).get(*name).map(|pod| described(name, pod));
            match found {
                Some(pod) => pod,
                None => return reply(&mut client, "404 Not Found", &missing(name)).await,
            }
        }
        ["api", "v1", "namespaces", _, "pods", name, verb] => {
            let pod = lock(pods).get(*name).cloned().context("no such pod")?;
            match url(cri, &pod, verb, &head).await {
                Ok(url) => return pass(client, &head, &url).await,
                Err(error) => {
                    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500,
                        "message": format!("{error:#}")});
                    return reply(&mut client, "500 Internal Server Error", &status).await;
                }
            }
        }
        _ => return reply(&mut client, "404 Not Found", &missing(&head.path)).await,
    };
    reply(&mut client, "200 OK", &answer).await
}

fn resources() -> Value {
    let verbs = json!(["get", "list", "create"]);
    let one = |name: &str, kind: &str| json!({"name": name, "singularName": "", "namespaced": true, "kind": kind, "verbs": verbs});
    json!({"kind": "APIResourceList", "groupVersion": "v1", "resources": [
        one("pods", "Pod"), one("pods/exec", "PodExecOptions"), one("pods/attach", "PodAttachOptions"),
        one("pods/portforward", "PodPortForwardOptions"),
    ]})
}

fn described(name: &str, pod: &Pod) -> Value {
    let containers: Vec<Value> = pod
        .containers
        .keys()
        .map(|name| json!({"name": name, "image": "test", "stdin": pod.interactive, "tty": pod.interactive}))
        .collect();
    json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "default", "uid": "uid"},
        "spec": {"containers": containers}, "status": {"phase": "Running"}})
}

fn missing(what: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
        "message": format!("{what} not found")})
}

async fn reply(client: &mut TcpStream, status: &str, body: &Value) -> Result<()> {
    let body = body.to_string();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    client.write_all(answer.as_bytes()).await?;
    Ok(client.shutdown().await?)
}

/// Asks the node for the URL of a stream.
async fn url(cri: &Cri, pod: &Pod, verb: &str, head: &Head) -> Result<String> {
    let mut runtime = cri.runtime.clone();
    let name = head.all("container").into_iter().next();
    let named = name.as_ref().and_then(|name| pod.containers.get(name));
    let container = named.or_else(|| pod.containers.values().next()).cloned();
    let container = container.unwrap_or_default();
    let (stdin, stdout) = (head.is("stdin"), head.is("stdout"));
    let (tty, stderr) = (head.is("tty"), head.is("stderr") && !head.is("tty"));
    Ok(match verb {
        "exec" => {
            let request = ExecRequest {
                container_id: container,
                cmd: head.all("command"),
                tty,
                stdin,
                stdout,
                stderr,
            };
            runtime.exec(request).await?.into_inner().url
        }
        "attach" => {
            let request = AttachRequest {
                container_id: container,
                stdin,
                tty,
                stdout,
                stderr,
            };
            runtime.attach(request).await?.into_inner().url
        }
        "portforward" => {
            let ports = head.all("ports").into_iter().chain(head.all("port"));
            let request = PortForwardRequest {
                pod_sandbox_id: pod.sandbox.clone(),
                port: ports.filter_map(|port| port.parse().ok()).collect(),
            };
            runtime.port_forward(request).await?.into_inner().url
        }
        other => bail!("{other} is no stream of a pod"),
    })
}

/// Passes the request on, and then every byte both ways.
async fn pass(mut client: TcpStream, head: &Head, url: &str) -> Result<()> {
    let rest = url.strip_prefix("http://").context("the URL is not http")?;
    let (host, path) = rest.split_once('/').context("the URL has no path")?;
    let mut node = TcpStream::connect(host).await?;
    let request = format!("{} /{path} HTTP/1.1\r\n{}", head.method, head.lines);
    node.write_all(request.as_bytes()).await?;
    copy_bidirectional(&mut client, &mut node).await?;
    Ok(())
}
