//! The commands about images but for pull: images, rmi, tag.

use expect_test::expect;

use crate::support::Agent;
use crate::support::samples::{busybox, nameless, nginx};

fn agent() -> Agent {
    Agent::new(|fake| fake.images = vec![busybox(), nginx(), nameless()])
}

#[test]
fn each_name_has_a_line() {
    agent().ctl("images").check(&expect![[r#"
        exit 0
        --- stdout
        REPOSITORY           TAG       IMAGE ID       CREATED         SIZE
        nginx                1         111111111111   2 weeks ago     133MB
        localhost:5000/web   live      111111111111   2 weeks ago     133MB
        busybox              latest    222222222222   13 months ago   4.26MB
        <none>               <none>    333333333333   N/A             999B
    "#]]);
}

#[test]
fn digests_are_shown_if_so_wished() {
    agent().ctl("images --digests nginx").check(&expect![[r#"
        exit 0
        --- stdout
        REPOSITORY   TAG       DIGEST                                                                    IMAGE ID       CREATED       SIZE
        nginx        1         sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc   111111111111   2 weeks ago   133MB
    "#]]);
}

#[test]
fn quiet_shows_each_id_once() {
    agent().ctl("images -q").check(&expect![[r#"
        exit 0
        --- stdout
        111111111111
        222222222222
        333333333333
    "#]]);
    agent()
        .ctl("images -q --no-trunc busybox")
        .check(&expect![[r#"
            exit 0
            --- stdout
            sha256:2222222222222222222222222222222222222222222222222222222222222222
        "#]]);
}

#[test]
fn names_and_filters_choose() {
    let agent = agent();
    let table = [
        ("nginx", "nginx:1"),
        ("nginx:1", "nginx:1"),
        ("nginx:2", ""),
        ("docker.io/library/nginx", "nginx:1"),
        ("busy*", "busybox:latest"),
        ("localhost:5000/*", "localhost:5000/web:live"),
        ("--filter reference=*:latest", "busybox:latest"),
        ("--filter dangling=true", "<none>:<none>"),
        ("--filter label=maintainer=someone nginx", "nginx:1"),
        ("--filter label=maintainer=other", ""),
        (
            "--filter before=nginx:1 --filter dangling=false",
            "busybox:latest",
        ),
        ("--filter since=busybox nginx", "nginx:1"),
    ];
    for (line, expected) in table {
        let output = agent
            .ctl(&format!(
                "images --format {{{{.Repository}}}}:{{{{.Tag}}}} {line}"
            ))
            .output();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout).trim(),
            expected,
            "{line}"
        );
    }
}

#[test]
fn templates_of_tables_have_headings() {
    agent()
        .ctl_words(&[
            "image",
            "ls",
            "--format",
            r"table {{.Repository}}\t{{.Size}}",
        ])
        .check(&expect![[r#"
            exit 0
            --- stdout
            REPOSITORY           SIZE
            nginx                133MB
            localhost:5000/web   133MB
            busybox              4.26MB
            <none>               999B
        "#]]);
}

#[test]
fn rmi_tells_what_is_gone() {
    let agent = agent();
    agent.ctl("rmi busybox nosuch nginx:1").check(&expect![[r#"
            exit 1
            --- stdout
            Untagged: busybox:latest
            Deleted: sha256:2222222222222222222222222222222222222222222222222222222222222222
            Untagged: nginx:1
            Untagged: localhost:5000/web:live
            Deleted: sha256:1111111111111111111111111111111111111111111111111111111111111111
            --- stderr
            error: there is no image nosuch
            hint: `ctl images` lists the images of this node
        "#]]);
    assert_eq!(agent.requests()[0], "RemoveImage busybox force=false");
}

#[test]
fn tag_is_silent() {
    let agent = agent();
    agent
        .ctl("tag busybox localhost:5000/busybox:mine")
        .check(&expect![[r#"
            exit 0
        "#]]);
    assert_eq!(
        agent.requests(),
        ["Tag busybox localhost:5000/busybox:mine"]
    );
    agent.ctl("tag busibox x").check(&expect![[r#"
        exit 1
        --- stderr
        error: there is no image busibox
        hint: did you mean `busybox:latest`?
    "#]]);
}
