//! Statistics of v2.

use anyhow::{Context as _, Result, ensure};
use proto::cri::{
    ContainerStats, ContainerStatsRequest, LinuxContainerResources, LinuxPodSandboxStats,
    PodSandboxStatsRequest, PsiData, PsiStats,
};

use crate::guest::{Guest, OWN, cgroup, sh};

const MIB: u64 = 1 << 20;

async fn of_container(guest: &Guest, id: &str) -> Result<ContainerStats> {
    let request = ContainerStatsRequest {
        container_id: id.to_owned(),
    };
    let mut runtime = guest.cri.runtime.clone();
    let stats = runtime.container_stats(request).await?.into_inner().stats;
    stats.context("no stats")
}

async fn of_pod(guest: &Guest, id: &str) -> Result<LinuxPodSandboxStats> {
    let request = PodSandboxStatsRequest {
        pod_sandbox_id: id.to_owned(),
    };
    let mut runtime = guest.cri.runtime.clone();
    let stats = runtime.pod_sandbox_stats(request).await?.into_inner().stats;
    stats.and_then(|stats| stats.linux).context("no stats")
}

pub(super) async fn tell_what_is_used(guest: &mut Guest) -> Result<()> {
    let sandbox = guest.sandbox("pod", "").await?;
    let line = "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; touch /tmp/done; exec pause";
    let resources = LinuxContainerResources {
        memory_limit_in_bytes: 64 << 20,
        ..Default::default()
    };
    let config = guest.container("main", &["/bin/sh", "-c", line], resources);
    let id = guest.run(&sandbox, &config).await?;
    let wait = "until [ -e /tmp/done ]; do sleep 0.1; done";
    guest.exec(&id, wait).await?;
    harness::wait::until_async("the work is counted", || async {
        let stats = of_container(guest, &id).await?;
        let cpu = stats.cpu.and_then(|cpu| cpu.usage_core_nano_seconds);
        let memory = stats.memory.unwrap_or_default();
        ensure!(cpu.is_some_and(|used| used.value > 1_000_000), "{cpu:?}");
        ensure!(
            memory
                .working_set_bytes
                .is_some_and(|bytes| bytes.value > 0)
                && memory
                    .available_bytes
                    .is_some_and(|bytes| bytes.value < 64 << 20),
            "{memory:?}"
        );
        Ok(Some(()))
    })
    .await
}

/// One line of a file of waiting, in CRI's units.
fn line(path: &str, file: &str, kind: &str) -> Result<PsiData> {
    let text = cgroup(path, file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(kind));
    let number = |name: &str| -> Result<f64> {
        let words = line.unwrap_or_default().split_whitespace();
        let mut pairs = words.filter_map(|word| word.split_once('='));
        let found = pairs.find(|(key, _)| *key == name);
        let (_, value) = found.with_context(|| format!("{file} has no {kind} {name}: {text}"))?;
        Ok(value.parse()?)
    };
    let micros = line.and_then(|line| line.rsplit_once("total="));
    let (_, micros) = micros.with_context(|| format!("{file} has no total: {text}"))?;
    Ok(PsiData {
        total: micros.parse::<u64>()? * 1000,
        avg10: number("avg10")?,
        avg60: number("avg60")?,
        avg300: number("avg300")?,
    })
}

/// Says whether what is told lies between what a file said before and what it says now.
fn is_told(
    told: Option<&PsiStats>,
    (path, file): (&str, &str),
    before: &[PsiData; 2],
) -> Result<bool> {
    let told = told.with_context(|| format!("{file} is not told"))?;
    for ((told, kind), before) in [(&told.some, "some"), (&told.full, "full")]
        .iter()
        .zip(before)
    {
        let told = told.as_ref().context("half of it")?;
        let now = line(path, file, kind)?;
        ensure!(
            told.total <= now.total,
            "{file} {kind}: {told:?}, now {now:?}"
        );
        if told.total < before.total {
            // Of a moment ago.
            return Ok(false);
        }
        for share in [told.avg10, told.avg60, told.avg300] {
            ensure!((0.0..=100.0).contains(&share), "{file} {kind}: {told:?}");
        }
    }
    Ok(true)
}

