//! A container in full, with docker's field names, for `inspect`.

use std::collections::BTreeMap;

use proto::agent::{
    Container, ContainerSpec, ContainerState, InspectContainerResponse, Mount, MountKind, Resources,
};
use serde_json::{Map, Value, json};

use super::container::state_name;
use super::{ports, sorted};
use crate::output::utc_time;
use crate::parse::network::network_name;
use crate::parse::restart::restart_name;

/// Docker shows times that have not come as the first instant of the year 1.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Returns everything known of a container.
pub(crate) fn detail(answer: &InspectContainerResponse) -> Value {
    let container = answer.container.clone().unwrap_or_default();
    let spec = answer.spec.clone().unwrap_or_default();
    let (path, arguments) = container
        .command
        .split_first()
        .map_or(("", &[][..]), |(path, rest)| (path, rest));
    let mut detail = json!({
        "Id": container.id,
        "Created": time(container.created_at),
        "Path": path,
        "Args": arguments,
        "State": state(answer, &container),
        "Image": container.image_id,
        "LogPath": answer.log_path,
        "Name": format!("/{}", container.name),
        "RestartCount": container.restart_count,
        "Platform": "linux",
        "HostConfig": host_config(&spec),
        "Mounts": spec.mounts.iter().map(mount).collect::<Vec<_>>(),
        "Config": config(&spec, &container),
        "NetworkSettings": network(answer, &spec, &container),
        "CgroupPath": answer.cgroup_path,
        "SandboxId": answer.sandbox_id,
    });
    for (field, size) in [
        ("SizeRw", container.size_rw),
        ("SizeRootFs", container.size_root),
    ] {
        if let Some(size) = size {
            detail[field] = size.into();
        }
    }
    detail
}

fn state(answer: &InspectContainerResponse, container: &Container) -> Value {
    let state = container.state();
    json!({
        "Status": state_name(state),
        // As docker has it, one that is about to be started again counts as running.
        "Running": matches!(state, ContainerState::Running | ContainerState::Restarting),
        // It cannot be so far; scripts ask all the same.
        "Paused": false,
        "Restarting": state == ContainerState::Restarting,
        "OOMKilled": answer.oom_killed,
        "Pid": answer.pid,
        "ExitCode": container.exit_code,
        "Reason": container.reason,
        "Error": container.message,
        "StartedAt": time(container.started_at),
        "FinishedAt": time(container.finished_at),
    })
}

fn config(spec: &ContainerSpec, container: &Container) -> Value {
    let exposed = spec
        .exposed_ports
        .iter()
        .cloned()
        .chain(spec.ports.iter().map(ports::container_side));
    let exposed: BTreeMap<_, _> = exposed.map(|port| (port, json!({}))).collect();
    json!({
        "Hostname": spec.hostname,
        "Domainname": spec.domainname,
        "User": spec.user,
        "ExposedPorts": exposed,
        "Tty": spec.terminal,
        "OpenStdin": spec.stdin,
        "StdinOnce": spec.stdin_once,
        "Env": spec.env,
        "Cmd": spec.command,
        "Image": container.image,
        "WorkingDir": spec.working_dir,
        "Entrypoint": if spec.entrypoint.is_empty() { Value::Null } else { json!(spec.entrypoint) },
        "Labels": sorted(&container.labels),
        "StopSignal": spec.stop_signal,
        "StopTimeout": spec.stop_timeout,
    })
}

fn host_config(spec: &ContainerSpec) -> Value {
    let limits = spec.resources.clone().unwrap_or_default();
    let mut config = json!({
        "Binds": spec.mounts.iter().filter(|mount| mount.kind() == MountKind::Bind).map(bind).collect::<Vec<_>>(),
        "NetworkMode": network_name(spec.network(), &spec.network_container),
        "PortBindings": bindings(spec),
        "AutoRemove": spec.auto_remove,
        "RestartPolicy": {
            "Name": restart_name(spec.restart.unwrap_or_default()),
            "MaximumRetryCount": spec.restart.unwrap_or_default().most,
        },
        "CapAdd": spec.cap_add,
        "CapDrop": spec.cap_drop,
        "Dns": spec.dns_servers,
        "DnsOptions": spec.dns_options,
        "DnsSearch": spec.dns_searches,
        "ExtraHosts": spec.extra_hosts,
        "GroupAdd": spec.group_add,
        "IpcMode": mode(&spec.ipc_mode),
        "PidMode": spec.pid_mode,
        "UTSMode": spec.uts_mode,
        "OomScoreAdj": spec.oom_score_adj.unwrap_or(0),
        "Privileged": spec.privileged,
        "ReadonlyRootfs": spec.read_only,
        "SecurityOpt": spec.security_opt,
        "Tmpfs": spec.mounts.iter().filter(|mount| mount.kind() == MountKind::Tmpfs).map(tmpfs).collect::<Map<_, _>>(),
        "ShmSize": spec.shm_size,
        "Sysctls": sorted(&spec.sysctls),
        "Init": spec.init,
        "Devices": spec.devices.iter().map(|device| json!({
            "PathOnHost": device.host_path,
            "PathInContainer": device.container_path,
            "CgroupPermissions": device.permissions,
        })).collect::<Vec<_>>(),
        "Ulimits": spec.ulimits.iter().map(|limit| json!({
            "Name": limit.name,
            // Docker says -1 where there is no limit.
            "Soft": i64::try_from(limit.soft).unwrap_or(-1),
            "Hard": i64::try_from(limit.hard).unwrap_or(-1),
        })).collect::<Vec<_>>(),
    });
    if let (Value::Object(config), Value::Object(resources)) = (&mut config, resources(&limits)) {
        config.extend(resources);
    }
    config
}

