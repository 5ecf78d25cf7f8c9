//! The composition: opens every mechanism, recovers, serves, stops.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use agent_api::server::Readiness;
use agent_api::{Calls, Gate, Identity, Reporter, ServingStatus};
use agent_apparmor::Apparmor;
use agent_cgroup::{CgroupTree, Claim, ClaimError};
use agent_content::ContentStore;
use agent_core::gc;
use agent_core::image::Images;
use agent_core::metrics::Phases;
use agent_core::node::Node;
use agent_core::recovery::{Recovered, recover};
use agent_core::services::{Parts, Services};
use agent_core::stats;
use agent_network::Network;
use agent_selinux::Selinux;
use agent_shim_client::{Launcher, LauncherConfig};
use agent_snapshot::Snapshots;
use agent_store::{OpenError, Store};
use anyhow::Context;
use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::config::Config;
use crate::host;
use crate::measured::Measured;
use crate::memory;
use crate::records::{NetworkLedger, StoredImages};
use crate::signals::Stop;
use crate::socket::{self, Bound};
use crate::streams::NodeStreams;

/// How long an agent that is ending may hold the records.
const HANDOVER: Duration = Duration::from_secs(5);

/// How long clients may go on once the agent was told to stop.
const DRAIN: Duration = Duration::from_secs(1);

/// Serves until told to stop; containers go on.
pub(crate) async fn serve(config: Config) -> anyhow::Result<()> {
    let paths = config.settings.paths.clone();
    for directory in [&paths.root, &paths.state, &paths.sandboxes()] {
        make_private(directory)?;
    }
    let boot_id = host::boot_id(&config.boot_id_file)?;
    // The lock comes first: an agent that does not get it must not touch the other's sockets.
    let store = Arc::new(open_store(&paths.root).await?);
    let bound: Vec<Bound> = config
        .listen
        .iter()
        .map(|path| socket::bind(path, config.socket_group.as_deref()))
        .collect::<Result<_, _>>()?;
    let streaming = agent_streaming::server::bind(config.streaming.clone()).await?;
    let measured = Measured::bind(config.metrics.as_ref()).await?;
    let identity = identity(&config, streaming.base_url());
    let cgroups = CgroupTree::open(config.cgroup.clone())?;
    let _claim = claim(&cgroups).await?;
    let services = open(config, store, cgroups, &boot_id, measured.phases()).await?;
    let node = Node::new(Arc::new(services));
    let servers = Servers::start(&node, identity, bound, measured.calls()).await;
    let recovered = recover(&node, boot_id).await?;
    announce(&recovered);
    // Whoever hears that it serves may tell it to stop at once.
    let stop = Stop::listen()?;
    servers.open().await;
    let housekeeping = tokio::spawn(gc::run(node.clone()));
    let asking = {
        let node = node.clone();
        tokio::spawn(async move { node.services().ask_runtimes().await })
    };
    let memory = tokio::spawn(memory::give_back());
    let sampling = tokio::spawn(stats::run(node.clone()));
    let measuring = tokio::spawn(measured.serve(node.clone()));
    let stop_streams = CancellationToken::new();
    let backend = Arc::new(NodeStreams(node.clone()));
    let streams = tokio::spawn(streaming.serve(backend, stop_streams.clone()));
    let result = servers.run(stop).await;
    stop_streams.cancel();
    housekeeping.abort();
    asking.abort();
    memory.abort();
    sampling.abort();
    measuring.abort();
    streams.abort();
    node.end_ahead().await;
    gc::last(&node, DRAIN).await;
    if node.is_idle() {
        take_network_down(&node.services().network).await;
        node.leave().await;
    }
    tracing::info!("stopped, containers go on");
    result
}

/// Takes the bridge, the rules and the changed settings off the host: no sandbox needs them.
async fn take_network_down(network: &Network) {
    if let Err(errors) = network.leave().await {
        tracing::warn!(error = %agent_telemetry::chain(&errors), "network not taken down in full");
    }
}

/// Makes a directory that only root may look into.
fn make_private(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir_all(path)
        .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o711)))
        .with_context(|| format!("directory {} could not be made", path.display()))
}

fn announce(recovered: &Recovered) {
    tracing::info!(
        running = recovered.running,
        resting = recovered.resting,
        undone = recovered.undone,
        rebooted = recovered.rebooted,
        "recovered"
    );
}

fn identity(config: &Config, streams: String) -> Identity {
    let uname = rustix::system::uname();
    let subnets = [
        config.network.ipv4_subnet.map(|subnet| subnet.to_string()),
        config.network.ipv6_subnet.map(|subnet| subnet.to_string()),
    ];
    Identity {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: option_env!("NODE_AGENT_COMMIT")
            .unwrap_or_default()
            .to_owned(),
        host: uname.nodename().to_string_lossy().into_owned(),
        kernel: uname.release().to_string_lossy().into_owned(),
        os: host::operating_system(),
        bridge: config.network.bridge.clone(),
        subnets: subnets.into_iter().flatten().collect(),
        streams,
    }
}

/// Opens the records; waits for an agent that is just ending.
async fn open_store(root: &Path) -> anyhow::Result<Store> {
    let deadline = tokio::time::Instant::now() + HANDOVER;
    loop {
        match Store::open(root) {
            Err(OpenError::Locked { .. }) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(HANDOVER / 100).await;
            }
            result => return Ok(result?),
        }
    }
}

