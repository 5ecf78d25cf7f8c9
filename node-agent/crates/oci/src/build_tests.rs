//! Whole specifications.

use super::*;
use crate::{CapabilityPlan, DevicePlan, ImageDefaults, Namespaces};

fn plan() -> ContainerPlan {
    ContainerPlan {
        id: "c1".into(),
        hostname: "box".into(),
        image: ImageDefaults {
            env: vec!["LANG=C".into()],
            entrypoint: vec!["/bin/app".into()],
            working_directory: "/srv".into(),
            user: "app".into(),
            ..ImageDefaults::default()
        },
        last_capability: 40,
        cgroup_path: "/node-agent/s/c1".into(),
        ..ContainerPlan::default()
    }
}

fn json(plan: &ContainerPlan) -> serde_json::Value {
    serde_json::to_value(build(plan).unwrap().spec).unwrap()
}

#[test]
fn an_ordinary_container() {
    let built = build(&plan()).unwrap();
    assert_eq!(built.user, "app");
    assert_eq!(built.capabilities, 0xa804_25fb);
    assert_eq!(built.device_rules.len(), 11);
    let spec = json(&plan());
    assert_eq!(spec["process"]["args"], serde_json::json!(["/bin/app"]));
    assert_eq!(spec["process"]["cwd"], "/srv");
    assert_eq!(spec["process"]["env"][1], "HOSTNAME=box");
    assert_eq!(spec["process"]["noNewPrivileges"], false);
    assert_eq!(spec["hostname"], "box");
    assert_eq!(spec["root"]["readonly"], false);
    assert_eq!(spec["linux"]["cgroupsPath"], "/node-agent/s/c1");
    assert_eq!(spec["linux"]["namespaces"].as_array().unwrap().len(), 6);
    let masked = spec["linux"]["maskedPaths"].as_array().unwrap();
    assert!(masked.contains(&"/proc/kcore".into()) && masked.contains(&"/proc/interrupts".into()));
    assert!(
        spec["linux"]["readonlyPaths"]
            .as_array()
            .unwrap()
            .contains(&"/proc/sys".into())
    );
    assert!(spec["linux"].get("seccomp").is_none() && spec.get("hooks").is_none());
}

#[test]
fn a_specification_survives_its_json() {
    let spec = build(&plan()).unwrap().spec;
    let text = serde_json::to_vec(&spec).unwrap();
    assert_eq!(serde_json::from_slice::<Spec>(&text).unwrap(), spec);
}

#[test]
fn a_privileged_container_is_hardly_confined() {
    let privileged = ContainerPlan {
        privileged: true,
        capabilities: CapabilityPlan {
            drop: vec!["ALL".into()],
            ..CapabilityPlan::default()
        },
        ..plan()
    };
    let built = build(&privileged).unwrap();
    assert_eq!(built.capabilities, (1 << 41) - 1);
    assert_eq!(built.device_rules, ["a *:* rwm"]);
    let spec = json(&privileged);
    assert_eq!(spec["linux"]["maskedPaths"], serde_json::json!([]));
    assert_eq!(spec["linux"]["readonlyPaths"], serde_json::json!([]));
    let mounts = spec["mounts"].as_array().unwrap();
    let sys = mounts.iter().find(|m| m["destination"] == "/sys").unwrap();
    assert!(sys["options"].as_array().unwrap().contains(&"rw".into()));
}

#[test]
fn host_namespaces_are_left_out_and_joined_ones_have_paths() {
    let spec = json(&ContainerPlan {
        namespaces: Namespaces {
            network: Namespace::Join("/run/netns/x".into()),
            ipc: Namespace::Sandbox,
            uts: Namespace::Host,
            pid: Namespace::Host,
            cgroup: Namespace::New,
        },
        ..plan()
    });
    let namespaces = spec["linux"]["namespaces"].as_array().unwrap();
    let kinds: Vec<_> = namespaces
        .iter()
        .map(|n| n["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["mount", "network", "ipc", "cgroup"]);
    assert_eq!(namespaces[1]["path"], "/run/netns/x");
    assert!(
        spec.get("hostname").is_none(),
        "the host's name is not ours to set"
    );
    assert_eq!(spec["process"]["env"][1], "HOSTNAME=box");
}

#[test]
fn given_paths_replace_the_defaults() {
    let spec = json(&ContainerPlan {
        masked_paths: Some(vec!["/proc/kcore/".into(), "/proc/kcore".into()]),
        readonly_paths: Some(Vec::new()),
        machine_masked_paths: vec!["/sys/x".into()],
        ..plan()
    });
    assert_eq!(
        spec["linux"]["maskedPaths"],
        serde_json::json!(["/proc/kcore"])
    );
    assert_eq!(spec["linux"]["readonlyPaths"], serde_json::json!([]));
    for bad in ["/", "proc", "/proc/../etc"] {
        let plan = ContainerPlan {
            masked_paths: Some(vec![bad.into()]),
            ..plan()
        };
        assert!(build(&plan).is_err(), "{bad}");
    }
}

#[test]
fn hostile_19_and_25_image_and_annotations_reach_no_control() {
    let mut hostile = plan();
    hostile.image.env.push("node-agent.io/hook=/bin/x".into());
    hostile.annotations = [("run.oci.hooks".to_owned(), "/bin/x".to_owned())].into();
    let quiet = json(&plan());
    let loud = json(&hostile);
    for part in ["linux", "mounts", "root", "hostname"] {
        // Sets have no order in this form.
        if part != "linux" {
            assert_eq!(quiet[part], loud[part], "{part}");
        }
        assert_eq!(quiet["linux"]["cgroupsPath"], loud["linux"]["cgroupsPath"]);
    }
    assert!(loud.get("hooks").is_none());
    assert_eq!(loud["annotations"]["run.oci.hooks"], "/bin/x");
}

#[test]
fn every_refusal_names_what_it_refuses() {
    type Set = fn(&mut ContainerPlan);
    let cases: [(&str, Set); 12] = [
        ("command", |p| p.image.entrypoint.clear()),
        ("user", |p| p.user = Some("-1".into())),
        ("user", |p| p.image.user = "4294967296:0".into()),
        ("NOPE", |p| p.capabilities.add = vec!["NOPE".into()]),
        ("kernel.core_pattern", |p| {
            p.sysctls = [("kernel.core_pattern".into(), "x".into())].into()
        }),
        ("/../x", |p| p.masked_paths = Some(vec!["/../x".into()])),
        ("working directory", |p| {
            p.working_directory = Some("x".into())
        }),
        ("hostname", |p| p.hostname = "a\0".into()),
        ("BAD", |p| p.env = vec![("BAD".into(), vec![0xff])]),
        ("files", |p| {
            p.rlimits = vec![crate::Rlimit {
                name: "files".into(),
                soft: 1,
                hard: 1,
            }];
        }),
        ("namespace path", |p| {
            p.namespaces.network = Namespace::Join("x".into())
        }),
        ("/dev/x", |p| {
            p.devices = vec![DevicePlan {
                path: "/dev/x".into(),
                kind: 'z',
                major: 1,
                minor: 1,
                mode: 0,
                uid: 0,
                gid: 0,
                access: "r".into(),
            }];
        }),
    ];
    for (word, set) in cases {
        let mut plan = plan();
        set(&mut plan);
        let message = build(&plan).unwrap_err().to_string();
        assert!(message.contains(word), "{message} lacks {word}");
    }
}
