//! Flags of docker's that `ctl` does not have, and why: refused by name, never ignored.

/// Reasons shared by several flags.
const NO_DEVICE_LIMITS: &str = "input and output of devices are not limited";
const NO_HEALTH: &str = "the health of containers is not watched";
const NO_NAMES: &str =
    "containers do not find each other by name; publish ports, or use --network container:NAME";
const OWN_ADDRESS: &str = "the agent gives out the addresses of its bridge";
const NO_REALTIME: &str = "real-time processes are not limited";
const WINDOWS: &str = "it is for Windows";
const NO_TRUST: &str = "signatures are not checked; name the image by its digest";
const NO_CHECKPOINTS: &str = "there are no checkpoints";
const NO_PAST: &str = "events are told from now on";
const NO_VOLUMES: &str = "only paths of the host can be mounted so far";

/// What makes a container: the flags of `run` and `create`.
const CREATE: &[(&str, &str)] = &[
    (
        "--annotation",
        "nothing reads annotations; --label keeps words with a container",
    ),
    ("--blkio-weight", NO_DEVICE_LIMITS),
    ("--blkio-weight-device", NO_DEVICE_LIMITS),
    (
        "--cgroup-parent",
        "the agent's configuration names the cgroup of all containers",
    ),
    (
        "--cgroupns",
        "each container has a cgroup namespace of its own",
    ),
    ("--cpu-count", WINDOWS),
    ("--cpu-percent", WINDOWS),
    ("--cpu-rt-period", NO_REALTIME),
    ("--cpu-rt-runtime", NO_REALTIME),
    (
        "--device-cgroup-rule",
        "only devices that --device names can be used",
    ),
    ("--device-read-bps", NO_DEVICE_LIMITS),
    ("--device-read-iops", NO_DEVICE_LIMITS),
    ("--device-write-bps", NO_DEVICE_LIMITS),
    ("--device-write-iops", NO_DEVICE_LIMITS),
    ("--disable-content-trust", NO_TRUST),
    ("--gpus", "name the devices themselves with --device"),
    ("--health-cmd", NO_HEALTH),
    ("--health-interval", NO_HEALTH),
    ("--health-retries", NO_HEALTH),
    ("--health-start-interval", NO_HEALTH),
    ("--health-start-period", NO_HEALTH),
    ("--health-timeout", NO_HEALTH),
    ("--io-maxbandwidth", WINDOWS),
    ("--io-maxiops", WINDOWS),
    ("--ip", OWN_ADDRESS),
    ("--ip6", OWN_ADDRESS),
    ("--isolation", WINDOWS),
    ("--kernel-memory", "the kernel counts it with --memory"),
    ("--link", NO_NAMES),
    ("--link-local-ip", OWN_ADDRESS),
    ("--log-driver", "output goes to files that `ctl logs` reads"),
    (
        "--log-opt",
        "how large logs grow is in the agent's configuration",
    ),
    ("--mac-address", OWN_ADDRESS),
    (
        "--memory-reservation",
        "there are limits only, such as --memory",
    ),
    ("--memory-swappiness", "--memory-swap limits swap"),
    ("--network-alias", NO_NAMES),
    ("--no-healthcheck", NO_HEALTH),
    (
        "--oom-kill-disable",
        "a container without memory would hang; --oom-score-adj makes it a later choice",
    ),
    ("--runtime", "containers run in the agent's own runtime"),
    (
        "--storage-opt",
        "the size of a container's own files is not limited",
    ),
    (
        "--use-api-socket",
        "mount the agent's socket with -v if the container may do everything",
    ),
    ("--userns", "containers share the host's user namespace"),
    ("--volume-driver", NO_VOLUMES),
];

