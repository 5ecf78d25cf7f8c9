use expect_test::expect;

use crate::support::Agent;
use crate::support::samples::{MOMENT, fixed, nginx, web};

fn agent() -> Agent {
    Agent::new(|fake| {
        let mut web = web();
        let container = web.container.as_mut().expect("a container");
        container.created_at = MOMENT;
        container.started_at = MOMENT + 123_456_789;
        fake.container(web);
        fake.container(fixed());
        let mut nginx = nginx();
        nginx.image.as_mut().expect("an image").created_at = MOMENT;
        fake.images.push(nginx);
    })
}

#[test]
fn a_container_is_shown_as_docker_shows_it() {
    agent().ctl("inspect web").check(&expect![[r#"
        exit 0
        --- stdout
        [
            {
                "Id": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                "Created": "2026-01-02T15:04:05.000000000Z",
                "Path": "nginx",
                "Args": [
                    "-g",
                    "daemon off;"
                ],
                "State": {
                    "Status": "running",
                    "Running": true,
                    "Paused": false,
                    "Restarting": false,
                    "OOMKilled": false,
                    "Pid": 4242,
                    "ExitCode": 0,
                    "Reason": "",
                    "Error": "",
                    "StartedAt": "2026-01-02T15:04:05.123456789Z",
                    "FinishedAt": "0001-01-01T00:00:00Z"
                },
                "Image": "sha256:1111111111111111111111111111111111111111111111111111111111111111",
                "LogPath": "/var/log/web.log",
                "Name": "/web",
                "RestartCount": 0,
                "Platform": "linux",
                "HostConfig": {
                    "Binds": [
                        "/srv/web:/usr/share/web:ro"
                    ],
                    "NetworkMode": "bridge",
                    "PortBindings": {
                        "80/tcp": [
                            {
                                "HostIp": "",
                                "HostPort": "8080"
                            }
                        ]
                    },
                    "AutoRemove": false,
                    "RestartPolicy": {
                        "Name": "no",
                        "MaximumRetryCount": 0
                    },
                    "CapAdd": [
                        "NET_ADMIN"
                    ],
                    "CapDrop": [],
                    "Dns": [],
                    "DnsOptions": [],
                    "DnsSearch": [],
                    "ExtraHosts": [],
                    "GroupAdd": [],
                    "IpcMode": "private",
                    "PidMode": "",
                    "UTSMode": "",
                    "OomScoreAdj": 0,
                    "Privileged": false,
                    "ReadonlyRootfs": false,
                    "SecurityOpt": [],
                    "Tmpfs": {},
                    "ShmSize": 0,
                    "Sysctls": {},
                    "Init": false,
                    "Devices": [],
                    "Ulimits": [],
                    "Memory": 67108864,
                    "MemorySwap": 0,
                    "NanoCpus": 1500000000,
                    "CpuPeriod": 0,
                    "CpuQuota": 0,
                    "CpuShares": 0,
                    "CpusetCpus": "",
                    "CpusetMems": "",
                    "PidsLimit": 100
                },
                "Mounts": [
                    {
                        "Type": "bind",
                        "Source": "/srv/web",
                        "Destination": "/usr/share/web",
                        "Mode": "ro",
                        "RW": false
                    }
                ],
                "Config": {
                    "Hostname": "web",
                    "Domainname": "",
                    "User": "",
                    "ExposedPorts": {
                        "443/tcp": {},
                        "80/tcp": {}
                    },
                    "Tty": false,
                    "OpenStdin": false,
                    "StdinOnce": false,
                    "Env": [
                        "PATH=/usr/bin",
                        "MODE=live"
                    ],
                    "Cmd": [
                        "nginx",
                        "-g",
                        "daemon off;"
                    ],
                    "Image": "docker.io/library/nginx:1",
                    "WorkingDir": "/srv",
                    "Entrypoint": null,
                    "Labels": {
                        "app": "shop",
                        "role": "front"
                    },
                    "StopSignal": "",
                    "StopTimeout": null
                },
                "NetworkSettings": {
                    "IPAddress": "10.88.0.2",
                    "GlobalIPv6Address": "fd88::2",
                    "Gateway": "10.88.0.1",
                    "MacAddress": "02:00:00:00:00:02",
                    "Ports": {
                        "80/tcp": [
                            {
                                "HostIp": "0.0.0.0",
                                "HostPort": "8080"
                            },
                            {
                                "HostIp": "::",
                                "HostPort": "8080"
                            }
                        ]
                    },
                    "Networks": {
                        "bridge": {
                            "IPAddress": "10.88.0.2",
                            "GlobalIPv6Address": "fd88::2",
                            "Gateway": "10.88.0.1",
                            "MacAddress": "02:00:00:00:00:02"
                        }
                    }
                },
                "CgroupPath": "/node-agent/web",
                "SandboxId": "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            }
        ]
    "#]]);
}

#[test]
fn an_image_is_shown_as_docker_shows_it() {
    agent().ctl("inspect nginx:1").check(&expect![[r#"
        exit 0
        --- stdout
        [
            {
                "Id": "sha256:1111111111111111111111111111111111111111111111111111111111111111",
                "RepoTags": [
                    "nginx:1",
                    "localhost:5000/web:live"
                ],
                "RepoDigests": [
                    "nginx@sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
                ],
                "Created": "2026-01-02T15:04:05.000000000Z",
                "Author": "",
                "Architecture": "amd64",
                "Variant": "",
                "Os": "linux",
                "Size": 133240000,
                "Config": {
                    "User": "",
                    "ExposedPorts": {
                        "80/tcp": {}
                    },
                    "Env": [
                        "PATH=/usr/bin"
                    ],
                    "Cmd": [
                        "nginx"
                    ],
                    "Volumes": {},
                    "WorkingDir": "/",
                    "Entrypoint": [],
                    "Labels": {
                        "maintainer": "someone"
                    },
                    "StopSignal": ""
                },
                "RootFS": {
                    "Type": "layers",
                    "Layers": [
                        "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"
                    ]
                }
            }
        ]
    "#]]);
}

#[test]
fn templates_reach_into_it() {
    let agent = agent();
    let table = [
        ("{{.State.Status}} {{.State.Pid}}", "running 4242"),
        ("{{.Name}}", "/web"),
        ("{{.NetworkSettings.IPAddress}}", "10.88.0.2"),
        (
            "{{range .Config.Env}}{{println .}}{{end}}",
            "PATH=/usr/bin\nMODE=live\n",
        ),
        (
            "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}",
            "8080",
        ),
        (
            "{{range $p, $c := .NetworkSettings.Ports}}{{$p}} -> {{(index $c 0).HostPort}}{{end}}",
            "80/tcp -> 8080",
        ),
        ("{{index .Config.Labels \"role\"}}", "front"),
        ("{{json .Config.Cmd}}", "[\"nginx\",\"-g\",\"daemon off;\"]"),
        (
            "{{range .Mounts}}{{.Source}}:{{.Destination}}{{end}}",
            "/srv/web:/usr/share/web",
        ),
        (
            "{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}}",
            "67108864 1500000000",
        ),
        ("{{.State.FinishedAt}}", "0001-01-01T00:00:00Z"),
    ];
    for (template, expected) in table {
        let output = agent
            .ctl_words(&["inspect", "-f", template, "web"])
            .output();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            format!("{expected}\n"),
            "{template}"
        );
    }
}

#[test]
fn several_are_one_list() {
    let output = agent().ctl("inspect web job nginx:1").output();
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a list");
    assert_eq!(list.as_array().map(Vec::len), Some(3));
    assert_eq!(list[1]["State"]["ExitCode"], 3);
}

#[test]
fn what_is_unknown_is_told_and_the_rest_is_shown() {
    agent()
        .ctl("inspect wbe nosuch job --format {{.Name}}")
        .check(&expect![[r#"
            exit 1
            --- stdout
            /job
            --- stderr
            error: there is no container or image wbe
            hint: did you mean `web`?
            error: there is no container or image nosuch
            hint: `ctl ps -a` lists all containers, `ctl images` the images
        "#]]);
    agent().ctl("inspect nosuch").check(&expect![[r#"
        exit 1
        --- stdout
        []
        --- stderr
        error: there is no container or image nosuch
        hint: `ctl ps -a` lists all containers, `ctl images` the images
    "#]]);
}

#[test]
fn a_type_narrows_the_search() {
    agent()
        .ctl("inspect --type image web -f x")
        .check(&expect![[r#"
            exit 1
            --- stderr
            error: there is no image web
            hint: `ctl images` lists the images of this node
        "#]]);
    agent()
        .ctl("image inspect nginx:1 -f {{.Os}}")
        .check(&expect![[r#"
            exit 0
            --- stdout
            linux
        "#]]);
    agent().ctl("container inspect nginx:1").check(&expect![[r#"
            exit 1
            --- stdout
            []
            --- stderr
            error: there is no container nginx:1
            hint: `ctl ps -a` lists all containers
        "#]]);
}

#[test]
fn an_unknown_field_is_named() {
    agent()
        .ctl("inspect -f {{.State.Frob}} job")
        .check(&expect![[r#"
            exit 2
            --- stderr
            error: the format cannot be applied
              there is no field Frob in .State
            hint: fields here: Status Running Paused Restarting OOMKilled Pid ExitCode Reason Error StartedAt FinishedAt
        "#]]);
}
