//! Root file systems of many shapes.

use std::fs;

use agent_runtime::{FailureKind, MountApi};
use serde_json::json;

use crate::Case;
use crate::fixture::Fixture;

pub(crate) const CASES: &[Case] = &[
    ("the_topmost_layer_wins", order),
    ("an_image_of_120_layers_runs", many),
    ("an_image_of_120_layers_runs_with_mount_2", many_classic),
    ("writes_go_to_the_upper_layer_volatile", volatile),
    ("a_read_only_root_cannot_be_written", read_only),
    ("a_root_without_an_upper_layer_runs", without_upper),
    ("a_root_without_mount_points_gets_them_in_memory", in_memory),
    ("a_root_without_layers_is_refused", no_layers),
    ("root_propagation_is_as_asked", propagation),
];

/// Makes `count` layers on top of the first; returns their names, the topmost first.
fn layers(fixture: &Fixture, count: usize) -> Vec<String> {
    let mut names = fixture.lower.clone();
    for number in 0..count {
        let name = format!("layer-of-some-length-{number:03}");
        fs::create_dir(fixture.base().join(&name)).unwrap();
        fs::write(
            fixture.base().join(&name).join("top"),
            format!("{number}\n"),
        )
        .unwrap();
        fs::write(fixture.base().join(&name).join(format!("f{number}")), "").unwrap();
        names.insert(0, name);
    }
    names
}

fn order() {
    let fixture = Fixture::new();
    for api in [MountApi::Newest, MountApi::Classic] {
        let mut container = fixture.container().args(&["cat", "/top"]);
        container.mount_api = api;
        container.lower = if api == MountApi::Newest {
            layers(&fixture, 3)
        } else {
            [
                "layer-of-some-length-002",
                "layer-of-some-length-001",
                "base",
            ]
            .map(str::to_owned)
            .into()
        };
        assert_eq!(container.output(), "2\n");
    }
}

fn many() {
    let fixture = Fixture::new();
    let mut container = fixture.container().shell("cat /top; ls /f* | wc -l");
    container.lower = layers(&fixture, 119);
    assert_eq!(container.output(), "118\n119\n");
}

fn many_classic() {
    let fixture = Fixture::new();
    let mut container = fixture.container().shell("cat /top; ls /f* | wc -l");
    container.lower = layers(&fixture, 119);
    container.mount_api = MountApi::Classic;
    assert_eq!(container.output(), "118\n119\n");
}

fn volatile() {
    let fixture = Fixture::new();
    for api in [MountApi::Newest, MountApi::Classic] {
        let mut container = fixture
            .container()
            .shell("echo kept > /file; grep ' / ' /proc/self/mounts");
        container.mount_api = api;
        let seen = container.output();
        assert!(
            seen.contains("volatile") && seen.contains("upperdir="),
            "{seen}"
        );
    }
    let kept = fs::read_dir(fixture.base())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().join("file").exists());
    assert_eq!(kept.count(), 2);
    assert!(!fixture.layer().join("file").exists());
}

fn read_only() {
    let fixture = Fixture::new();
    let mut container = fixture
        .container()
        .shell("touch /file; touch /dev/shm/x && echo x > /dev/null && echo ok");
    container.spec["root"]["readonly"] = json!(true);
    let outcome = container.run();
    assert!(outcome.stderr.contains("Read-only"), "{outcome:?}");
    assert_eq!(outcome.stdout, "ok\n");
}

fn without_upper() {
    let fixture = Fixture::new();
    for name in ["proc", "sys", "dev"] {
        fs::create_dir(fixture.layer().join(name)).unwrap();
    }
    let before = fs::read_dir(fixture.layer()).unwrap().count();
    let mut container = fixture
        .container()
        .shell("touch /file 2>&1; grep ' / ' /proc/self/mounts");
    container.writable = false;
    for lower in [fixture.lower.clone(), layers(&fixture, 2)] {
        let is_one = lower.len() == 1;
        container.lower = lower;
        let seen = container.output();
        assert!(seen.contains("Read-only"), "{seen}");
        assert_eq!(seen.contains("overlay"), !is_one, "{seen}");
        assert!(!seen.contains("upperdir"), "{seen}");
    }
    assert_eq!(fs::read_dir(fixture.layer()).unwrap().count(), before);
}

fn in_memory() {
    let fixture = Fixture::new();
    let before = fs::read_dir(fixture.layer()).unwrap().count();
    let mut container = fixture.container().shell("touch /file 2>&1; echo $(ls /)");
    container.writable = false;
    container.spec["root"]["readonly"] = json!(true);
    for (lower, api) in [
        (fixture.lower.clone(), MountApi::Newest),
        (fixture.lower.clone(), MountApi::Classic),
        (layers(&fixture, 2), MountApi::Newest),
    ] {
        container.lower = lower;
        container.mount_api = api;
        let seen = container.output();
        assert!(seen.contains("Read-only") && seen.contains("dev"), "{seen}");
    }
    assert_eq!(fs::read_dir(fixture.layer()).unwrap().count(), before);
}

fn no_layers() {
    let fixture = Fixture::new();
    let mut container = fixture.container();
    container.lower = Vec::new();
    assert_eq!(container.refusal().kind(), FailureKind::Invalid);
    container.lower = vec!["nothing".to_owned(), "base".to_owned()];
    let error = container.refusal();
    assert!(error.to_string().contains("root file system"), "{error}");
}

fn propagation() {
    let fixture = Fixture::new();
    let mut container = fixture
        .container()
        .shell("grep ' / / ' /proc/self/mountinfo");
    container.spec["linux"]["rootfsPropagation"] = json!("rshared");
    assert!(container.output().contains("shared:"));
    container.spec["linux"]["rootfsPropagation"] = json!("everywhere");
    assert_eq!(container.refusal().kind(), FailureKind::Invalid);
}
