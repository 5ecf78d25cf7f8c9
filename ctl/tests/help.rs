//! `--help` of ctl itself, its groups, and the commands that are not about containers.

use expect_test::expect;

use crate::support::Ctl;

#[test]
fn of_ctl_itself() {
    Ctl::alone("--help").check(&expect![[r#"
        exit 0
        --- stdout
        Run and look after containers on this node

        Usage: ctl [OPTIONS] <COMMAND>

        Commands:
          run           Create a container and start it
          create        Create a container without starting it
          start         Start containers that were created or have ended
          stop          Stop running containers
          restart       Stop containers and start them again
          kill          Send running containers a signal
          rm            Remove containers
          ps            List containers
          logs          Show what a container has written
          exec          Run a further process in a running container
          attach        Join a running container's streams with one's own
          wait          Wait until containers have ended, and print their exit codes
          port          Show where a container's ports are published
          port-forward  Have ports of this machine lead to ports of a container
          inspect       Show containers and images in full
          pull          Fetch images from a registry
          images        List the images of this node
          rmi           Remove names of images, and each image with its last name
          tag           Give an image a further name
          events        Show what happens on the node, as it happens
          info          Show what the agent says of itself and its node
          version       Show the versions of ctl and of the agent
          container     Commands about containers
          image         Commands about images
          system        Commands about the node
          completion    Print what completes ctl's commands in a shell
          help          Print this message or the help of the given subcommand(s)

        Options:
          -H, --host <ADDRESS>  Socket of the agent [env: NODE_AGENT_HOST] [default:
                                unix:///run/node-agent/node-agent.sock]
          -h, --help            Print help
          -V, --version         Print version

        `ctl COMMAND --help` tells more about a command.
    "#]]);
}

#[test]
fn of_inspect() {
    Ctl::alone("inspect --help").check(&expect![[r#"
        exit 0
        --- stdout
        Show containers and images in full

        Usage: ctl inspect [OPTIONS] <NAME>...

        Arguments:
          <NAME>...  Names or ids

        Options:
          -f, --format <FORMAT>  json, or a template such as '{{.State.Status}}'
          -s, --size             With the size of what a container has written
              --type <TYPE>      Look only among these [possible values: container, image]
          -h, --help             Print help
    "#]]);
}

#[test]
fn of_pull() {
    Ctl::alone("pull --help").check(&expect![[r#"
        exit 0
        --- stdout
        Fetch images from a registry

        Usage: ctl pull [OPTIONS] <IMAGE>

        Arguments:
          <IMAGE>  NAME[:TAG] or NAME@DIGEST

        Options:
          -q, --quiet                Show nothing but the names
              --platform <PLATFORM>  Fetch for OS/ARCHITECTURE[/VARIANT] in place of this machine
          -h, --help                 Print help

        Progress goes to stderr, and the name of the image to stdout. A pull that was cut off goes on where
        it stopped.
    "#]]);
}

#[test]
fn of_images() {
    Ctl::alone("images --help").check(&expect![[r#"
        exit 0
        --- stdout
        List the images of this node

        Usage: ctl images [OPTIONS] [REPOSITORY[:TAG]]

        Arguments:
          [REPOSITORY[:TAG]]  Only images of this name; * and ? stand for any letters

        Options:
          -a, --all                 All images: they always are, as none are intermediate
              --digests             With their digests
          -f, --filter <KEY=VALUE>  Only those that fit, such as reference=web*, label=role or dangling=true
              --format <FORMAT>     table, json, a template such as '{{.Repository}}:{{.Tag}}', or 'table
                                    TEMPLATE'
              --no-trunc            Ids in full
          -q, --quiet               Only ids
          -h, --help                Print help
    "#]]);
}

#[test]
fn of_rmi() {
    Ctl::alone("rmi --help").check(&expect![[r#"
        exit 0
        --- stdout
        Remove names of images, and each image with its last name

        Usage: ctl rmi [OPTIONS] <IMAGE>...

        Arguments:
          <IMAGE>...  Names or ids

        Options:
          -f, --force  Remove all names of an image named by its id
          -h, --help   Print help
    "#]]);
}

#[test]
fn of_tag() {
    Ctl::alone("tag --help").check(&expect![[r#"
        exit 0
        --- stdout
        Give an image a further name

        Usage: ctl tag <IMAGE> <NAME>

        Arguments:
          <IMAGE>  Name or id of the image
          <NAME>   The further name, as REPOSITORY[:TAG]

        Options:
          -h, --help  Print help
    "#]]);
}

#[test]
fn of_events() {
    Ctl::alone("events --help").check(&expect![[r#"
        exit 0
        --- stdout
        Show what happens on the node, as it happens

        Usage: ctl events [OPTIONS]

        Options:
          -f, --filter <KEY=VALUE>  Only those that fit, such as type=container, event=exit or container=web
              --format <FORMAT>     json, or a template such as '{{.Action}} {{.ID}}'
          -h, --help                Print help
    "#]]);
}

#[test]
fn of_info() {
    Ctl::alone("info --help").check(&expect![[r#"
        exit 0
        --- stdout
        Show what the agent says of itself and its node

        Usage: ctl info [OPTIONS]

        Options:
          -f, --format <FORMAT>  json, or a template such as '{{.Containers}}'
          -h, --help             Print help
    "#]]);
}

#[test]
fn of_version() {
    Ctl::alone("version --help").check(&expect![[r#"
        exit 0
        --- stdout
        Show the versions of ctl and of the agent

        Usage: ctl version [OPTIONS]

        Options:
          -f, --format <FORMAT>  json, or a template such as '{{.Server.Version}}'
          -h, --help             Print help
    "#]]);
}

#[test]
fn of_container() {
    Ctl::alone("container --help").check(&expect![[r#"
        exit 0
        --- stdout
        Commands about containers

        Usage: ctl container <COMMAND>

        Commands:
          run      Create a container and start it
          create   Create a container without starting it
          start    Start containers that were created or have ended
          stop     Stop running containers
          restart  Stop containers and start them again
          kill     Send running containers a signal
          rm       Remove containers [alias: remove]
          ls       List containers [aliases: list, ps]
          logs     Show what a container has written
          exec     Run a further process in a running container
          attach   Join a running container's streams with one's own
          wait     Wait until containers have ended, and print their exit codes
          port     Show where a container's ports are published
          inspect  Show containers in full
          help     Print this message or the help of the given subcommand(s)

        Options:
          -h, --help  Print help
    "#]]);
}

#[test]
fn of_image() {
    Ctl::alone("image --help").check(&expect![[r#"
        exit 0
        --- stdout
        Commands about images

        Usage: ctl image <COMMAND>

        Commands:
          pull     Fetch images from a registry
          ls       List the images of this node [alias: list]
          rm       Remove names of images, and each image with its last name [alias: remove]
          tag      Give an image a further name
          inspect  Show images in full
          help     Print this message or the help of the given subcommand(s)

        Options:
          -h, --help  Print help
    "#]]);
}

#[test]
fn of_system() {
    Ctl::alone("system --help").check(&expect![[r#"
        exit 0
        --- stdout
        Commands about the node

        Usage: ctl system <COMMAND>

        Commands:
          events  Show what happens on the node, as it happens
          info    Show what the agent says of itself and its node
          help    Print this message or the help of the given subcommand(s)

        Options:
          -h, --help  Print help
    "#]]);
}

#[test]
fn of_completion() {
    Ctl::alone("completion --help").check(&expect![[r#"
        exit 0
        --- stdout
        Print what completes ctl's commands in a shell

        Usage: ctl completion <SHELL>

        Arguments:
          <SHELL>  [possible values: bash, elvish, fish, powershell, zsh]

        Options:
          -h, --help  Print help

        For bash: `ctl completion bash > /etc/bash_completion.d/ctl`
    "#]]);
}
