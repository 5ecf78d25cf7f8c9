//! The commands about the node: version, info.

use expect_test::expect;

use crate::support::{Agent, Ctl};

#[test]
fn version_shows_both_sides() {
    Agent::empty().ctl("version").check(&expect![[r#"
        exit 0
        --- stdout
        Client:
         Version:       0.1.0
         ApiVersion:    agent.v1
         Os:            linux
         Arch:          x86_64
        Server:
         Version:       0.1.0
         ApiVersion:    agent.v1
         GitCommit:     abcdef0
         Os:            linux
         Arch:          amd64
         KernelVersion: 6.1.0
    "#]]);
    Agent::empty()
        .ctl("version -f {{.Server.Version}}")
        .check(&expect![[r#"
            exit 0
            --- stdout
            0.1.0
        "#]]);
}

#[test]
fn version_shows_its_own_without_an_agent() {
    Ctl::alone("version").check(&expect![[r#"
        exit 1
        --- stdout
        Client:
         Version:       0.1.0
         ApiVersion:    agent.v1
         Os:            linux
         Arch:          x86_64
        --- stderr
        error: cannot reach the agent at unix:///does/not/exist.sock
          there is no such socket
        hint: is node-agent running? `systemctl status node-agent` tells
        hint: another socket is named by -H/--host or NODE_AGENT_HOST
    "#]]);
}

#[test]
fn ctls_own_version_is_a_flag_too() {
    Ctl::alone("--version").check(&expect![[r#"
        exit 0
        --- stdout
        ctl 0.1.0
    "#]]);
}

#[test]
fn info_describes_the_node() {
    Agent::empty().ctl("info").check(&expect![[r#"
        exit 0
        --- stdout
        Name: node-1
        Agent version: 0.1.0
        Containers: 3
         Running: 2
         Exited: 1
        Sandboxes: 4
        Images: 5
        Stored: 133MB
        Cgroup driver: cgroupfs
        Cgroup version: 2
        Kernel version: 6.1.0
        Operating system: linux
        Architecture: amd64
        CPUs: 2
        Total memory: 7.653GiB
        Root directory: /var/lib/node-agent
        State directory: /run/node-agent
        Bridge: node0
        Subnets: 10.88.0.0/16, fd88::/64
        --- stderr
        warning: swap cannot be limited
    "#]]);
    Agent::empty()
        .ctl_words(&[
            "system",
            "info",
            "--format",
            "{{.Containers}} {{json .Subnets}}",
        ])
        .check(&expect![[r#"
            exit 0
            --- stdout
            3 ["10.88.0.0/16","fd88::/64"]
            --- stderr
            warning: swap cannot be limited
        "#]]);
}
