//! `ctl run`: flags and exit codes.

use std::io::Read as _;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use harness::node::Node;

#[tokio::test]
async fn the_containers_exit_code_is_ctls() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let image = node.image.as_str();
    for (words, code) in [
        (vec!["run", "--rm", image, "true"], 0),
        (vec!["run", "--rm", image, "sh", "-c", "exit 3"], 3),
        (
            vec![
                "run",
                "--rm",
                image,
                "sh",
                "-c",
                "{ sh -c 'kill -9 $$'; } 2>/dev/null; exit $?",
            ],
            137,
        ),
        (vec!["run", "--rm", image, "/no/such/program"], 127),
        (vec!["run", "--rm", image, "/etc/passwd"], 126),
        (
            vec!["run", "--rm", "--memory", "nonsense", image, "true"],
            125,
        ),
        (
            vec!["run", "--rm", "127.0.0.1:1/no/such:image", "true"],
            125,
        ),
        (vec!["run"], 125),
        (vec!["inspect", "nobody"], 1),
        (vec!["no-such-command"], 2),
    ] {
        let ended = ctl.run(&words)?;
        assert_eq!(ended.code, code, "{words:?}: {ended:?}");
        assert_eq!(
            ended.stderr.is_empty(),
            [0, 3, 137].contains(&code),
            "{words:?}: {ended:?}"
        );
    }
    assert_eq!(ctl.ok(&["ps", "-aq"])?, "");
    node.finish().await
}

#[tokio::test]
async fn output_and_errors_are_told_apart() -> Result<()> {
    let node = Node::start().await?;
    let ended = node.ctl()?.run(&[
        "run",
        "--rm",
        &node.image,
        "sh",
        "-c",
        "echo out; echo err >&2",
    ])?;
    assert_eq!(
        (ended.code, ended.stdout.as_str(), ended.stderr.as_str()),
        (0, "out\n", "err\n")
    );
    node.finish().await
}

#[tokio::test]
async fn input_goes_in_and_its_end_too() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let input = b"line\n".repeat(20_000);
    let ended = ctl.run_with_input(
        &[
            "run",
            "--rm",
            "-i",
            &node.image,
            "sh",
            "-c",
            "wc -c; echo end",
        ],
        &input,
    )?;
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "100000\nend\n"));
    let without = ctl.run_with_input(&["run", "--rm", &node.image, "wc", "-c"], &input)?;
    assert_eq!(without.stdout, "0\n");
    node.finish().await
}

#[tokio::test]
async fn much_output_arrives_whole_and_in_order() -> Result<()> {
    let node = Node::start().await?;
    let text = node
        .ctl()?
        .ok(&["run", "--rm", &node.image, "seq", "1", "100000"])?;
    let wanted: Vec<String> = (1..=100_000)
        .map(|number: u32| number.to_string())
        .collect();
    assert!(
        text.lines().eq(wanted.iter().map(String::as_str)),
        "{} lines",
        text.lines().count()
    );
    node.finish().await
}

#[tokio::test]
async fn flags_reach_the_container() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let volume = node.agent.directory().join("volume");
    std::fs::create_dir(&volume)?;
    std::fs::write(volume.join("file"), "mine\n")?;
    let volume = format!("{}:/data:ro", volume.display());
    let image = node.image.as_str();
    let memory = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max";
    let quota = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || cut -d' ' -f1 /sys/fs/cgroup/cpu.max";
    let cases: &[(&[&str], &str, &str)] = &[
        (
            &["-e", "A=1", "-e", "B=two words"],
            "echo $A $B",
            "1 two words",
        ),
        (&["-w", "/var/new"], "pwd", "/var/new"),
        (&["-u", "1000"], "id -u", "1000"),
        (&["-u", "user"], "id -u; id -g", "1000\n1000"),
        (&["-h", "named"], "hostname", "named"),
        (
            &["-v", &volume],
            "cat /data/file; touch /data/x 2>/dev/null || echo read-only",
            "mine\nread-only",
        ),
        (&["--tmpfs", "/scratch"], "stat -f -c %T /scratch", "tmpfs"),
        (&["--memory", "32m"], memory, "33554432"),
        (&["--cpus", "1.5"], quota, "150000"),
        (
            &["--read-only"],
            "touch /file 2>/dev/null || echo read-only",
            "read-only",
        ),
        (
            &["--cap-drop", "ALL"],
            "grep CapEff /proc/self/status | cut -f2",
            "0000000000000000",
        ),
        (
            &["--security-opt", "no-new-privileges"],
            "grep NoNewPrivs /proc/self/status | cut -f2",
            "1",
        ),
        (&[], "grep Seccomp: /proc/self/status | cut -f2", "2"),
        (
            &["--security-opt", "seccomp=unconfined"],
            "grep Seccomp: /proc/self/status | cut -f2",
            "0",
        ),
        (
            &["--ulimit", "nofile=123:456"],
            "ulimit -n; ulimit -Hn",
            "123\n456",
        ),
        (
            &["--sysctl", "net.ipv4.ip_forward=1"],
            "cat /proc/sys/net/ipv4/ip_forward",
            "1",
        ),
        (
            &["--add-host", "far:192.0.2.7"],
            "grep far /etc/hosts | tr '\\t' ' '",
            "192.0.2.7 far",
        ),
        (
            &["--dns", "192.0.2.53"],
            "cat /etc/resolv.conf",
            "nameserver 192.0.2.53",
        ),
    ];
    for (flags, line, wanted) in cases {
        let words = [&["run", "--rm"], *flags, &[image, "sh", "-c", line]].concat();
        assert_eq!(ctl.ok(&words)?, *wanted, "{flags:?}");
    }
    let entry = ctl.ok(&["run", "--rm", "--entrypoint", "/bin/echo", image, "a", "b"])?;
    assert_eq!(entry, "a b");
    node.finish().await
}