fn resources(limits: &Resources) -> Value {
    json!({
        "Memory": limits.memory,
        "MemorySwap": limits.memory_swap,
        "NanoCpus": limits.cpu_millis * 1_000_000,
        "CpuPeriod": limits.cpu_period,
        "CpuQuota": limits.cpu_quota,
        "CpuShares": limits.cpu_shares,
        "CpusetCpus": limits.cpuset_cpus,
        "CpusetMems": limits.cpuset_mems,
        "PidsLimit": limits.pids,
    })
}

fn network(
    answer: &InspectContainerResponse,
    spec: &ContainerSpec,
    container: &Container,
) -> Value {
    let (six, four): (Vec<_>, Vec<_>) = container.ips.iter().partition(|ip| ip.contains(':'));
    let first = |ips: &[&String]| ips.first().map_or_else(String::new, |ip| (*ip).clone());
    let (four, six) = (first(&four), first(&six));
    let mut networks = Map::new();
    let endpoint = json!({
        "IPAddress": four,
        "GlobalIPv6Address": six,
        "Gateway": answer.gateway,
        "MacAddress": answer.mac_address,
    });
    networks.insert(
        network_name(spec.network(), &spec.network_container),
        endpoint,
    );
    json!({
        "IPAddress": four,
        "GlobalIPv6Address": six,
        "Gateway": answer.gateway,
        "MacAddress": answer.mac_address,
        "Ports": held_ports(container),
        "Networks": networks,
    })
}

/// Returns the ports as `{"80/tcp": [{"HostIp": ..., "HostPort": ...}]}`.
fn held_ports(container: &Container) -> BTreeMap<String, Value> {
    let mut held = BTreeMap::new();
    for mapping in &container.ports {
        for address in ports::host_addresses(mapping) {
            push_binding(
                &mut held,
                ports::container_side(mapping),
                &address,
                mapping.host_port,
            );
        }
    }
    held
}

/// Returns the ports as they were asked for.
fn bindings(spec: &ContainerSpec) -> BTreeMap<String, Value> {
    let mut asked = BTreeMap::new();
    for mapping in &spec.ports {
        push_binding(
            &mut asked,
            ports::container_side(mapping),
            &mapping.host_ip,
            mapping.host_port,
        );
    }
    asked
}

fn push_binding(ports: &mut BTreeMap<String, Value>, side: String, address: &str, port: u32) {
    let port = if port == 0 {
        String::new()
    } else {
        port.to_string()
    };
    let binding = json!({"HostIp": address, "HostPort": port});
    if let Value::Array(bindings) = ports.entry(side).or_insert_with(|| json!([])) {
        bindings.push(binding);
    }
}

fn mount(mount: &Mount) -> Value {
    json!({
        "Type": if mount.kind() == MountKind::Tmpfs { "tmpfs" } else { "bind" },
        "Source": mount.source,
        "Destination": mount.destination,
        "Mode": if mount.read_only { "ro" } else { "" },
        "RW": !mount.read_only,
    })
}

fn bind(mount: &Mount) -> String {
    let mode = if mount.read_only { ":ro" } else { "" };
    format!("{}:{}{mode}", mount.source, mount.destination)
}

fn tmpfs(mount: &Mount) -> (String, Value) {
    let mut options = Vec::new();
    if mount.read_only {
        options.push("ro".to_owned());
    }
    if mount.size > 0 {
        options.push(format!("size={}", mount.size));
    }
    if mount.mode > 0 {
        options.push(format!("mode={:o}", mount.mode));
    }
    (mount.destination.clone(), options.join(",").into())
}

fn mode(mode: &str) -> &str {
    if mode.is_empty() { "private" } else { mode }
}

fn time(time: i64) -> String {
    if time == 0 {
        NEVER.into()
    } else {
        utc_time(time)
    }
}
