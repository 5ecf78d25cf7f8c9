use expect_test::expect;

use crate::support::Agent;
use crate::support::samples::{fixed, job, web};

fn agent() -> Agent {
    Agent::new(|fake| {
        fake.container(job());
        fake.container(web());
    })
}

#[test]
fn nothing_runs() {
    Agent::empty().ctl("ps").check(&expect![[r#"
        exit 0
        --- stdout
        CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES
    "#]]);
}

#[test]
fn running_containers_are_listed() {
    agent().ctl("ps").check(&expect![[r#"
        exit 0
        --- stdout
        CONTAINER ID   IMAGE     COMMAND                  CREATED       STATUS         PORTS                                     NAMES
        aaaaaaaaaaaa   nginx:1   "nginx -g daemon off;"   3 hours ago   Up 2 minutes   0.0.0.0:8080->80/tcp, [::]:8080->80/tcp   web
    "#]]);
}

#[test]
fn all_containers_are_listed_the_newest_first() {
    agent().ctl("ps -a").check(&expect![[r#"
        exit 0
        --- stdout
        CONTAINER ID   IMAGE            COMMAND                  CREATED       STATUS                  PORTS                                     NAMES
        aaaaaaaaaaaa   nginx:1          "nginx -g daemon off;"   3 hours ago   Up 2 minutes            0.0.0.0:8080->80/tcp, [::]:8080->80/tcp   web
        bbbbbbbbbbbb   busybox:latest   "sh -c exit 3"           3 days ago    Exited (3) 2 days ago                                             job
    "#]]);
}

#[test]
fn quiet_shows_ids() {
    agent().ctl("ps -aq").check(&expect![[r#"
        exit 0
        --- stdout
        aaaaaaaaaaaa
        bbbbbbbbbbbb
    "#]]);
    agent().ctl("ps -q --no-trunc").check(&expect![[r#"
        exit 0
        --- stdout
        aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
    "#]]);
}

#[test]
fn the_last_ones_are_listed_running_or_not() {
    agent()
        .ctl("ps -n 2 --format {{.Names}}")
        .check(&expect![[r#"
            exit 0
            --- stdout
            web
            job
        "#]]);
    agent().ctl("ps -l --format {{.Names}}").check(&expect![[r#"
            exit 0
            --- stdout
            web
        "#]]);
}

#[test]
fn nothing_is_cut_if_so_wished() {
    agent()
        .ctl("ps --no-trunc --format {{.Command}}")
        .check(&expect![[r#"
            exit 0
            --- stdout
            "nginx -g daemon off;"
        "#]]);
}

#[test]
fn templates_name_dockers_fields() {
    agent()
        .ctl_words(&[
            "ps",
            "-a",
            "--format",
            "{{.ID}} {{.Image}} {{.State}} {{.Networks}} {{.Mounts}}",
        ])
        .check(&expect![[r#"
            exit 0
            --- stdout
            aaaaaaaaaaaa nginx:1 running bridge /srv/web
            bbbbbbbbbbbb busybox:latest exited none 
        "#]]);
    agent()
        .ctl_words(&[
            "ps",
            "--format",
            "{{.Labels}} {{.Label \"role\"}} {{.Label \"none\"}}|",
        ])
        .check(&expect![[r#"
            exit 0
            --- stdout
            app=shop,role=front front |
        "#]]);
}

#[test]
fn templates_of_tables_have_headings() {
    agent()
        .ctl_words(&[
            "ps",
            "-a",
            "--format",
            r"table {{.ID}}\t{{.Names}}\t{{.Status}}",
        ])
        .check(&expect![[r#"
            exit 0
            --- stdout
            CONTAINER ID   NAMES     STATUS
            aaaaaaaaaaaa   web       Up 2 minutes
            bbbbbbbbbbbb   job       Exited (3) 2 days ago
        "#]]);
}

#[test]
fn json_has_a_line_for_each() {
    let agent = Agent::new(|fake| {
        fake.container(fixed());
    });
    let output = agent.ctl("ps -a --format json").output();
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!(line["Names"], "job");
    assert_eq!(line["CreatedAt"], "2026-01-02 15:04:05 +0000 UTC");
    assert_eq!(line["Command"], "\"sh -c exit 3\"");
}

#[test]
fn filters_choose() {
    let agent = agent();
    let table = [
        ("status=exited", "job"),
        ("status=running", "web"),
        ("exited=3", "job"),
        ("exited=0", ""),
        ("label=role=front", "web"),
        ("label=role", "web"),
        ("label=role=back", ""),
        ("name=we", "web"),
        ("id=bbb", "job"),
        ("network=none", "job"),
        ("volume=/srv/web", "web"),
        ("publish=80", "web"),
        ("publish=81", ""),
        ("ancestor=docker.io/library/nginx:1", "web"),
        ("before=web", "job"),
        ("since=job", "web"),
    ];
    for (filter, expected) in table {
        let output = agent
            .ctl(&format!("ps -a --format {{{{.Names}}}} --filter {filter}"))
            .output();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            expected,
            "{filter}"
        );
        assert_eq!(output.status.code(), Some(0), "{filter}");
    }
}

#[test]
fn filters_of_different_kinds_must_all_fit() {
    agent()
        .ctl("ps -a -q --filter name=web --filter status=exited")
        .check(&expect![[r#"
            exit 0
        "#]]);
}

#[test]
fn unknown_filters_are_refused() {
    agent().ctl("ps --filter frob=1").check(&expect![[r#"
        exit 2
        --- stderr
        error: --filter is not usable
          filter frob is not known to ps
        hint: filters here: ancestor before exited id label name network publish since status volume
    "#]]);
    agent().ctl("ps --filter status=paused").check(&expect![[r#"
        exit 2
        --- stderr
        error: --filter status is not usable
          "paused" is not created, running, restarting, exited or unknown
        hint: the command's --help tells what it takes
    "#]]);
    agent().ctl("ps --filter name").check(&expect![[r#"
        exit 2
        --- stderr
        error: invalid value 'name' for '--filter <KEY=VALUE>': "name" is not NAME=value

        For more information, try '--help'.
    "#]]);
}

#[test]
fn mistakes_in_templates_are_explained() {
    agent().ctl("ps --format {{.Name}}").check(&expect![[r#"
        exit 2
        --- stderr
        error: the format cannot be applied
          there is no field Name in this value
        hint: fields here: Command CreatedAt ID Image Labels LocalVolumes Mounts Names Networks Ports RunningFor Size State Status
    "#]]);
    agent().ctl("ps --format {{.Names").check(&expect![[r#"
        exit 2
        --- stderr
        error: the format cannot be applied
          `{{` at column 1 has no `}}`
        hint: a template is as in '{{.Names}}'; `--format json` shows every field
    "#]]);
}

#[test]
fn the_group_has_the_same_command() {
    agent().ctl("container ls -q").check(&expect![[r#"
        exit 0
        --- stdout
        aaaaaaaaaaaa
    "#]]);
    agent().ctl("container list -q").check(&expect![[r#"
        exit 0
        --- stdout
        aaaaaaaaaaaa
    "#]]);
}