#[tokio::test]
async fn a_missing_image_is_pulled_and_told_on_stderr() -> Result<()> {
    let node = Node::start().await?;
    node.cri.remove_image(&node.image).await?;
    let ended = node
        .ctl()?
        .run(&["run", "--rm", &node.image, "echo", "pulled"])?;
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "pulled\n"));
    assert!(!ended.stderr.is_empty());
    let never = node.ctl()?.run(&[
        "run",
        "--rm",
        "--pull",
        "never",
        "127.0.0.1:1/none:1",
        "true",
    ])?;
    assert_eq!(never.code, 125);
    node.finish().await
}

#[tokio::test]
async fn names_are_taken_once_and_ids_may_be_shortened() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let id = ctl.ok(&["run", "-d", "--name", "one", &node.image, "/bin/pause"])?;
    assert!(
        id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{id}"
    );
    let taken = ctl.run(&["run", "-d", "--name", "one", &node.image, "/bin/pause"])?;
    assert!(
        taken.code == 125 && taken.stderr.contains("one"),
        "{taken:?}"
    );
    for name in ["one", &id, &id[..12], &id[..4]] {
        assert_eq!(
            ctl.ok(&["inspect", "--format", "{{.Id}}", name])?,
            id,
            "{name}"
        );
    }
    let wrong = ctl.run(&["stop", "oen"])?;
    assert!(
        wrong.code == 1 && wrong.stderr.contains("hint:") && wrong.stderr.contains("one"),
        "{wrong:?}"
    );
    ctl.ok(&["rm", "-f", "one"])?;
    node.finish().await
}

#[tokio::test]
async fn a_name_is_free_once_its_container_is_said_to_be_gone() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    for _ in 0..10 {
        ctl.ok(&["run", "-d", "--name", "one", &node.image, "/bin/pause"])?;
        ctl.ok(&["rm", "-f", "one"])?;
        ctl.ok(&["run", "--rm", "--name", "one", &node.image, "/bin/true"])?;
    }
    node.finish().await
}

#[tokio::test]
async fn signals_are_passed_on() -> Result<()> {
    let node = Node::start().await?;
    let ctl = node.ctl()?;
    let line = "trap 'echo got; exit 7' TERM; trap 'echo usr' USR1; echo ready; while :; do sleep 0.05; done";
    for words in [
        &["run", "--rm", &node.image, "sh", "-c", line][..],
        &["run", "--rm", "--init", &node.image, "sh", "-c", line],
    ] {
        let mut child = ctl.command(words).stdout(Stdio::piped()).spawn()?;
        let mut stdout = child.stdout.take().context("its output")?;
        let mut said = vec![0; "ready\n".len()];
        stdout.read_exact(&mut said)?;
        let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1)?;
        let mut said = vec![0; "usr\n".len()];
        stdout.read_exact(&mut said)?;
        assert_eq!(String::from_utf8_lossy(&said), "usr\n");
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        let mut rest = String::new();
        stdout.read_to_string(&mut rest)?;
        assert_eq!((child.wait()?.code(), rest.as_str()), (Some(7), "got\n"));
    }
    // Asked not to, ctl takes the signal itself.
    let words = [
        "run",
        "--name",
        "kept",
        "--sig-proxy=false",
        &node.image,
        "sh",
        "-c",
        line,
    ];
    let mut child = ctl.command(&words).stdout(Stdio::piped()).spawn()?;
    let mut said = vec![0; "ready\n".len()];
    child
        .stdout
        .as_mut()
        .context("its output")?
        .read_exact(&mut said)?;
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
    assert!(!child.wait()?.success());
    assert_eq!(
        ctl.ok(&["inspect", "-f", "{{.State.Status}}", "kept"])?,
        "running"
    );
    ctl.ok(&["rm", "-f", "kept"])?;
    node.finish().await
}
