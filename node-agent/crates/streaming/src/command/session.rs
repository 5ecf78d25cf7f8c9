//! One process and one client, from the first byte to the status.

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::pump;
use super::resize::Sizes;
use super::status::{self, End, Form};
use crate::backend::{Control, Failure, Process};
use crate::inlet::Inlet;
use crate::outlet::Outlet;

/// The client's side of the streams.
pub(super) struct Client {
    pub(super) stdin: Option<Inlet>,
    pub(super) resize: Option<Inlet>,
    pub(super) stdout: Option<Outlet>,
    pub(super) stderr: Option<Outlet>,
    /// Where the end is told.
    pub(super) error: Outlet,
    pub(super) form: Form,
    /// Set once the client has left.
    pub(super) gone: CancellationToken,
}

/// Carries everything until the process has ended or the client has left.
pub(super) async fn run(started: Result<Process, Failure>, client: Client) {
    let gone = client.gone.clone();
    let work = carry(started, client);
    tokio::select! {
        () = work => {}
        () = after(gone) => {}
    }
}

/// Returns some time after the client has left: by then everything about it has ended by itself,
/// but for a write that never ends.
async fn after(gone: CancellationToken) {
    gone.cancelled().await;
    tokio::time::sleep(crate::transport::LINGER).await;
}

async fn carry(started: Result<Process, Failure>, client: Client) {
    let Client {
        stdin,
        resize,
        stdout,
        stderr,
        error,
        form,
        gone,
    } = client;
    let process = match started {
        Ok(process) => process,
        Err(failure) => {
            tell(&[stdout, stderr], &error, form, &End::Failed(failure)).await;
            return;
        }
    };
    let mut control = process.control;
    let (ended, end_seen) = watch::channel(false);
    let mut pumps = JoinSet::new();
    for (fd, outlet) in [(process.stdout, stdout), (process.stderr, stderr)] {
        match (fd, outlet) {
            (Some(fd), outlet) => drop(pumps.spawn(pump::outward(fd, outlet, end_seen.clone()))),
            (None, Some(outlet)) => drop(pumps.spawn(async move {
                // Nothing will come on it. The client may have left.
                let _ = outlet.finish().await;
            })),
            (None, None) => {}
        }
    }
    let mut feeding = JoinSet::new();
    if let (Some(inlet), Some(fd)) = (stdin, process.stdin) {
        feeding.spawn(pump::inward(inlet, fd));
    }
    let end = tokio::select! {
        end = follow(control.as_mut(), resize, &mut pumps) => end,
        () = gone.cancelled() => {
            pumps.shutdown().await;
            control.abandon().await;
            // What the client sent before it left still arrives; its input ends then.
            while feeding.join_next().await.is_some() {}
            return;
        }
    };
    ended.send_replace(true);
    while pumps.join_next().await.is_some() {}
    feeding.shutdown().await;
    tell(&[], &error, form, &end).await;
}

/// Where the process's output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    /// Nobody asked for it.
    None,
    Open,
    /// All of it has come to its end.
    Silent,
}

/// Follows the process to its end, and its client's terminal meanwhile.
async fn follow(control: &mut dyn Control, resize: Option<Inlet>, pumps: &mut JoinSet<()>) -> End {
    let mut resize = resize;
    let mut sizes = Sizes::default();
    let mut output = if pumps.is_empty() {
        Output::None
    } else {
        Output::Open
    };
    loop {
        let ended = match output {
            Output::None | Output::Open => control.ended(),
            Output::Silent => control.fell_silent(),
        };
        let came = tokio::select! {
            end = ended => return match end {
                Ok(code) => End::Code(code.unwrap_or(0)),
                Err(failure) => End::Failed(failure),
            },
            pump = pumps.join_next(), if output == Output::Open => {
                if pump.is_none() {
                    output = Output::Silent;
                }
                continue;
            }
            bytes = next(&mut resize) => bytes,
        };
        match came.map(|bytes| sizes.take(&bytes)) {
            Some(Ok(Some(size))) => control.resize(size.rows, size.columns).await,
            Some(Ok(None)) => {}
            // The end, or what is no size: the terminal stays as it is.
            Some(Err(_)) | None => resize = None,
        }
    }
}

/// Returns the next bytes of a stream that may not be there.
async fn next(inlet: &mut Option<Inlet>) -> Option<bytes::BytesMut> {
    match inlet {
        Some(inlet) => inlet.next().await,
        None => std::future::pending().await,
    }
}

/// Ends the outputs and tells the end. The client may have left meanwhile.
async fn tell(outputs: &[Option<Outlet>], error: &Outlet, form: Form, end: &End) {
    for outlet in outputs.iter().flatten() {
        let _ = outlet.finish().await;
    }
    let _ = error.say(&status::message(form, end)).await;
    let _ = error.finish().await;
}