/// Returns why `command` does not have docker's `flag`, long or short; `None` where docker has
/// no such flag either.
pub(crate) fn reason(command: &str, flag: &str) -> Option<&'static str> {
    let flags: &[(&str, &'static str)] = match command {
        "run" | "create" => CREATE,
        "start" => &[
            ("--checkpoint", NO_CHECKPOINTS),
            ("--checkpoint-dir", NO_CHECKPOINTS),
        ],
        "rm" => &[("--link", NO_NAMES), ("-l", NO_NAMES)],
        "events" => &[("--since", NO_PAST), ("--until", NO_PAST)],
        "logs" => &[(
            "--details",
            "logs have no details beside the container's labels",
        )],
        "images" => &[("--tree", "`ctl inspect` shows the parts of an image")],
        "pull" => &[
            ("--all-tags", "name each tag"),
            ("-a", "name each tag"),
            ("--disable-content-trust", NO_TRUST),
        ],
        "rmi" => &[
            (
                "--no-prune",
                "an image has no parents that would go with it",
            ),
            ("--platform", "an image is of one platform here"),
        ],
        _ => &[],
    };
    let known = flags.iter().find(|(name, _)| *name == flag)?;
    Some(known.1)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Invocation;

    /// The flags of docker's client 28 by command.
    const DOCKER: &[(&str, &str)] = &[
        (
            "create",
            "add-host annotation attach blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent cgroupns \
             cidfile cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares cpus \
             cpuset-cpus cpuset-mems device device-cgroup-rule device-read-bps device-read-iops device-write-bps \
             device-write-iops disable-content-trust dns dns-option dns-search domainname entrypoint env env-file \
             expose gpus group-add health-cmd health-interval health-retries health-start-interval \
             health-start-period health-timeout help hostname init interactive io-maxbandwidth io-maxiops ip ip6 ipc \
             isolation kernel-memory label label-file link link-local-ip log-driver log-opt mac-address memory \
             memory-reservation memory-swap memory-swappiness mount name network network-alias no-healthcheck \
             oom-kill-disable oom-score-adj pid pids-limit platform privileged publish publish-all pull quiet \
             read-only restart rm runtime security-opt shm-size stop-signal stop-timeout storage-opt sysctl tmpfs \
             tty ulimit use-api-socket user userns uts volume volume-driver volumes-from workdir",
        ),
        ("run", "detach detach-keys sig-proxy"),
        ("ps", "all filter format last latest no-trunc quiet size"),
        ("logs", "details follow since tail timestamps until"),
        (
            "exec",
            "detach detach-keys env env-file interactive privileged tty user workdir",
        ),
        ("images", "all digests filter format no-trunc quiet tree"),
        ("inspect", "format size type"),
        ("pull", "all-tags disable-content-trust platform quiet"),
        ("rmi", "force no-prune platform"),
        ("stop", "signal timeout"),
        ("restart", "signal timeout"),
        ("kill", "signal"),
        ("rm", "force link volumes"),
        (
            "start",
            "attach checkpoint checkpoint-dir detach-keys interactive",
        ),
        ("attach", "detach-keys no-stdin sig-proxy"),
        ("events", "filter format since until"),
        ("version", "format"),
        ("info", "format"),
    ];

    fn has(command: &str, flag: &str) -> bool {
        let ctl = Invocation::command();
        let command = ctl.find_subcommand(command).expect("a command of ctl's");
        command.get_arguments().any(|argument| {
            let names = argument.get_long_and_visible_aliases();
            names.is_some_and(|names| names.contains(&flag)) || argument.get_id() == flag
        })
    }

    #[test]
    fn every_flag_of_dockers_works_or_is_refused_by_name() {
        let of_run = DOCKER.iter().filter(|(command, _)| *command == "create");
        let of_run = of_run.map(|(_, flags)| ("run", *flags));
        for (command, flags) in DOCKER.iter().copied().chain(of_run) {
            for flag in flags.split_whitespace() {
                let refused = reason(command, &format!("--{flag}")).is_some();
                assert_ne!(has(command, flag), refused, "ctl {command} --{flag}");
            }
        }
    }
}