/// Takes the cgroup parent; waits for an agent that is just ending.
async fn claim(cgroups: &CgroupTree) -> anyhow::Result<Claim> {
    let deadline = tokio::time::Instant::now() + HANDOVER;
    loop {
        match cgroups.claim() {
            Err(ClaimError::Taken { .. }) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(HANDOVER / 100).await;
            }
            result => {
                return result.context(
                    "agents side by side need cgroup.parent, network.bridge, network.table and \
                     network.subnets of their own",
                );
            }
        }
    }
}

/// Opens every mechanism.
async fn open(
    config: Config,
    store: Arc<Store>,
    cgroups: CgroupTree,
    boot_id: &str,
    phases: Phases,
) -> anyhow::Result<Services> {
    let paths = &config.settings.paths;
    if let Some(aside) = store.set_aside() {
        tracing::error!(path = %aside.display(), "run records were damaged and set aside");
    }
    let content = ContentStore::open(&paths.root.join("content"), boot_id)?;
    let (snapshots, found) = Snapshots::open(&paths.root.join("snapshots"), boot_id)?;
    if !found.dropped.is_empty() {
        tracing::warn!(
            layers = found.dropped.len(),
            "layers that a power cut may have cut short are unpacked again when they are needed"
        );
    }
    let launcher = Launcher::start(LauncherConfig {
        binary: host::shim(config.shim)?,
        root: paths.root.clone(),
        state: paths.state.clone(),
        cgroup_directories: cgroups.create_shims()?.directories,
    })
    .await?;
    let ledger = NetworkLedger(Arc::clone(&store));
    let changes = ledger.load()?;
    let network = Network::open(config.network, changes, Arc::new(ledger))?;
    let registry = agent_registry::Client::new(config.registry)?;
    let images = Images::open(
        config.images,
        content,
        snapshots.clone(),
        registry,
        Box::new(StoredImages(Arc::clone(&store))),
        phases.clone(),
    )?;
    Ok(Services::new(
        config.settings,
        Parts {
            store,
            images,
            snapshots,
            network,
            cni: agent_cni::Cni::new(config.cni),
            cgroups,
            seccomp: agent_seccomp::Cache::new(agent_seccomp::KernelVersion::running()),
            apparmor: apparmor(),
            selinux: Selinux::default(),
            launcher,
            last_capability: host::last_capability()?,
            masked_paths: host::masked_paths(Path::new(host::PROCESSORS)),
            phases,
        },
    ))
}

/// Finds AppArmor, and has the default profile loaded beside everything else.
fn apparmor() -> Arc<Apparmor> {
    let apparmor = Arc::new(Apparmor::default());
    if apparmor.is_enabled() {
        let apparmor = Arc::clone(&apparmor);
        tokio::task::spawn_blocking(move || {
            if let Err(error) = apparmor.default_profile() {
                tracing::warn!(error = %agent_telemetry::chain(&error), "containers that name no AppArmor profile have none");
            }
        });
    }
    apparmor
}

/// Tells systemd, where it started us.
fn tell_systemd(state: &NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(std::slice::from_ref(state)) {
        tracing::warn!(error = %error, "systemd was not told");
    }
}

/// Tells health checks of the node and of each service.
async fn report(reporter: &Reporter, status: ServingStatus) {
    for service in std::iter::once("").chain(agent_api::SERVICES) {
        reporter.set_service_status(service, status).await;
    }
}

/// The servers, one for each socket. Until [`Servers::open`] every call but those of health and
/// reflection is answered with `UNAVAILABLE`.
struct Servers {
    running: JoinSet<Result<(), tonic::transport::Error>>,
    readiness: watch::Sender<Readiness>,
    reporter: Reporter,
    stop: watch::Sender<bool>,
    paths: Vec<PathBuf>,
}

impl Servers {
    async fn start(node: &Node, identity: Identity, bound: Vec<Bound>, calls: Arc<Calls>) -> Self {
        let (readiness, ready) = watch::channel(Readiness::Recovering);
        let (routes, reporter) = agent_api::router(node, identity);
        // Until somebody says otherwise it would be told that all is well.
        report(&reporter, ServingStatus::NotServing).await;
        let (stop, stopping) = watch::channel(false);
        let mut running = JoinSet::new();
        let mut paths = Vec::new();
        for Bound { listener, path } in bound {
            tracing::info!(path = %path.display(), "listening");
            paths.push(path);
            let mut stopping = stopping.clone();
            let server = Server::builder()
                .layer(Gate::new(ready.clone(), Arc::clone(&calls)))
                .add_routes(routes.clone())
                .serve_with_incoming_shutdown(UnixListenerStream::new(listener), async move {
                    // The sender lives until every server has ended.
                    let _ = stopping.wait_for(|stop| *stop).await;
                });
            running.spawn(server);
        }
        Self {
            running,
            readiness,
            reporter,
            stop,
            paths,
        }
    }

    /// Lets every call through.
    async fn open(&self) {
        self.readiness.send_replace(Readiness::Serving);
        report(&self.reporter, ServingStatus::Serving).await;
        tracing::info!("serving");
        tell_systemd(&NotifyState::Ready);
    }

    /// Serves until told to stop.
    async fn run(mut self, mut stop: Stop) -> anyhow::Result<()> {
        tokio::select! {
            () = stop.told() => {}
            ended = self.running.join_next() => if let Some(ended) = ended { ended?? },
        }
        tell_systemd(&NotifyState::Stopping);
        report(&self.reporter, ServingStatus::NotServing).await;
        self.stop.send_replace(true);
        let drained = async { while self.running.join_next().await.is_some() {} };
        // Clients that stay connected, such as event readers, are cut off.
        let _ = tokio::time::timeout(DRAIN, drained).await;
        for path in self.paths {
            // The next agent replaces it anyway.
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    }
}
