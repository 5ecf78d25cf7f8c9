//! The pods of the run, and what must have become of them.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::driver::{Ends, Tally};
use crate::pod::{Pod, Restart, Role};

/// Writes numbered lines, a few hundred a second, until it is told to end.
const NUMBERS: &str = "trap 'exit 0' TERM; n=0; while :; do \
     for i in 1 2 3 4 5 6 7 8 9 10; do echo line $n of a log; n=$((n+1)); done; sleep 0.05; done";

/// How many pods serve.
pub(crate) const SERVING: usize = 4;

/// Name of the static pod; its uid changes with its manifest.
pub(crate) const STATIC: &str = "proxy";

/// Returns a static pod.
pub(crate) fn of_file(uid: &str) -> Pod {
    Pod::new(STATIC, uid, Restart::Always)
        .with(Role::Main, "main", NUMBERS)
        .of_file()
}

/// Returns a pod that comes and goes.
pub(crate) fn passing(number: usize) -> Pod {
    let (name, uid) = (format!("passing-{number}"), format!("passing-uid-{number}"));
    // Every other one does not hear that it is to end.
    let line = match number % 2 {
        0 => "trap 'exit 0' TERM; sleep 17391 & wait",
        _ => "exec sleep 17391",
    };
    Pod::new(&name, &uid, Restart::Always).with(Role::Main, "main", line)
}

/// Returns the pods that are there from the beginning.
pub(crate) fn pods() -> Vec<Pod> {
    let mut pods: Vec<Pod> = (0..SERVING).map(serving).collect();
    let tries = "n=$(cat /shared/n 2>/dev/null || echo 0); echo $((n+1)) >/shared/n; \
                 echo try $n >/dev/termination-log; test $n -ge 2";
    pods.extend([
        of_file("manifest-1"),
        Pod::new("job", "job", Restart::OnFailure).with(Role::Main, "main", tries),
        Pod::new("once", "once", Restart::Never)
            .with(
                Role::Sidecar,
                "side",
                "trap 'exit 0' TERM; sleep 17392 & wait",
            )
            .with(
                Role::Main,
                "main",
                "echo why >/dev/termination-log; sleep 1; exit 5",
            ),
        Pod::new("stuck", "stuck", Restart::Never)
            .with(Role::Init, "first", "exit 4")
            .with(Role::Main, "main", "touch /shared/never"),
        // It lasts until a look has seen it run.
        Pod::new("crash", "crash", Restart::Always).with(
            Role::Main,
            "main",
            "echo line 0; sleep 1; exit 3",
        ),
        Pod::new("greedy", "greedy", Restart::Never)
            .with(
                Role::Main,
                "main",
                "exec dd if=/dev/zero of=/dev/null bs=100M count=1",
            )
            .limited(24 << 20),
    ]);
    pods
}

fn serving(number: usize) -> Pod {
    let (name, uid) = (format!("web-{number}"), format!("web-uid-{number}"));
    // One sidecar ends now and then, beside a main container that goes on.
    let side = if number == 0 {
        "sleep 3; exit 1"
    } else {
        NUMBERS
    };
    let main = format!("echo main >>/shared/order; {NUMBERS}");
    Pod::new(&name, &uid, Restart::Always)
        .with(Role::Init, "first", "echo first >>/shared/order")
        .with(Role::Init, "second", "echo second >>/shared/order")
        .with(Role::Sidecar, "side", side)
        .with(Role::Main, "main", &main)
        .probed("echo alive")
}

/// Fails where something did not end as it had to.
pub(crate) fn check(tally: &Tally, volumes: &Path) -> Result<()> {
    let ends = tally.ends();
    for ((pod, name), attempts) in &ends {
        let found: Vec<u32> = attempts.keys().copied().collect();
        let all: Vec<u32> = (0..).take(found.len()).collect();
        ensure!(found == all, "attempts of {name} in {pod}: {found:?}");
    }
    let as_told = |pod: &str, name: &str| -> Result<Vec<(i32, String, String)>> {
        let key = (pod.to_owned(), name.to_owned());
        let attempts = ends
            .get(&key)
            .with_context(|| format!("{name} of {pod} has not ended"))?;
        let told = attempts.values();
        Ok(told
            .map(|end| (end.code, end.reason.clone(), end.message.clone()))
            .collect())
    };
    let row =
        |code: i32, reason: &str, message: &str| (code, reason.to_owned(), message.to_owned());
    let job = [
        row(1, "Error", "try 0\n"),
        row(1, "Error", "try 1\n"),
        row(0, "Completed", "try 2\n"),
    ];
    ensure!(
        as_told("job", "main")? == job,
        "{:?}",
        as_told("job", "main")
    );
    let once = [row(5, "Error", "why\n")];
    ensure!(
        as_told("once", "main")? == once,
        "{:?}",
        as_told("once", "main")
    );
    let side = as_told("once", "side")?;
    ensure!(side == [row(0, "Completed", "")], "{side:?}");
    let stuck = [row(4, "Error", "")];
    ensure!(
        as_told("stuck", "first")? == stuck,
        "{:?}",
        as_told("stuck", "first")
    );
    ensure!(
        as_told("stuck", "main").is_err(),
        "a main container ran after its init container failed"
    );
    let greedy = [row(137, "OOMKilled", "")];
    ensure!(
        as_told("greedy", "main")? == greedy,
        "{:?}",
        as_told("greedy", "main")
    );
    ensure!(
        as_told("crash", "main")?.len() > 3,
        "{:?}",
        as_told("crash", "main")
    );
    ensure!(
        as_told("web-uid-0", "side")?.len() > 2,
        "{:?}",
        as_told("web-uid-0", "side")
    );
    for number in 0..SERVING {
        let order = volumes.join(format!("web-uid-{number}/shared/order"));
        let text = std::fs::read_to_string(&order)?;
        ensure!(
            text == "first\nsecond\nmain\n",
            "{}: {text:?}",
            order.display()
        );
    }
    in_order(&ends)
}

/// Static pods end after all others.
fn in_order(ends: &Ends) -> Result<()> {
    let last = |of: &dyn Fn(&str) -> bool| {
        let found = ends.iter().filter(|((pod, _), _)| of(pod));
        found
            .flat_map(|(_, attempts)| attempts.values().map(|end| end.finished_at))
            .max()
    };
    let others = last(&|pod| pod.starts_with("web-")).context("no other pod has ended")?;
    let of_file = last(&|pod| pod.starts_with("manifest-")).context("no static pod has ended")?;
    ensure!(others < of_file, "a static pod ended before another");
    Ok(())
}
