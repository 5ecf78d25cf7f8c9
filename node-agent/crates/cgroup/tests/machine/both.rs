//! What holds on either version, and on v1.

use std::os::fd::AsFd;

use agent_cgroup::{CgroupPath, CreateError, DeviceRules, Limits, UpdateError, Version};
use agent_types::{Classify, ErrorKind};

use crate::own::{Own, run_in, until};

fn typical() -> Limits {
    Limits {
        cpu_shares: Some(512),
        cpu_quota: Some(50_000),
        cpu_period: Some(100_000),
        memory: Some(64 << 20),
        memory_swap: Some(64 << 20),
        pids: Some(100),
        ..Limits::default()
    }
}

#[test]
fn limits_hold_in_the_kernel_and_read_back() {
    let own = Own::new();
    let cgroup = own.container(&typical());
    let actual = cgroup.actual().unwrap();
    assert_eq!(actual.cpu_shares, Some(512));
    assert_eq!(
        (actual.cpu_quota, actual.cpu_period),
        (Some(50_000), Some(100_000))
    );
    assert_eq!(
        (actual.memory, actual.memory_swap),
        (Some(64 << 20), Some(64 << 20))
    );
    assert_eq!(actual.pids, Some(100));
    assert!(actual.cpuset_cpus.is_some(), "processors are inherited");
    if own.tree.version() == Version::V1 {
        assert_eq!(
            own.read("memory", cgroup.path(), "memory.limit_in_bytes"),
            "67108864"
        );
        assert_eq!(own.read("cpu", cgroup.path(), "cpu.shares"), "512");
    }
    assert_eq!(own.present(cgroup.path()), own.tree.hierarchies().len());
}

fn memory_and_swap(memory: i64, swap: i64) -> Limits {
    Limits {
        memory: Some(memory),
        memory_swap: Some(swap),
        ..Limits::default()
    }
}

fn processors(list: &str) -> Limits {
    Limits {
        cpuset_cpus: Some(list.into()),
        ..Limits::default()
    }
}

