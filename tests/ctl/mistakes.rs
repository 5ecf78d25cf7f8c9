//! The usual mistakes: each is told with what failed, on what, and what to do about it.

use anyhow::{Context as _, Result};
use harness::node::Node;

/// A mistake: what is typed, the exit code, what the error names, and what the hint says. IMAGE, MISSING and PORT stand
/// for an image, one that the registry lacks, and a port that is published.
type Mistake = (&'static str, i32, &'static [&'static str], &'static str);

const MISTAKES: &[Mistake] = &[
    (
        "stop rusn",
        1,
        &["there is no container rusn"],
        "did you mean `runs`?",
    ),
    (
        "logs nobody",
        1,
        &["there is no container nobody"],
        "`ctl ps -a`",
    ),
    (
        "exec nobody true",
        125,
        &["there is no container nobody"],
        "`ctl ps -a`",
    ),
    (
        "inspect nobody",
        1,
        &["no container or image nobody"],
        "`ctl images`",
    ),
    (
        "rmi nothing",
        1,
        &["there is no image nothing"],
        "`ctl images`",
    ),
    (
        "tag nothing a:b",
        1,
        &["there is no image nothing"],
        "`ctl images`",
    ),
    (
        "rm runs",
        1,
        &["container runs cannot be removed", "is running"],
        "`ctl rm -f runs`",
    ),
    (
        "kill ended",
        1,
        &["container ended", "is not running"],
        "`ctl start ended`",
    ),
    (
        "exec ended ls",
        125,
        &["ended cannot run ls", "is not running"],
        "`ctl start ended`",
    ),
    (
        "attach ended",
        1,
        &["container ended does not run"],
        "`ctl start -a`",
    ),
    (
        "rmi IMAGE",
        1,
        &["IMAGE", "is used by"],
        "`ctl ps -a --filter ancestor=",
    ),
    (
        "run --name runs IMAGE true",
        125,
        &["cannot be created", "\"runs\" is taken"],
        "another --name",
    ),
    (
        "run --rm -p PORT:80 IMAGE true",
        125,
        &["cannot be started", "port PORT/tcp is already in use"],
        "another port",
    ),
    (
        "run --rm IMAGE nosuch",
        127,
        &["cannot be started", "cannot execute \"nosuch\""],
        "is it in the image?",
    ),
    (
        "run --rm IMAGE /etc/passwd",
        126,
        &["cannot execute \"/etc/passwd\""],
        "is it executable",
    ),
    (
        "exec runs nosuch",
        127,
        &["runs cannot run nosuch"],
        "is it in the image?",
    ),
    (
        "pull MISSING",
        1,
        &["MISSING", "cannot be pulled", "not found"],
        "its tag",
    ),
    (
        "run --rm 127.0.0.1:1/a:b true",
        125,
        &["127.0.0.1:1/a:b", "could not be reached"],
        "reach the registry",
    ),
    (
        "run --network container:nobody IMAGE",
        125,
        &["container nobody does not exist"],
        "`ctl ps -a`",
    ),
    (
        "-H unix:///nowhere.sock ps",
        1,
        &[
            "cannot reach the agent at unix:///nowhere.sock",
            "no such socket",
        ],
        "NODE_AGENT_HOST",
    ),
    (
        "-H tcp://127.0.0.1:1 ps",
        2,
        &["\"tcp://127.0.0.1:1\" is not an address"],
        "unix:///run/",
    ),
    ("run -it IMAGE sh", 125, &["terminal"], "-t"),
    (
        "exec -u martha runs id",
        125,
        &["runs cannot run id", "user \"martha\""],
        "container's own files",
    ),
    (
        "exec -w /nowhere runs pwd",
        127,
        &["runs cannot run pwd", "/nowhere"],
        "container's own files",
    ),
    (
        "run --rm -u martha IMAGE id",
        125,
        &["cannot be started", "user \"martha\""],
        "container's own files",
    ),
    (
        "run --rm -m 1k IMAGE true",
        125,
        &["cannot be created", "memory is 1024 bytes"],
        "--help",
    ),
    (
        "run --rm -e =x IMAGE true",
        125,
        &["environment", "\"=x\""],
        "--help",
    ),
    (
        "run --rm --env-file /nowhere IMAGE true",
        125,
        &["/nowhere cannot be read"],
        "from where ctl is run",
    ),
    (
        "kill -s NOSUCH runs",
        1,
        &["runs cannot be sent a signal", "\"NOSUCH\""],
        "--help",
    ),
    (
        "tag IMAGE a:b:c",
        1,
        &["IMAGE cannot be tagged", "\"a:b:c\""],
        "--help",
    ),
    (
        "ps --filter colour=red",
        2,
        &["filter colour is not known to ps"],
        "ancestor",
    ),
    ("ps --format {{.Nmaes}}", 2, &["no field Nmaes"], "Names"),
];

#[tokio::test]
async fn each_is_told_in_three_parts() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let image = node.image.as_str();
    let port = harness::registry::free_address()?.port();
    let published = format!("{port}:80");
    let run = [
        "run",
        "-d",
        "--name",
        "runs",
        "-p",
        &published,
        image,
        "/bin/pause",
    ];
    ctl.ok(&run)?;
    ctl.ok(&["run", "--name", "ended", image, "true"])?;
    let missing = image.replace(":1", ":none");
    let filled = |text: &str| {
        text.replace("IMAGE", image)
            .replace("MISSING", &missing)
            .replace("PORT", &port.to_string())
    };
    for (line, code, named, hint) in MISTAKES {
        let line = filled(line);
        let ended = ctl.run(&line.split(' ').collect::<Vec<_>>())?;
        let told = format!("{line}: {ended:?}");
        assert_eq!(ended.code, *code, "{told}");
        assert!(ended.stderr.contains("error: "), "{told}");
        for part in *named {
            assert!(ended.stderr.contains(&filled(part)), "{part}: {told}");
        }
        let hints: Vec<_> = ended
            .stderr
            .lines()
            .filter(|line| line.starts_with("hint: "))
            .collect();
        assert!(hints.iter().any(|line| line.contains(hint)), "{told}");
    }
    ctl.ok(&["rm", "-f", "runs", "ended"])?;
    assert_eq!(
        ctl.ok(&["ps", "-aq"])?,
        "",
        "no mistake has left a container"
    );
    node.finish().await
}

#[tokio::test]
async fn the_start_of_several_ids_is_not_enough() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let ids = (0..17)
        .map(|_| ctl.ok(&["create", &node.image, "true"]))
        .collect::<Result<Vec<_>>>()?;
    let twice = (0..16)
        .map(|digit| format!("{digit:x}"))
        .find(|start| ids.iter().filter(|id| id.starts_with(start)).count() > 1)
        .context("two of seventeen ids begin alike")?;
    let first = ids
        .iter()
        .filter(|id| id.starts_with(&twice))
        .max()
        .context("an id")?;
    for words in [["rm", &twice], ["start", &twice], ["inspect", &twice]] {
        let refused = ctl.run(&words)?;
        assert_eq!(refused.code, 1, "{refused:?}");
        for part in ["is not the only one", "hint: give more of the id"] {
            assert!(refused.stderr.contains(part), "{part}: {refused:?}");
        }
    }
    // A few letters more, and it is one.
    assert_eq!(ctl.ok(&["inspect", "-f", "{{.Id}}", &first[..16]])?, *first);
    let all: Vec<_> = ids.iter().map(String::as_str).collect();
    ctl.ok(&[&["rm"], all.as_slice()].concat())?;
    node.finish().await
}
