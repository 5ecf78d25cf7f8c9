//! `ctl exec`.

use anyhow::Result;
use harness::node::Node;

#[tokio::test]
async fn exec_has_its_flags_streams_and_codes() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    ctl.ok(&[
        "run",
        "-d",
        "--name",
        "one",
        "-e",
        "A=container",
        &node.image,
        "/bin/pause",
    ])?;
    let ended = ctl.run(&[
        "exec",
        "one",
        "sh",
        "-c",
        "echo out $A; echo err >&2; exit 9",
    ])?;
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
        (9, "out container\n", "err\n")
    );
    let piped = ctl.run_with_input(&["exec", "-i", "one", "wc", "-c"], &b"x".repeat(300_000))?;
    assert_eq!(piped.stdout, "300000\n");
    assert_eq!(
        ctl.ok(&[
            "exec",
            "-u",
            "1000",
            "-w",
            "/var",
            "-e",
            "A=session",
            "one",
            "sh",
            "-c",
            "id -u; pwd; echo $A"
        ])?,
        "1000\n/var\nsession"
    );
    for (words, code) in [
        (vec!["exec", "one", "/no/such/program"], 127),
        (vec!["exec", "one", "/etc/passwd"], 126),
        (vec!["exec", "-w", "/nowhere", "one", "true"], 127),
        (vec!["exec", "-w", "/etc/passwd", "one", "true"], 126),
        (vec!["exec", "-w", "relative", "one", "true"], 125),
        (vec!["exec", "nobody", "true"], 125),
        (vec!["exec", "one", "sh", "-c", "kill -9 $$"], 137),
    ] {
        let ended = ctl.run(&words)?;
        assert_eq!(ended.code, code, "{words:?}: {ended:?}");
    }
    ctl.ok(&["exec", "-d", "one", "sh", "-c", "echo done >/tmp/detached"])?;
    harness::wait::until("the detached process", || {
        Ok(ctl
            .ok(&["exec", "one", "cat", "/tmp/detached"])
            .ok()
            .filter(|text| text == "done"))
    })?;
    ctl.ok(&["rm", "-f", "one"])?;
    node.finish().await
}
