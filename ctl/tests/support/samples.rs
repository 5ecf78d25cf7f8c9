//! Containers and images to try commands on.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use proto::agent::{
    Container, ContainerSpec, ContainerState, Image, InspectContainerResponse,
    InspectImageResponse, Mount, MountKind, NetworkKind, PortMapping, Protocol, Resources,
};

/// 2026-01-02T15:04:05Z in nanoseconds.
pub(crate) const MOMENT: i64 = 1_767_366_245_000_000_000;

/// Returns the moment so many seconds ago, and half a second, lest a slow test sees another age.
pub(crate) fn ago(seconds: i64) -> i64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_nanos();
    i64::try_from(now).expect("before 2262") - seconds * 1_000_000_000 - 500_000_000
}

fn id(digit: char) -> String {
    digit.to_string().repeat(64)
}

/// A running web server with a published port and labels.
pub(crate) fn web() -> InspectContainerResponse {
    let port = PortMapping {
        protocol: Protocol::Tcp.into(),
        container_port: 80,
        host_port: 8080,
        host_ip: String::new(),
    };
    let mount = Mount {
        kind: MountKind::Bind.into(),
        source: "/srv/web".into(),
        destination: "/usr/share/web".into(),
        read_only: true,
        ..Default::default()
    };
    let labels = HashMap::from([
        ("role".to_owned(), "front".to_owned()),
        ("app".to_owned(), "shop".to_owned()),
    ]);
    let container = Container {
        id: id('a'),
        name: "web".into(),
        image: "docker.io/library/nginx:1".into(),
        image_id: format!("sha256:{}", id('1')),
        command: vec!["nginx".into(), "-g".into(), "daemon off;".into()],
        state: ContainerState::Running.into(),
        created_at: ago(3 * 3600),
        started_at: ago(150),
        labels,
        ports: vec![port.clone()],
        ips: vec!["10.88.0.2".into(), "fd88::2".into()],
        network: NetworkKind::Bridge.into(),
        mounts: vec![mount.clone()],
        ..Default::default()
    };
    let spec = ContainerSpec {
        name: "web".into(),
        image: "nginx:1".into(),
        command: vec!["nginx".into(), "-g".into(), "daemon off;".into()],
        env: vec!["PATH=/usr/bin".into(), "MODE=live".into()],
        working_dir: "/srv".into(),
        hostname: "web".into(),
        mounts: vec![mount],
        network: NetworkKind::Bridge.into(),
        ports: vec![port],
        exposed_ports: vec!["443/tcp".into()],
        resources: Some(Resources {
            memory: 64 << 20,
            cpu_millis: 1500,
            pids: 100,
            ..Default::default()
        }),
        cap_add: vec!["NET_ADMIN".into()],
        ..Default::default()
    };
    InspectContainerResponse {
        container: Some(container),
        spec: Some(spec),
        pid: 4242,
        log_path: "/var/log/web.log".into(),
        cgroup_path: "/node-agent/web".into(),
        gateway: "10.88.0.1".into(),
        mac_address: "02:00:00:00:00:02".into(),
        sandbox_id: id('f'),
        ..Default::default()
    }
}

/// A container that has ended.
pub(crate) fn job() -> InspectContainerResponse {
    let container = Container {
        id: id('b'),
        name: "job".into(),
        image: "docker.io/library/busybox:latest".into(),
        image_id: format!("sha256:{}", id('2')),
        command: vec!["sh".into(), "-c".into(), "exit 3".into()],
        state: ContainerState::Exited.into(),
        created_at: ago(3 * 86_400),
        started_at: ago(3 * 86_400),
        finished_at: ago(2 * 86_400),
        exit_code: 3,
        reason: "Error".into(),
        network: NetworkKind::None.into(),
        ..Default::default()
    };
    let spec = ContainerSpec {
        image: "busybox".into(),
        stdin: true,
        network: NetworkKind::None.into(),
        ..Default::default()
    };
    InspectContainerResponse {
        container: Some(container),
        spec: Some(spec),
        ..Default::default()
    }
}

/// A container whose times are of the past and do not move.
pub(crate) fn fixed() -> InspectContainerResponse {
    let mut answer = job();
    let container = answer.container.as_mut().expect("a container");
    container.created_at = MOMENT;
    container.started_at = MOMENT + 123_456_789;
    container.finished_at = MOMENT + 2_000_000_000;
    answer
}

/// An image with two names, of which one registry tells the digest.
pub(crate) fn nginx() -> InspectImageResponse {
    let image = Image {
        id: format!("sha256:{}", id('1')),
        tags: vec![
            "docker.io/library/nginx:1".into(),
            "localhost:5000/web:live".into(),
        ],
        digests: vec![format!("docker.io/library/nginx@sha256:{}", id('c'))],
        size: 133_240_000,
        created_at: ago(20 * 86_400),
        labels: HashMap::from([("maintainer".to_owned(), "someone".to_owned())]),
        containers: 1,
    };
    InspectImageResponse {
        image: Some(image),
        architecture: "amd64".into(),
        os: "linux".into(),
        env: vec!["PATH=/usr/bin".into()],
        command: vec!["nginx".into()],
        exposed_ports: vec!["80/tcp".into()],
        working_dir: "/".into(),
        layers: vec![format!("sha256:{}", id('d'))],
        ..Default::default()
    }
}

/// A small image.
pub(crate) fn busybox() -> InspectImageResponse {
    let image = Image {
        id: format!("sha256:{}", id('2')),
        tags: vec!["docker.io/library/busybox:latest".into()],
        size: 4_261_502,
        created_at: ago(400 * 86_400),
        ..Default::default()
    };
    InspectImageResponse {
        image: Some(image),
        ..Default::default()
    }
}

/// An image that no name leads to.
pub(crate) fn nameless() -> InspectImageResponse {
    let image = Image {
        id: format!("sha256:{}", id('3')),
        size: 999,
        ..Default::default()
    };
    InspectImageResponse {
        image: Some(image),
        ..Default::default()
    }
}
