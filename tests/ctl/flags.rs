//! Flags of docker's users: those that work, and those that are refused by name.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use harness::image::{Image, default_config};
use harness::node::Node;

#[tokio::test]
async fn the_host_is_reached_by_a_name() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let listener = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let port = listener.local_addr()?.port();
    let line = format!("nc host {port} </dev/null");
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            // Whoever goes away meanwhile is missed by nobody.
            let _ = std::io::Write::write_all(&mut client, b"the host\n");
        }
    });
    let flags = ["run", "--rm", "--add-host", "host:host-gateway"];
    let said = ctl.ok(&[&flags, [node.image.as_str(), "sh", "-c", &line].as_slice()].concat())?;
    assert_eq!(said, "the host");
    let shared = [
        "--network",
        "host",
        &node.image,
        "grep",
        "-w",
        "host",
        "/etc/hosts",
    ];
    let lines = ctl.ok(&[flags.as_slice(), &shared].concat())?;
    assert_eq!(lines, "127.0.0.1\thost");
    node.finish().await
}

#[tokio::test]
async fn groups_have_names() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let groups = ["--group-add", "user", "--group-add", "77"];
    let run = ["run", "-d", "--name", "one", "-u", "5:6"];
    ctl.ok(&[&run, groups.as_slice(), &[&node.image, "/bin/pause"]].concat())?;
    assert_eq!(ctl.ok(&["exec", "one", "id", "-G"])?, "6 77 1000");
    assert_eq!(
        ctl.ok(&["inspect", "-f", "{{json .HostConfig.GroupAdd}}", "one"])?,
        r#"["77","user"]"#
    );
    ctl.ok(&["rm", "-f", "one"])?;
    let unknown = ctl.run(&["run", "--rm", "--group-add", "nobodys", &node.image, "true"])?;
    assert!(
        unknown.code == 125
            && unknown
                .stderr
                .contains(r#"group "nobodys" is not in the image"#),
        "{unknown:?}"
    );
    node.finish().await
}

#[tokio::test]
async fn all_ports_are_published() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let mut config = default_config();
    config["ExposedPorts"] = serde_json::json!({"80/tcp": {}, "53/udp": {}});
    let image = Image::busybox_with(Vec::new(), &config)?;
    let image = node.registry.push("test/exposed:1", &image)?;
    let serve = "mkdir /www; echo page >/www/index.html; exec httpd -f -p 80 -h /www";
    ctl.ok(&[
        "run", "-d", "-P", "--expose", "81", "--name", "web", &image, "sh", "-c", serve,
    ])?;
    let ports = ctl.ok(&["port", "web"])?;
    let mut inside: Vec<_> = ports
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    inside.dedup();
    assert_eq!(inside, ["53/udp", "80/tcp", "81/tcp"], "{ports}");
    let port = ctl.ok(&["port", "web", "80"])?;
    let port = port.lines().next().and_then(|line| line.rsplit(':').next());
    let port: u16 = port.context("a port")?.parse()?;
    harness::wait::until("the page", || {
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let answer = harness::http::request(address, "GET", "/", &[], &[])?;
        Ok((answer.body == b"page\n").then_some(()))
    })?;
    ctl.ok(&["rm", "-f", "-v", "web"])?;
    node.finish().await
}

#[tokio::test]
async fn mounts_of_another_are_taken() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let volume = node.agent.directory().join("volume");
    std::fs::create_dir(&volume)?;
    let volume = format!("{}:/data", volume.display());
    ctl.ok(&[
        "create",
        "--name",
        "first",
        "-v",
        &volume,
        "--tmpfs",
        "/t",
        &node.image,
        "true",
    ])?;
    let run = |from: &str, line: &str| {
        ctl.run(&[
            "run",
            "--rm",
            "--volumes-from",
            from,
            &node.image,
            "sh",
            "-c",
            line,
        ])
    };
    assert_eq!(run("first", "echo kept >/data/file; touch /t/x")?.code, 0);
    let read_only = run(
        "first:ro",
        "cat /data/file; touch /data/x 2>/dev/null || echo no",
    )?;
    assert_eq!(read_only.stdout, "kept\nno\n");
    let nobody = run("nobody", "true")?;
    assert!(
        nobody.code == 125 && nobody.stderr.contains("nobody does not exist"),
        "{nobody:?}"
    );
    ctl.ok(&["rm", "first"])?;
    node.finish().await
}

#[tokio::test]
async fn sizes_and_quotas_are_as_told() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let quota = ["--cpu-quota", "20000", "--cpu-period", "50000"];
    let write = [
        "sh",
        "-c",
        "head -c 3000000 /dev/urandom >/file; exec pause",
    ];
    let run = ["run", "-d", "--name", "one"];
    ctl.ok(&[&run, quota.as_slice(), &[&node.image], &write].concat())?;
    let files = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us 2>/dev/null || \
        tr ' ' '\\n' </sys/fs/cgroup/cpu.max";
    assert_eq!(ctl.ok(&["exec", "one", "sh", "-c", files])?, "20000\n50000");
    let shown = "{{.HostConfig.CpuQuota}} {{.HostConfig.CpuPeriod}} {{.HostConfig.NanoCpus}}";
    assert_eq!(ctl.ok(&["inspect", "-f", shown, "one"])?, "20000 50000 0");
    harness::wait::until("the size of the file", || {
        let size: u64 = ctl
            .ok(&["inspect", "-s", "-f", "{{.SizeRw}}", "one"])?
            .parse()?;
        Ok((3_000_000..4_000_000).contains(&size).then_some(()))
    })?;
    let size = ctl.ok(&["ps", "--format", "{{.Size}}"])?;
    assert!(
        size.starts_with("3.") && size.contains("MB (virtual "),
        "{size}"
    );
    let table = ctl.ok(&["ps", "-s"])?;
    assert!(
        table.lines().next().unwrap_or_default().ends_with("SIZE"),
        "{table}"
    );
    assert!(!ctl.ok(&["ps"])?.contains("SIZE"));
    ctl.ok(&["rm", "-f", "one"])?;
    node.finish().await
}

#[tokio::test]
async fn what_is_not_supported_is_refused_by_name() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    for (words, code, flag) in [
        (
            &["run", "--userns=host", &node.image, "true"][..],
            125,
            "--userns",
        ),
        (
            &["create", "--gpus", "all", &node.image, "true"],
            125,
            "--gpus",
        ),
        (
            &["container", "run", "--link", "a", &node.image],
            125,
            "--link",
        ),
        (&["rm", "-l", "one"], 2, "-l"),
        (&["pull", "-a", "one"], 2, "-a"),
        (&["image", "rm", "--no-prune", "one"], 2, "--no-prune"),
    ] {
        let refused = ctl.run(words)?;
        let named = refused
            .stderr
            .starts_with(&format!("error: docker's {flag} is not supported by ctl "));
        assert!(refused.code == code && named, "{words:?}: {refused:?}");
    }
    assert_eq!(ctl.ok(&["ps", "-aq"])?, "", "nothing was made");
    node.finish().await
}