pub(super) async fn tell_how_long_work_waits(guest: &mut Guest) -> Result<()> {
    let sandbox = guest.sandbox("pod", "").await?;
    // Two that want the processor all the time, and may have a tenth of it.
    let work = "(while :; do :; done) & while :; do :; done";
    let resources = LinuxContainerResources {
        cpu_quota: 10_000,
        cpu_period: 100_000,
        ..Default::default()
    };
    let config = guest.container("main", &["/bin/sh", "-c", work], resources);
    let id = guest.run(&sandbox, &config).await?;
    let pod = format!("{OWN}/node-agent-{}.slice", sandbox.id);
    let container = format!("{pod}/node-agent-{id}.scope");
    let files = ["cpu.pressure", "memory.pressure", "io.pressure"];
    let waits = || Ok((line(&container, "cpu.pressure", "some")?.avg10 > 0.0).then_some(()));
    harness::wait::until("the work waits", waits)?;
    let mut before = Vec::new();
    for path in [&container, &pod] {
        for file in files {
            before.push([line(path, file, "some")?, line(path, file, "full")?]);
        }
    }
    harness::wait::until_async("the waiting is told", || async {
        let own = of_container(guest, &id).await?;
        let pods = of_pod(guest, &sandbox.id).await?;
        let share = own.cpu.as_ref().and_then(|cpu| cpu.psi?.some);
        let told = [
            own.cpu.and_then(|cpu| cpu.psi),
            own.memory.and_then(|memory| memory.psi),
            own.io.and_then(|io| io.psi),
            pods.cpu.and_then(|cpu| cpu.psi),
            pods.memory.and_then(|memory| memory.psi),
            pods.io.and_then(|io| io.psi),
        ];
        let places = [&container, &pod].into_iter();
        let places = places.flat_map(|path| files.map(|file| (path.as_str(), file)));
        let mut all = share.is_some_and(|share| share.avg10 > 0.0 && share.total > 0);
        for ((told, place), before) in told.iter().zip(places).zip(&before) {
            all &= is_told(told.as_ref(), place, before)?;
        }
        Ok(all.then_some(()))
    })
    .await
}

pub(super) async fn tell_what_is_swapped_out(guest: &mut Guest) -> Result<()> {
    sh("fallocate -l 32M /swap; chmod 600 /swap; mkswap -q /swap; swapon /swap")?;
    let checked = swapped_out(guest).await;
    let cleared = guest.clear().await;
    sh("swapoff /swap; rm /swap")?;
    checked.and(cleared)
}

async fn swapped_out(guest: &Guest) -> Result<()> {
    let sandbox = guest.sandbox("pod", "").await?;
    let resources = LinuxContainerResources {
        memory_limit_in_bytes: 12 << 20,
        memory_swap_limit_in_bytes: 36 << 20,
        ..Default::default()
    };
    // More than there is memory for, in files that live nowhere else.
    let work = "head -c 16777216 /dev/zero >/dev/shm/much; touch /tmp/done; exec pause";
    let config = guest.container("main", &["/bin/sh", "-c", work], resources);
    let id = guest.run(&sandbox, &config).await?;
    let path = format!(
        "{OWN}/node-agent-{}.slice/node-agent-{id}.scope",
        sandbox.id
    );
    ensure!(cgroup(&path, "memory.swap.max")? == (24 * MIB).to_string());
    guest
        .exec(&id, "until [ -e /tmp/done ]; do sleep 0.1; done")
        .await?;
    let swapped = || -> Result<u64> { Ok(cgroup(&path, "memory.swap.current")?.parse()?) };
    ensure!(swapped()? > 2 * MIB, "{} bytes", swapped()?);
    harness::wait::until_async("what is swapped out is told", || async {
        let before = swapped()?;
        let told = of_container(guest, &id).await?.swap.context("no swap")?;
        let used = told.swap_usage_bytes.map_or(0, |bytes| bytes.value);
        let left = told.swap_available_bytes.map_or(0, |bytes| bytes.value);
        ensure!(used == 0 || used + left == 24 * MIB, "{told:?}");
        // Nobody uses it any more, so it changes little.
        Ok((used.abs_diff(before) < MIB).then_some(()))
    })
    .await
}
