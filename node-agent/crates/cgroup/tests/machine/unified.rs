//! The code for v2, on the cgroup2 mount that a machine with v1 has beside it (or on the only one).
//!
//! Where v1 has the controllers, v2 has few or none; what is left is the core: device programs,
//! freezing, killing, and huge pages if nobody else took them.

use agent_cgroup::{Detection, HugetlbStats, LimitError, Limits, Version};
use std::fs::File;
use std::path::PathBuf;

use crate::own::{Own, run_in, until};

/// A tree on the machine's cgroup2 mount, which is left with the controllers it had.
struct Unified {
    /// The root, locked: its controllers are the machine's, so one test at a time, whatever
    /// process it runs in.
    _alone: File,
    own: Option<Own>,
    mount_point: PathBuf,
    passed_on: String,
}

impl Unified {
    /// Returns none where no cgroup2 is mounted: there is nothing that this could test then.
    fn new() -> Option<Self> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
        let mount_point = PathBuf::from(line.split(' ').nth(4)?);
        let alone = File::open(&mount_point).unwrap();
        alone.lock().unwrap();
        let passed_on =
            std::fs::read_to_string(mount_point.join("cgroup.subtree_control")).unwrap();
        Some(Self {
            _alone: alone,
            own: Some(Own::detected(Detection::Unified(mount_point.clone()))),
            mount_point,
            passed_on,
        })
    }

    fn own(&self) -> &Own {
        self.own.as_ref().unwrap()
    }
}

impl Drop for Unified {
    fn drop(&mut self) {
        drop(self.own.take());
        let file = self.mount_point.join("cgroup.subtree_control");
        let now = std::fs::read_to_string(&file).unwrap_or_default();
        let before: Vec<_> = self.passed_on.split_whitespace().collect();
        for controller in now.split_whitespace().filter(|c| !before.contains(c)) {
            let taken_back = std::fs::write(&file, format!("-{controller}"));
            assert!(
                taken_back.is_ok() || std::thread::panicking(),
                "{controller}"
            );
        }
    }
}

#[test]
fn hostile_device_nodes_a_program_refuses_the_disk() {
    let Some(unified) = Unified::new() else {
        return;
    };
    let own = unified.own();
    assert_eq!(own.tree.version(), Version::V2);
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
fn one_directory_freezes_thaws_kills_and_goes() {
    let Some(unified) = Unified::new() else {
        return;
    };
    let own = unified.own();
    let cgroup = own.container(&Limits::default());
    assert_eq!(cgroup.attach_directories().unwrap().len(), 1);
    let mut child = run_in(&cgroup, "while :; do :; done");
    until("it computes", || {
        cgroup.stats().unwrap().cpu.usage_ns > 1_000_000
    });
    assert_eq!(cgroup.processes().unwrap(), [child.id()]);
    cgroup.freeze().unwrap();
    cgroup.thaw().unwrap();
    cgroup.kill().unwrap();
    assert!(!child.wait().unwrap().success());
    let mut left = run_in(&cgroup, "exec sleep 1000");
    until("it runs", || !cgroup.processes().unwrap().is_empty());
    cgroup.freeze().unwrap();
    cgroup.remove().unwrap();
    assert_eq!(own.present(cgroup.path()), 0);
    assert!(!left.wait().unwrap().success());
}

#[test]
fn limits_hold_where_the_controller_is_and_are_refused_where_not() {
    let Some(unified) = Unified::new() else {
        return;
    };
    let own = unified.own();
    let has = |name: &str| own.tree.hierarchies()[0].has(name);
    let pids = Limits {
        pids: Some(7),
        ..Limits::default()
    };
    if has("pids") {
        assert_eq!(own.container(&pids).actual().unwrap().pids, Some(7));
    } else {
        let refused = own.tree.validate(&pids, 0);
        assert!(matches!(
            refused,
            Err(LimitError::Unsupported { field: "pids", .. })
        ));
    }
    if has("hugetlb") {
        let huge = Limits {
            hugepages: [("2MB".to_owned(), 4 << 20)].into(),
            ..Limits::default()
        };
        let cgroup = own.container(&huge);
        assert_eq!(cgroup.actual().unwrap().hugepages, huge.hugepages);
        let used = cgroup.hugetlb().unwrap();
        let of_size = used.iter().find(|one| one.page_size == "2MB");
        let none = HugetlbStats {
            page_size: "2MB".to_owned(),
            usage: 0,
            // Only v1 tells.
            max_usage: None,
        };
        assert_eq!(of_size, Some(&none), "{used:?}");
        let by_name = Limits {
            unified: [("hugetlb.2MB.max".to_owned(), "2097152".to_owned())].into(),
            ..Limits::default()
        };
        cgroup.update(&by_name).unwrap();
        assert_eq!(cgroup.actual().unwrap().hugepages["2MB"], 2 << 20);
        let mut refused = by_name;
        refused
            .unified
            .insert("hugetlb.2MB.max".into(), "6291456".into());
        refused.unified.insert("hugetlb.nothing".into(), "1".into());
        cgroup.update(&refused).unwrap_err();
        assert_eq!(
            cgroup.actual().unwrap().hugepages["2MB"],
            2 << 20,
            "put back"
        );
    }
}
