use clap::Parser;
use proto::agent::{ContainerSpec, MountKind, NetworkKind, Resources};

use super::ContainerOptions;

#[derive(Debug, Parser)]
#[command(disable_help_flag = true)]
struct Line {
    #[command(flatten)]
    options: ContainerOptions,
}

fn spec(line: &[&str]) -> ContainerSpec {
    let line = Line::try_parse_from(["run"].iter().chain(line)).expect("parses");
    line.options.spec().expect("a spec")
}

#[test]
fn what_follows_the_image_is_the_containers() {
    let spec = spec(&["-e", "A=1", "web", "sh", "-c", "echo \"$0\"", "--", "-d"]);
    assert_eq!(spec.image, "web");
    assert_eq!(spec.command, ["sh", "-c", "echo \"$0\"", "--", "-d"]);
    assert_eq!(spec.env, ["A=1"]);
    let flags = self::spec(&["web", "-g", "daemon off;", "--help"]);
    assert_eq!(flags.command, ["-g", "daemon off;", "--help"]);
}

#[test]
fn nothing_is_set_that_was_not_asked_for() {
    let plain = spec(&["web"]);
    let expected = ContainerSpec {
        image: "web".into(),
        network: NetworkKind::Bridge.into(),
        resources: Some(Default::default()),
        ..Default::default()
    };
    assert_eq!(plain, expected);
}

/// Returns the spec of a line in which only blanks divide words.
fn spec_of(line: &str) -> ContainerSpec {
    spec(&line.split(' ').collect::<Vec<_>>())
}

#[test]
fn flags_of_the_container_itself_fill_their_fields() {
    let spec = spec_of("--name web -h host --domainname example -l role=front --rm image");
    assert_eq!(
        (spec.name.as_str(), spec.hostname.as_str()),
        ("web", "host")
    );
    assert_eq!(
        (spec.domainname.as_str(), spec.auto_remove),
        ("example", true)
    );
    assert_eq!(spec.labels["role"], "front");
}

#[test]
fn flags_of_the_process_fill_their_fields() {
    let line = "-it --entrypoint sh -w /srv -u 1:2 --group-add video --init --stop-signal SIGINT --stop-timeout 3 image";
    let spec = spec_of(line);
    assert!(spec.terminal && spec.stdin && spec.init);
    assert_eq!(
        (spec.entrypoint, spec.working_dir),
        (vec!["sh".to_owned()], "/srv".to_owned())
    );
    assert_eq!(
        (spec.user, spec.group_add),
        ("1:2".to_owned(), vec!["video".to_owned()])
    );
    assert_eq!(
        (spec.stop_signal.as_str(), spec.stop_timeout),
        ("SIGINT", Some(3))
    );
}

#[test]
fn flags_of_the_network_fill_their_fields() {
    let line = "--net container:db -p 8080:80 --expose 90 --add-host db:10.0.0.1 --dns 10.0.0.2 \
        --dns-search example --dns-option ndots:2 --uts host image";
    let spec = spec_of(line);
    assert_eq!(
        (spec.network(), spec.network_container.as_str()),
        (NetworkKind::Container, "db")
    );
    assert_eq!(
        (spec.ports[0].host_port, spec.ports[0].container_port),
        (8080, 80)
    );
    assert_eq!(
        (spec.exposed_ports, spec.extra_hosts),
        (vec!["90/tcp".to_owned()], vec!["db:10.0.0.1".to_owned()])
    );
    assert_eq!(
        (spec.dns_servers, spec.dns_searches),
        (vec!["10.0.0.2".to_owned()], vec!["example".to_owned()])
    );
    assert_eq!(
        (spec.dns_options, spec.uts_mode),
        (vec!["ndots:2".to_owned()], "host".to_owned())
    );
}

#[test]
fn flags_of_storage_fill_their_fields() {
    let line = "-v /a:/b:ro --mount type=bind,source=/c,target=/d --tmpfs /t --read-only --shm-size 1m image";
    let spec = spec_of(line);
    let mounts: Vec<_> = spec
        .mounts
        .iter()
        .map(|mount| (mount.kind(), mount.destination.as_str()))
        .collect();
    assert_eq!(
        mounts,
        [
            (MountKind::Bind, "/b"),
            (MountKind::Bind, "/d"),
            (MountKind::Tmpfs, "/t")
        ]
    );
    assert_eq!((spec.read_only, spec.shm_size), (true, 1 << 20));
}

#[test]
fn flags_of_limits_fill_their_fields() {
    let line = "-m 64m --memory-swap -1 --cpus 0.5 -c 512 --cpuset-cpus 0-1 --cpuset-mems 0 --pids-limit -1 \
        --ulimit nofile=5 --oom-score-adj -5 image";
    let spec = spec_of(line);
    let expected = Resources {
        memory: 64 << 20,
        memory_swap: -1,
        cpu_millis: 500,
        cpu_shares: 512,
        cpuset_cpus: "0-1".into(),
        cpuset_mems: "0".into(),
        pids: -1,
        ..Default::default()
    };
    assert_eq!(
        (spec.resources, spec.oom_score_adj),
        (Some(expected), Some(-5))
    );
    assert_eq!(
        (spec.ulimits[0].name.as_str(), spec.ulimits[0].soft),
        ("nofile", 5)
    );
}

#[test]
fn flags_of_security_fill_their_fields() {
    let line = "--privileged --cap-add NET_ADMIN --cap-drop ALL --security-opt no-new-privileges \
        --device /dev/fuse --sysctl net.a=1 --pid host --ipc host image";
    let spec = spec_of(line);
    assert!(spec.privileged);
    assert_eq!(
        (spec.cap_add, spec.cap_drop),
        (vec!["NET_ADMIN".to_owned()], vec!["ALL".to_owned()])
    );
    assert_eq!(
        (
            spec.security_opt[0].as_str(),
            spec.devices[0].host_path.as_str()
        ),
        ("no-new-privileges", "/dev/fuse")
    );
    assert_eq!(
        (spec.sysctls["net.a"].as_str(), spec.pid_mode.as_str()),
        ("1", "host")
    );
    assert_eq!(spec.ipc_mode, "host");
}

#[test]
fn an_empty_entrypoint_clears_the_images() {
    let cleared = spec(&["--entrypoint", "", "web"]);
    assert!(cleared.clear_entrypoint && cleared.entrypoint.is_empty());
}