#[test]
fn an_update_goes_up_and_down_and_leaves_the_rest() {
    let own = Own::new();
    let cgroup = own.container(&typical());
    let up = Limits {
        cpu_quota: Some(10_000),
        cpu_period: Some(10_000),
        ..memory_and_swap(256 << 20, 300 << 20)
    };
    cgroup.update(&up).unwrap();
    let actual = cgroup.actual().unwrap();
    assert_eq!(
        (actual.memory, actual.memory_swap),
        (up.memory, up.memory_swap)
    );
    assert_eq!(
        (actual.cpu_quota, actual.cpu_period),
        (Some(10_000), Some(10_000))
    );
    assert_eq!(actual.cpu_shares, Some(512), "what was not named stays");
    cgroup.update(&memory_and_swap(32 << 20, 32 << 20)).unwrap();
    assert_eq!(cgroup.actual().unwrap().memory, Some(32 << 20));
    let lifted = Limits {
        pids: Some(-1),
        ..memory_and_swap(-1, -1)
    };
    cgroup.update(&lifted).unwrap();
    let actual = cgroup.actual().unwrap();
    assert_eq!(
        (actual.memory, actual.memory_swap, actual.pids),
        (Some(-1), Some(-1), Some(-1))
    );
    let impossible = cgroup.update(&memory_and_swap(2 << 20, 1 << 20));
    assert_eq!(impossible.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_refused_update_changes_nothing() {
    let own = Own::new();
    if own.tree.version() == Version::V2 {
        // There a level may ask for processors that the level above lacks.
        return;
    }
    let cgroup = own.container(&typical());
    // A level above with one processor makes the kernel refuse another one, after the values that
    // are written before it.
    let pod = own
        .tree
        .open_cgroup(&cgroup.path().parent().unwrap())
        .unwrap()
        .unwrap();
    cgroup.update(&processors("0")).unwrap();
    pod.update(&processors("0")).unwrap();
    let before = cgroup.actual().unwrap();
    let refused = Limits {
        cpu_shares: Some(99),
        memory: Some(48 << 20),
        ..processors("1")
    };
    let error = cgroup.update(&refused).unwrap_err();
    assert!(
        matches!(
            &error,
            UpdateError::Controller {
                field: "cpuset_cpus",
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(cgroup.actual().unwrap(), before);
}

#[test]
fn a_refused_creation_leaves_nothing() {
    let own = Own::new();
    let pod = own.pod();
    let path = pod.path.join("container").unwrap();
    // The check lets it pass; the kernel does not: the quota of a whole processor's period, times 10^12.
    let limits = Limits {
        cpu_period: Some(1_000),
        cpu_quota: Some(i64::MAX),
        ..Limits::default()
    };
    let result = own
        .tree
        .create(&path, &limits, &DeviceRules::container_default());
    assert!(
        matches!(result, Err(CreateError::Apply { .. })),
        "{result:?}"
    );
    assert_eq!(own.present(&path), 0);
    let missing = pod.path.join("no-pod").unwrap().join("container").unwrap();
    let result = own
        .tree
        .create(&missing, &Limits::default(), &DeviceRules::all());
    assert!(
        matches!(result, Err(CreateError::Directory { .. })),
        "{result:?}"
    );
    assert_eq!(own.present(&missing), 0);
}

#[test]
fn statistics_count_what_a_process_did() {
    let own = Own::new();
    let cgroup = own.container(&typical());
    let mut child = run_in(
        &cgroup,
        "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exec sleep 1000",
    );
    // The kernel adds memory counters up every two seconds or so.
    until("it is charged", || {
        let stats = cgroup.stats().unwrap();
        stats.cpu.usage_ns > 1_000_000 && stats.memory.usage > 0 && stats.memory.page_faults > 0
    });
    let stats = cgroup.stats().unwrap();
    assert!(stats.memory.working_set <= stats.memory.usage);
    assert_eq!(stats.memory.limit, Some(64 << 20));
    assert_eq!((stats.pids.current, stats.pids.limit), (1, Some(100)));
    assert_eq!(cgroup.processes().unwrap(), [child.id()]);
    cgroup.kill().unwrap();
    child.wait().unwrap();
    cgroup.remove().unwrap();
    assert!(matches!(
        cgroup.stats(),
        Err(agent_cgroup::CgroupError::NotFound { .. })
    ));
    assert!(own.tree.open_cgroup(cgroup.path()).unwrap().is_none());
}

#[test]
fn readings_that_follow_each_other_closely_see_who_came_and_who_went() {
    let own = Own::new();
    let cgroup = own.container(&typical());
    let meter = cgroup.meter().unwrap();
    let processes = || meter.read().unwrap().pids.processes;
    assert_eq!(processes(), 0);
    let mut child = run_in(&cgroup, "exec sleep 1000");
    until("it is counted", || processes() == 1);
    cgroup.kill().unwrap();
    child.wait().unwrap();
    until("it is counted no more", || processes() == 0);
    cgroup.remove().unwrap();
    assert!(matches!(
        meter.read(),
        Err(agent_cgroup::CgroupError::NotFound { .. })
    ));
}

#[test]
fn killing_reaches_forks_and_levels_below() {
    let own = Own::new();
    let cgroup = own.container(&Limits::default());
    let below = cgroup.path().join("below").unwrap();
    let inner = own
        .tree
        .create(
            &below,
            &Limits::default(),
            &DeviceRules::container_default(),
        )
        .unwrap()
        .settle()
        .unwrap();
    let mut deep = run_in(&inner, "exec sleep 1000");
    // Forks all the time, so that killing by list alone would lose some.
    let mut forker = run_in(
        &cgroup,
        "while :; do sleep 1000 & [ $(cat /proc/loadavg | wc -l) = 1 ] && wait -n 2>/dev/null & done",
    );
    until("several run", || cgroup.processes().unwrap().len() > 5);
    cgroup.kill().unwrap();
    forker.wait().unwrap();
    deep.wait().unwrap();
    until("none is left", || cgroup.processes().unwrap().is_empty());
    cgroup.remove().unwrap();
    assert_eq!(own.present(cgroup.path()), 0);
}

#[test]
fn removing_kills_what_is_left_even_if_frozen() {
    let own = Own::new();
    let cgroup = own.container(&Limits::default());
    let mut child = run_in(&cgroup, "exec sleep 1000");
    until("it runs", || {
        own.tree.hierarchies().iter().all(|h| {
            let file = h
                .mount_point()
                .join(&cgroup.path().as_str()[1..])
                .join("cgroup.procs");
            !std::fs::read_to_string(file).unwrap().is_empty()
        })
    });
    cgroup.freeze().unwrap();
    // Nobody reaps the child here; a zombie must not keep the cgroup.
    cgroup.remove().unwrap();
    assert_eq!(own.present(cgroup.path()), 0);
    assert!(!child.wait().unwrap().success());
    cgroup.remove().unwrap();
}

#[test]
fn freezing_stops_and_thawing_goes_on() {
    let own = Own::new();
    let cgroup = own.container(&Limits::default());
    let mut child = run_in(&cgroup, "while :; do :; done");
    until("it computes", || {
        cgroup.stats().unwrap().cpu.usage_ns > 1_000_000
    });
    cgroup.freeze().unwrap();
    let frozen = cgroup.stats().unwrap().cpu.usage_ns;
    assert_eq!(cgroup.stats().unwrap().cpu.usage_ns, frozen);
    cgroup.thaw().unwrap();
    until("it goes on", || {
        cgroup.stats().unwrap().cpu.usage_ns > frozen
    });
    cgroup.remove().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_the_kubelet_made_stays() {
    let mut own = Own::new();
    let outside: CgroupPath = format!("{}-outside", own.tree.parent()).parse().unwrap();
    let there = outside.join("burstable").unwrap();
    own.extra = vec![outside.clone()];
    // The kubelet makes its levels in some hierarchies only.
    let some = &own.tree.hierarchies()[..1];
    for hierarchy in some {
        std::fs::create_dir_all(hierarchy.mount_point().join(&there.as_str()[1..])).unwrap();
    }
    let made = some.len();
    let pod = own.tree.create_pod(&there).unwrap();
    assert_eq!(own.present(&there), own.tree.hierarchies().len());
    let again = own.tree.create_pod(&there).unwrap();
    assert!(again.created.is_empty(), "made once");
    let container = pod.path.join("container").unwrap();
    let container = own
        .tree
        .create(&container, &typical(), &DeviceRules::container_default())
        .unwrap()
        .settle()
        .unwrap();
    // A pod that still has a container of somebody's is left alone.
    own.tree.remove_pod(&pod).unwrap();
    assert_eq!(own.present(&there), own.tree.hierarchies().len());
    container.remove().unwrap();
    own.tree.remove_pod(&pod).unwrap();
    own.tree.remove_pod(&pod).unwrap();
    assert_eq!(
        own.present(&there),
        made,
        "only what the kubelet made is left"
    );
}

#[test]
fn our_own_pods_are_listed_and_removed_with_what_is_in_them() {
    let own = Own::new();
    let shims = own.tree.create_shims().unwrap();
    assert_eq!(shims.directories.len(), own.tree.hierarchies().len());
    let pod = own.pod();
    let cgroup = own.container(&Limits::default());
    // A container that manages cgroups of its own, as an init system does.
    let inside = cgroup.path().join("system.slice").unwrap();
    own.tree
        .create(
            &inside,
            &Limits::default(),
            &DeviceRules::container_default(),
        )
        .unwrap()
        .settle()
        .unwrap();
    let listed = own.tree.list_ours().unwrap();
    let listed: Vec<_> = listed.into_iter().map(|own| own.path).collect();
    assert_eq!(listed, [cgroup.path().clone(), pod.path.clone()]);
    own.tree.remove_pod(&pod).unwrap();
    assert!(own.tree.list_ours().unwrap().is_empty());
    assert_eq!(own.present(&pod.path), 0);
}

#[test]
fn what_is_left_in_one_hierarchy_is_found_and_removed() {
    let own = Own::new();
    let pod = own.pod();
    let path = pod.path.join("container").unwrap();
    let last = own.tree.hierarchies().last().unwrap();
    std::fs::create_dir(last.mount_point().join(&path.as_str()[1..])).unwrap();
    let listed = own.tree.list_ours().unwrap();
    assert!(listed.iter().any(|own| own.path == path));
    let left = own.tree.open_cgroup(&path).unwrap().unwrap();
    assert!(left.processes().unwrap().is_empty());
    left.remove().unwrap();
    assert!(own.tree.open_cgroup(&path).unwrap().is_none());
}

#[test]
fn an_empty_cgroup_left_by_a_crash_is_replaced_and_a_busy_one_is_not() {
    let own = Own::new();
    let cgroup = own.container(&Limits {
        pids: Some(7),
        ..Limits::default()
    });
    let devices = DeviceRules::container_default();
    let fresh = own
        .tree
        .create(cgroup.path(), &Limits::default(), &devices)
        .unwrap()
        .settle()
        .unwrap();
    assert_eq!(fresh.actual().unwrap().pids, Some(-1));
    let mut child = run_in(&fresh, "exec sleep 1000");
    until("it runs", || {
        own.tree.hierarchies().iter().all(|h| {
            let file = h
                .mount_point()
                .join(&fresh.path().as_str()[1..])
                .join("cgroup.procs");
            !std::fs::read_to_string(file).unwrap().is_empty()
        })
    });
    let result = own.tree.create(cgroup.path(), &Limits::default(), &devices);
    assert_eq!(result.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(
        own.present(fresh.path()),
        own.tree.hierarchies().len(),
        "nothing of it was taken"
    );
    fresh.remove().unwrap();
    child.wait().unwrap();
}

#[test]
fn hostile_device_nodes_a_disk_can_be_made_but_not_opened() {
    let own = Own::new();
    let cgroup = own.container(&Limits::default());
    let directory = tempfile::tempdir().unwrap();
    let node = |name: &str| directory.path().join(name).display().to_string();
    let script = format!(
        "mknod {disk} b 7 0; mknod {null} c 1 3; echo x > {null}; head -c1 /dev/zero > /dev/null\n\
         ! (head -c1 {disk}) 2> {said}; grep -q 'not permitted' {said}\n\
         mknod {mem} c 1 1; ! (head -c1 {mem}) 2> {said}; grep -q 'not permitted' {said}",
        disk = node("disk"),
        null = node("null"),
        mem = node("mem"),
        said = node("said"),
    );
    let output = run_in(&cgroup, &script).wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn memory_comes_first_among_the_attach_directories() {
    let own = Own::new();
    let cgroup = own.container(&Limits::default());
    let directories = cgroup.attach_directories().unwrap();
    let has = |at: usize, file: &str| {
        rustix::fs::statat(directories[at].as_fd(), file, rustix::fs::AtFlags::empty()).is_ok()
    };
    match own.tree.version() {
        Version::V1 => assert!(has(0, "memory.oom_control")),
        Version::V2 => assert_eq!(directories.len(), 1),
    }
    assert!((0..directories.len()).all(|at| has(at, "cgroup.procs")));
}
