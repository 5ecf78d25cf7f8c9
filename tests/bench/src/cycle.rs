//! The pod cycle: what is called, in which order, and how long each call took.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use harness::cri::Cri;
use harness::pod::{container_config, sandbox_config};
use harness::wait;
use proto::cri::{ListPodSandboxRequest, PodSandboxFilter};
use tokio::task::JoinSet;

/// The calls of a cycle, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    RunPodSandbox,
    CreateContainer,
    StartContainer,
    ExecSync,
    StopContainer,
    RemoveContainer,
    StopPodSandbox,
    RemovePodSandbox,
}

impl Call {
    pub(crate) const UP: [Self; 3] = [
        Self::RunPodSandbox,
        Self::CreateContainer,
        Self::StartContainer,
    ];
    pub(crate) const DOWN: [Self; 4] = [
        Self::StopContainer,
        Self::RemoveContainer,
        Self::StopPodSandbox,
        Self::RemovePodSandbox,
    ];
}

/// How long each call of one cycle took.
pub(crate) type Times = Vec<(Call, Duration)>;

/// Where and how one peer's pods are made.
#[derive(Clone, Debug)]
pub(crate) struct Pods {
    pub(crate) cri: Cri,
    pub(crate) image: String,
    pub(crate) logs: PathBuf,
    pub(crate) cgroup_parent: String,
}

/// A pod that is up.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) sandbox: String,
    pub(crate) container: String,
}

/// The pauses of a cycle.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    /// Before each group of calls: up, exec, down.
    pub(crate) group: Duration,
    /// Before each other call.
    pub(crate) call: Duration,
    /// Seconds a container is given to end. Whoever stops it right after its start gives none: a
    /// program that is not ready yet misses the signal, in any runtime.
    pub(crate) grace: i64,
}

/// Names are never used twice, so that no peer can reuse anything.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Pods {
    /// Brings a pod with one container up.
    pub(crate) async fn up(&self, pace: Pace, times: &mut Times) -> Result<Pod> {
        self.up_with(&["/bin/pause"], pace, times).await
    }

    /// Brings a pod up whose container runs `command`.
    pub(crate) async fn up_with(
        &self,
        command: &[&str],
        pace: Pace,
        times: &mut Times,
    ) -> Result<Pod> {
        let name = format!("pod-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut sandbox_config = sandbox_config(&name, &self.logs, &self.cgroup_parent);
        sandbox_config.labels.extend(label());
        let container_config = container_config("main", &self.image, command);
        pause(pace.group).await;
        let sandbox = timed(
            times,
            Call::RunPodSandbox,
            self.cri.run_sandbox(&sandbox_config),
        )
        .await?;
        pause(pace.call).await;
        let create = self
            .cri
            .create_container(&sandbox, &container_config, &sandbox_config);
        let container = timed(times, Call::CreateContainer, create).await?;
        pause(pace.call).await;
        timed(
            times,
            Call::StartContainer,
            self.cri.start_container(&container),
        )
        .await?;
        Ok(Pod { sandbox, container })
    }

    /// Runs `true` in the pod's container.
    pub(crate) async fn exec(&self, pod: &Pod, pace: Pace, times: &mut Times) -> Result<()> {
        pause(pace.group).await;
        let answer = timed(
            times,
            Call::ExecSync,
            self.cri.exec(&pod.container, &["/bin/true"], 10),
        )
        .await?;
        ensure!(
            answer.exit_code == 0,
            "/bin/true ended with {}",
            answer.exit_code
        );
        Ok(())
    }

    /// Stops and removes the container and the sandbox. The container ends at once.
    pub(crate) async fn down(&self, pod: &Pod, pace: Pace, times: &mut Times) -> Result<()> {
        pause(pace.group).await;
        timed(
            times,
            Call::StopContainer,
            self.cri.stop_container(&pod.container, pace.grace),
        )
        .await?;
        pause(pace.call).await;
        timed(
            times,
            Call::RemoveContainer,
            self.cri.remove_container(&pod.container),
        )
        .await?;
        pause(pace.call).await;
        timed(
            times,
            Call::StopPodSandbox,
            self.cri.stop_sandbox(&pod.sandbox),
        )
        .await?;
        pause(pace.call).await;
        timed(
            times,
            Call::RemovePodSandbox,
            self.cri.remove_sandbox(&pod.sandbox),
        )
        .await?;
        Ok(())
    }

    /// Brings `count` pods up, a few at a time.
    pub(crate) async fn many_up(&self, count: usize) -> Result<Vec<Pod>> {
        let mut tasks: JoinSet<_> = shares(count, 4)
            .map(|share| {
                let pods = self.clone();
                async move {
                    let mut up = Vec::new();
                    for _ in 0..share {
                        up.push(pods.up(Pace::default(), &mut Vec::new()).await?);
                    }
                    Ok::<_, anyhow::Error>(up)
                }
            })
            .collect();
        let mut all = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            all.extend(ended??);
        }
        Ok(all)
    }

    /// Takes pods down, a few at a time.
    pub(crate) async fn many_down(&self, pods: Vec<Pod>) -> Result<()> {
        let chunk = pods.len().div_ceil(4).max(1);
        let mut tasks: JoinSet<_> = pods
            .chunks(chunk)
            .map(<[Pod]>::to_vec)
            .map(|share| {
                let pods = self.clone();
                async move {
                    for pod in share {
                        pods.down(&pod, Pace::default(), &mut Vec::new()).await?;
                    }
                    Ok::<_, anyhow::Error>(())
                }
            })
            .collect();
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(())
    }

    /// Removes every pod that this run has on the peer, up or half made.
    pub(crate) async fn clear(&self) -> Result<()> {
        let filter = PodSandboxFilter {
            label_selector: label().into_iter().collect(),
            ..PodSandboxFilter::default()
        };
        let request = ListPodSandboxRequest {
            filter: Some(filter),
        };
        wait::until_async("no pod of the benchmark is left", || async {
            let mut runtime = self.cri.runtime.clone();
            let left = runtime.list_pod_sandbox(request.clone()).await?;
            let left = left.into_inner().items;
            for sandbox in &left {
                self.cri.stop_sandbox(&sandbox.id).await?;
                self.cri.remove_sandbox(&sandbox.id).await?;
            }
            Ok(left.is_empty().then_some(()))
        })
        .await
    }
}

/// What this run's pods are known by, on a peer that has pods of others too.
fn label() -> [(String, String); 1] {
    [("bench".to_owned(), std::process::id().to_string())]
}

fn shares(count: usize, workers: usize) -> impl Iterator<Item = usize> {
    (0..workers).map(move |worker| count / workers + usize::from(worker < count % workers))
}

async fn pause(length: Duration) {
    if !length.is_zero() {
        tokio::time::sleep(length).await;
    }
}

async fn timed<T>(
    times: &mut Times,
    call: Call,
    work: impl Future<Output = Result<T, tonic::Status>>,
) -> Result<T> {
    let begun = Instant::now();
    let result = work.await;
    times.push((call, begun.elapsed()));
    result.with_context(|| format!("{call:?}"))
}
