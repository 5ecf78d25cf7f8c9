//! `--help` of the commands about containers.

use expect_test::expect;

use crate::support::Ctl;

#[test]
fn of_run() {
    Ctl::alone("run --help").check(&expect![[r#"
        exit 0
        --- stdout
        Create a container and start it

        Usage: ctl run [OPTIONS] IMAGE [COMMAND] [ARG...]

        Options:
          -d, --detach                Let it run in the background, and print its id
              --detach-keys <KEYS>    Keys that leave the container running [default: ctrl-p,ctrl-q]
              --sig-proxy[=<BOOL>]    Pass signals on, unless the container has a terminal [default: true]
              --name <NAME>           Name of the container; one is made up if none is given
              --cidfile <FILE>        Write the container's id to a file, which must not exist
          -h, --hostname <NAME>       Host name inside the container
              --domainname <NAME>     NIS domain name inside the container
          -l, --label <NAME[=VALUE]>  Label to keep with the container
              --label-file <FILE>     Read labels from a file, one on each line
              --rm                    Remove the container once it has ended
              --restart <POLICY>      Start it again when it has ended: no, on-failure[:COUNT], always or
                                      unless-stopped
              --pull <WHEN>           Fetch the image [default: missing] [possible values: missing, always,
                                      never]
              --platform <PLATFORM>   Fetch for OS/ARCHITECTURE[/VARIANT] in place of this machine
          -q, --quiet                 Show nothing of the fetching

        Process:
          -a, --attach <STREAM>         Join only these streams: stdin, stdout, stderr
          -i, --interactive             Keep its stdin open, and send it what comes from ctl's
          -t, --tty                     Give it a terminal
          -e, --env <NAME[=VALUE]>      Set NAME=value in its environment; NAME alone takes the value from
                                        outside
              --env-file <FILE>         Read the environment from a file, a NAME=value on each line
              --entrypoint <PROGRAM>    Program to run in place of the image's entrypoint; empty: no
                                        entrypoint
          -w, --workdir <DIRECTORY>     Directory of the container to run it in
          -u, --user <USER[:GROUP]>     Run it as USER[:GROUP], by name or number
              --group-add <GROUP>       Further group for its user, by name or number
              --init                    Run an init before it that forwards signals and reaps
              --stop-signal <SIGNAL>    Signal that asks it to end
              --stop-timeout <SECONDS>  Seconds from that signal to SIGKILL

        Network:
              --network <NETWORK>         Network to be in: bridge, host, none or container:NAME [default:
                                          bridge] [alias: --net]
          -p, --publish <PORTS>           Publish a port: [[HOST_IP:][HOST_PORT]:]PORT[/tcp|udp|sctp], or
                                          ranges of ports
          -P, --publish-all               Publish every port that the image and --expose name, each on a
                                          free port of the host
              --expose <PORT[/PROTOCOL]>  Tell that the container listens on a port
              --add-host <NAME:IP>        Line for /etc/hosts; host-gateway stands for the host's address
              --dns <IP>                  Name server
              --dns-search <DOMAIN>       Domain to search names in
              --dns-option <OPTION>       Option for /etc/resolv.conf [alias: --dns-opt]
              --uts <MODE>                UTS namespace: host, or private [default: private]

        Storage:
          -v, --volume <PATHS>            Mount a path of the host: HOST_PATH:CONTAINER_PATH[:ro]
              --mount <MOUNT>             type=bind,source=PATH,target=PATH[,readonly] or
                                          type=tmpfs,target=PATH[,tmpfs-size=SIZE]
              --volumes-from <CONTAINER>  Mount what another container has mounted: NAME[:ro]
              --tmpfs <PATH>              Mount an empty file system in memory: PATH[:size=SIZE,mode=MODE]
              --read-only                 Make its own file system read-only
              --shm-size <SIZE>           Size of /dev/shm

        Limits:
          -m, --memory <SIZE>              Most memory, such as 512m
              --memory-swap <SIZE>         Most memory and swap together; -1: any amount of swap
              --cpus <COUNT>               Most processors, such as 1.5
              --cpu-quota <MICROSECONDS>   Microseconds of processor time in each period
              --cpu-period <MICROSECONDS>  Length of that period in microseconds [default: 100000]
          -c, --cpu-shares <WEIGHT>        Weight against others for the processors, 2 to 262144
              --cpuset-cpus <LIST>         Processors to run on, such as 0-2,5
              --cpuset-mems <LIST>         Memory nodes to use, such as 0-1
              --pids-limit <COUNT>         Most processes and threads; -1: any number
              --ulimit <NAME=SOFT[:HARD]>  Limit of each process, such as nofile=1024:2048
              --oom-score-adj <SCORE>      How readily it is killed when memory runs out, -1000 to 1000

        Security:
              --privileged             Give it all capabilities and devices
              --cap-add <CAPABILITY>   Add a capability, such as NET_ADMIN, or ALL
              --cap-drop <CAPABILITY>  Take away a capability, or ALL
              --security-opt <OPTION>  no-new-privileges, seccomp=unconfined|FILE,
                                       apparmor=unconfined|PROFILE, or
                                       label=disable|user:USER|role:ROLE|type:TYPE|level:LEVEL
              --device <DEVICE>        Give it a device of the host: HOST_PATH[:CONTAINER_PATH][:rwm]
              --sysctl <NAME=VALUE>    Set a kernel parameter of its namespaces
              --pid <MODE>             Process namespace: host, or private [default: private]
              --ipc <MODE>             Namespace for shared memory and queues: host, or private [default:
                                       private]
              --help                   Print help

        The image is fetched if it is not here. In the foreground, which is the default, ctl shows what the
        container writes, passes signals on to it, and ends with its exit code: 126 if the program cannot be
        executed, 127 if it does not exist, 125 if the request fails. In a terminal, Ctrl-P Ctrl-Q leaves
        the container running.
    "#]]);
}

#[test]
fn of_create() {
    Ctl::alone("create --help").check(&expect![[r#"
        exit 0
        --- stdout
        Create a container without starting it

        Usage: ctl create [OPTIONS] IMAGE [COMMAND] [ARG...]

        Options:
              --name <NAME>           Name of the container; one is made up if none is given
              --cidfile <FILE>        Write the container's id to a file, which must not exist
          -h, --hostname <NAME>       Host name inside the container
              --domainname <NAME>     NIS domain name inside the container
          -l, --label <NAME[=VALUE]>  Label to keep with the container
              --label-file <FILE>     Read labels from a file, one on each line
              --rm                    Remove the container once it has ended
              --restart <POLICY>      Start it again when it has ended: no, on-failure[:COUNT], always or
                                      unless-stopped
              --pull <WHEN>           Fetch the image [default: missing] [possible values: missing, always,
                                      never]
              --platform <PLATFORM>   Fetch for OS/ARCHITECTURE[/VARIANT] in place of this machine
          -q, --quiet                 Show nothing of the fetching

        Process:
          -a, --attach <STREAM>         Join only these streams: stdin, stdout, stderr
          -i, --interactive             Keep its stdin open, and send it what comes from ctl's
          -t, --tty                     Give it a terminal
          -e, --env <NAME[=VALUE]>      Set NAME=value in its environment; NAME alone takes the value from
                                        outside
              --env-file <FILE>         Read the environment from a file, a NAME=value on each line
              --entrypoint <PROGRAM>    Program to run in place of the image's entrypoint; empty: no
                                        entrypoint
          -w, --workdir <DIRECTORY>     Directory of the container to run it in
          -u, --user <USER[:GROUP]>     Run it as USER[:GROUP], by name or number
              --group-add <GROUP>       Further group for its user, by name or number
              --init                    Run an init before it that forwards signals and reaps
              --stop-signal <SIGNAL>    Signal that asks it to end
              --stop-timeout <SECONDS>  Seconds from that signal to SIGKILL

        Network:
              --network <NETWORK>         Network to be in: bridge, host, none or container:NAME [default:
                                          bridge] [alias: --net]
          -p, --publish <PORTS>           Publish a port: [[HOST_IP:][HOST_PORT]:]PORT[/tcp|udp|sctp], or
                                          ranges of ports
          -P, --publish-all               Publish every port that the image and --expose name, each on a
                                          free port of the host
              --expose <PORT[/PROTOCOL]>  Tell that the container listens on a port
              --add-host <NAME:IP>        Line for /etc/hosts; host-gateway stands for the host's address
              --dns <IP>                  Name server
              --dns-search <DOMAIN>       Domain to search names in
              --dns-option <OPTION>       Option for /etc/resolv.conf [alias: --dns-opt]
              --uts <MODE>                UTS namespace: host, or private [default: private]

        Storage:
          -v, --volume <PATHS>            Mount a path of the host: HOST_PATH:CONTAINER_PATH[:ro]
              --mount <MOUNT>             type=bind,source=PATH,target=PATH[,readonly] or
                                          type=tmpfs,target=PATH[,tmpfs-size=SIZE]
              --volumes-from <CONTAINER>  Mount what another container has mounted: NAME[:ro]
              --tmpfs <PATH>              Mount an empty file system in memory: PATH[:size=SIZE,mode=MODE]
              --read-only                 Make its own file system read-only
              --shm-size <SIZE>           Size of /dev/shm

        Limits:
          -m, --memory <SIZE>              Most memory, such as 512m
              --memory-swap <SIZE>         Most memory and swap together; -1: any amount of swap
              --cpus <COUNT>               Most processors, such as 1.5
              --cpu-quota <MICROSECONDS>   Microseconds of processor time in each period
              --cpu-period <MICROSECONDS>  Length of that period in microseconds [default: 100000]
          -c, --cpu-shares <WEIGHT>        Weight against others for the processors, 2 to 262144
              --cpuset-cpus <LIST>         Processors to run on, such as 0-2,5
              --cpuset-mems <LIST>         Memory nodes to use, such as 0-1
              --pids-limit <COUNT>         Most processes and threads; -1: any number
              --ulimit <NAME=SOFT[:HARD]>  Limit of each process, such as nofile=1024:2048
              --oom-score-adj <SCORE>      How readily it is killed when memory runs out, -1000 to 1000

        Security:
              --privileged             Give it all capabilities and devices
              --cap-add <CAPABILITY>   Add a capability, such as NET_ADMIN, or ALL
              --cap-drop <CAPABILITY>  Take away a capability, or ALL
              --security-opt <OPTION>  no-new-privileges, seccomp=unconfined|FILE,
                                       apparmor=unconfined|PROFILE, or
                                       label=disable|user:USER|role:ROLE|type:TYPE|level:LEVEL
              --device <DEVICE>        Give it a device of the host: HOST_PATH[:CONTAINER_PATH][:rwm]
              --sysctl <NAME=VALUE>    Set a kernel parameter of its namespaces
              --pid <MODE>             Process namespace: host, or private [default: private]
              --ipc <MODE>             Namespace for shared memory and queues: host, or private [default:
                                       private]
              --help                   Print help
    "#]]);
}

#[test]
fn of_start() {
    Ctl::alone("start --help").check(&expect![[r#"
        exit 0
        --- stdout
        Start containers that were created or have ended

        Usage: ctl start [OPTIONS] <CONTAINER>...

        Arguments:
          <CONTAINER>...  Names, ids or starts of ids

        Options:
          -a, --attach              Show the container's output, pass signals on, and end with its code
          -i, --interactive         Send the container what comes from stdin; shows its output too
              --detach-keys <KEYS>  Keys that leave the container running [default: ctrl-p,ctrl-q]
          -h, --help                Print help
    "#]]);
}

#[test]
fn of_stop() {
    Ctl::alone("stop --help").check(&expect![[r#"
        exit 0
        --- stdout
        Stop running containers

        Usage: ctl stop [OPTIONS] <CONTAINER>...

        Arguments:
          <CONTAINER>...  Names, ids or starts of ids

        Options:
          -s, --signal <SIGNAL>    Signal to send in place of the container's own
          -t, --timeout <SECONDS>  Seconds to wait before SIGKILL; the container's own, or 10 [alias:
                                   --time]
          -h, --help               Print help

        Each container gets its stop signal, and SIGKILL if it has not ended in time.
    "#]]);
}

#[test]
fn of_restart() {
    Ctl::alone("restart --help").check(&expect![[r#"
        exit 0
        --- stdout
        Stop containers and start them again

        Usage: ctl restart [OPTIONS] <CONTAINER>...

        Arguments:
          <CONTAINER>...  Names, ids or starts of ids

        Options:
          -s, --signal <SIGNAL>    Signal to send in place of the container's own
          -t, --timeout <SECONDS>  Seconds to wait before SIGKILL; the container's own, or 10 [alias:
                                   --time]
          -h, --help               Print help
    "#]]);
}

#[test]
fn of_kill() {
    Ctl::alone("kill --help").check(&expect![[r#"
        exit 0
        --- stdout
        Send running containers a signal

        Usage: ctl kill [OPTIONS] <CONTAINER>...

        Arguments:
          <CONTAINER>...  Names, ids or starts of ids

        Options:
          -s, --signal <SIGNAL>  Signal to send, by name or number [default: SIGKILL]
          -h, --help             Print help
    "#]]);
}

#[test]
fn of_rm() {
    Ctl::alone("rm --help").check(&expect![[r#"
        exit 0
        --- stdout
        Remove containers

        Usage: ctl rm [OPTIONS] <CONTAINER>...

        Arguments:
          <CONTAINER>...  Names, ids or starts of ids

        Options:
          -f, --force    Kill a container that still runs
          -v, --volumes  Its volumes too: what it wrote to them always goes with it
          -h, --help     Print help
    "#]]);
}

#[test]
fn of_ps() {
    Ctl::alone("ps --help").check(&expect![[r#"
        exit 0
        --- stdout
        List containers

        Usage: ctl ps [OPTIONS]

        Options:
          -a, --all                 Those too that do not run
          -f, --filter <KEY=VALUE>  Only those that fit, such as status=exited, label=role=web or name=db
              --format <FORMAT>     table, json, a template such as '{{.ID}}: {{.Names}}', or 'table
                                    TEMPLATE'
          -n, --last <COUNT>        The COUNT made last, running or not
          -l, --latest              The one made last, running or not
              --no-trunc            Ids and commands in full
          -s, --size                With the size of what each has written
          -q, --quiet               Only ids
          -h, --help                Print help
    "#]]);
}

#[test]
fn of_logs() {
    Ctl::alone("logs --help").check(&expect![[r#"
        exit 0
        --- stdout
        Show what a container has written

        Usage: ctl logs [OPTIONS] <CONTAINER>

        Arguments:
          <CONTAINER>  Name, id or start of an id

        Options:
          -f, --follow        Go on with what it writes, until it ends
              --since <TIME>  Only from here: a time, or how long ago, such as 10m
              --until <TIME>  Only up to here: a time, or how long ago
          -n, --tail <LINES>  Only so many of the last lines, or all [default: all]
          -t, --timestamps    Each line with its time
          -h, --help          Print help
    "#]]);
}

#[test]
fn of_exec() {
    Ctl::alone("exec --help").check(&expect![[r#"
        exit 0
        --- stdout
        Run a further process in a running container

        Usage: ctl exec [OPTIONS] CONTAINER COMMAND [ARG...]

        Options:
          -d, --detach               Let it run in the background
              --detach-keys <KEYS>   Keys that leave the process running [default: ctrl-p,ctrl-q]
          -e, --env <NAME[=VALUE]>   Set NAME=value in its environment; NAME alone takes the value from
                                     outside
              --env-file <FILE>      Read the environment from a file, a NAME=value on each line
          -i, --interactive          Send it what comes from stdin
              --privileged           Give it all capabilities
          -t, --tty                  Give it a terminal
          -u, --user <USER[:GROUP]>  Run it as USER[:GROUP], by name or number
          -w, --workdir <DIRECTORY>  Run it in this directory of the container
          -h, --help                 Print help

        ctl ends with the code of the process: 126 if it cannot be executed, 127 if it or its working
        directory does not exist, 125 if the request fails.
    "#]]);
}

#[test]
fn of_attach() {
    Ctl::alone("attach --help").check(&expect![[r#"
        exit 0
        --- stdout
        Join a running container's streams with one's own

        Usage: ctl attach [OPTIONS] <CONTAINER>

        Arguments:
          <CONTAINER>  Name, id or start of an id

        Options:
              --detach-keys <KEYS>  Keys that leave the container running [default: ctrl-p,ctrl-q]
              --no-stdin            Send nothing from stdin
              --sig-proxy[=<BOOL>]  Pass signals on, unless the container has a terminal [default: true]
          -h, --help                Print help

        ctl ends with the code of the container. In a terminal, Ctrl-P Ctrl-Q leaves the container running.
    "#]]);
}

#[test]
fn of_wait() {
    Ctl::alone("wait --help").check(&expect![[r#"
        exit 0
        --- stdout
        Wait until containers have ended, and print their exit codes

        Usage: ctl wait <CONTAINER>...

        Arguments:
          <CONTAINER>...  Names, ids or starts of ids

        Options:
          -h, --help  Print help
    "#]]);
}

#[test]
fn of_port() {
    Ctl::alone("port --help").check(&expect![[r#"
        exit 0
        --- stdout
        Show where a container's ports are published

        Usage: ctl port <CONTAINER> [PORT]

        Arguments:
          <CONTAINER>  Name, id or start of an id
          [PORT]       Only this port of the container, such as 80 or 53/udp

        Options:
          -h, --help  Print help
    "#]]);
}
