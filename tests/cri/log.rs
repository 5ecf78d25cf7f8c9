//! Container logs in the format the kubelet reads.

use anyhow::Result;
use harness::node::Node;
use proto::cri::ReopenContainerLogRequest;
use tonic::Code;

#[tokio::test]
async fn every_line_has_its_time_stream_and_tag() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let config = node.container_config(
        "main",
        &[
            "/bin/sh",
            "-c",
            "echo out; sleep 0.1; echo err >&2; sleep 0.1; printf end",
        ],
    );
    let id = node.run_of(&sandbox, &config).await?;
    node.exited(&id).await?;
    let text = std::fs::read_to_string(node.log_of(&sandbox, &config))?;
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.splitn(4, ' ').collect())
        .collect();
    let rest: Vec<_> = lines.iter().map(|words| words[1..].join(" ")).collect();
    assert_eq!(rest, ["stdout F out", "stderr F err", "stdout P end"]);
    for words in &lines {
        // 2006-01-02T15:04:05.999999999Z07:00
        let time = words[0];
        assert!(
            time.len() >= 20 && time[..10].matches('-').count() == 2 && time.as_bytes()[10] == b'T',
            "{time}"
        );
    }
    let times: Vec<_> = lines.iter().map(|words| words[0]).collect();
    assert!(times.is_sorted(), "{times:?}");
    node.finish().await
}

#[tokio::test]
async fn long_lines_are_split_and_nothing_is_lost() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let line = "head -c 100000 /dev/zero | tr '\\0' x; echo; echo after";
    let config = node.container_config("main", &["/bin/sh", "-c", line]);
    let id = node.run_of(&sandbox, &config).await?;
    node.exited(&id).await?;
    let text = std::fs::read_to_string(node.log_of(&sandbox, &config))?;
    let entries: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.splitn(4, ' ').skip(2);
            Some((words.next()?, words.next()?))
        })
        .collect();
    let last_but_one = entries.len() - 2;
    assert!(
        entries.len() > 3 && entries[..last_but_one].iter().all(|(tag, _)| *tag == "P"),
        "{} entries",
        entries.len()
    );
    assert_eq!(entries[last_but_one].0, "F");
    let first: String = entries[..=last_but_one]
        .iter()
        .map(|(_, data)| *data)
        .collect();
    assert!(
        first.len() == 100_000 && first.bytes().all(|byte| byte == b'x'),
        "{} bytes",
        first.len()
    );
    assert_eq!(entries[last_but_one + 1], ("F", "after"));
    node.finish().await
}

#[tokio::test]
async fn a_reopened_log_goes_on_in_a_new_file() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let line = "n=0; while :; do echo $n; n=$((n+1)); sleep 0.01; done";
    let config = node.container_config("main", &["/bin/sh", "-c", line]);
    let id = node.run_of(&sandbox, &config).await?;
    let (log, old) = (
        node.log_of(&sandbox, &config),
        node.agent.directory().join("rotated.log"),
    );
    harness::wait::until("the first line", || {
        Ok((std::fs::read_to_string(&log)?.lines().count() > 3).then_some(()))
    })?;
    std::fs::rename(&log, &old)?;
    node.cri
        .runtime
        .clone()
        .reopen_container_log(ReopenContainerLogRequest {
            container_id: id.clone(),
        })
        .await?;
    harness::wait::until("a line in the new file", || {
        Ok((std::fs::read_to_string(&log)?.lines().count() > 3).then_some(()))
    })?;
    node.cri.stop_container(&id, 0).await?;
    let all = std::fs::read_to_string(&old)? + &std::fs::read_to_string(&log)?;
    let numbers: Vec<usize> = all
        .lines()
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    assert_eq!(
        numbers,
        (0..numbers.len()).collect::<Vec<_>>(),
        "no line is lost or doubled"
    );
    let code = |result: Result<_, tonic::Status>| result.err().map(|status| status.code());
    let mut runtime = node.cri.runtime.clone();
    let exited = runtime
        .reopen_container_log(ReopenContainerLogRequest { container_id: id })
        .await;
    assert_eq!(code(exited), Some(Code::FailedPrecondition));
    let unknown = ReopenContainerLogRequest {
        container_id: "0123456789abcdef".repeat(4),
    };
    assert_eq!(
        code(runtime.reopen_container_log(unknown).await),
        Some(Code::NotFound)
    );
    node.finish().await
}

#[tokio::test]
async fn much_output_arrives_whole() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let config = node.container_config("main", &["/bin/sh", "-c", "seq 1 200000"]);
    let id = node.run_of(&sandbox, &config).await?;
    node.exited(&id).await?;
    let text = std::fs::read_to_string(node.log_of(&sandbox, &config))?;
    let ends: Vec<_> = text
        .lines()
        .filter_map(|line| line.rsplit(' ').next())
        .collect();
    assert_eq!((ends.len(), ends.last()), (200_000, Some(&"200000")));
    node.finish().await
}

/// How often a log is rotated while its container writes as fast as it can.
const ROTATIONS: usize = 40;

#[tokio::test]
async fn no_line_is_lost_or_doubled_however_often_a_busy_log_is_reopened() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let line =
        "n=0; while [ ! -e /tmp/stop ]; do seq $((n*10000)) $((n*10000+9999)); n=$((n+1)); done";
    let config = node.container_config("main", &["/bin/sh", "-c", line]);
    let id = node.run_of(&sandbox, &config).await?;
    let log = node.log_of(&sandbox, &config);
    let old = |number: usize| node.agent.directory().join(format!("rotated.{number}"));
    let mut runtime = node.cri.runtime.clone();
    for number in 0..ROTATIONS {
        harness::wait::until("the log grows", || {
            Ok((std::fs::metadata(&log)?.len() > 0).then_some(()))
        })?;
        std::fs::rename(&log, old(number))?;
        let request = ReopenContainerLogRequest {
            container_id: id.clone(),
        };
        runtime.reopen_container_log(request).await?;
        // The new file is there with the answer, and the old one gets nothing more.
        let size = std::fs::metadata(old(number))?.len();
        assert!(log.exists());
        assert_eq!(std::fs::metadata(old(number))?.len(), size);
    }
    node.exec(&id, "touch /tmp/stop").await?;
    assert_eq!(node.exited(&id).await?.exit_code, 0);
    let mut expected = 0_usize;
    for file in (0..ROTATIONS).map(old).chain([log]) {
        let text = std::fs::read_to_string(&file)?;
        for line in text.lines() {
            let number = line.rsplit(' ').next().and_then(|word| word.parse().ok());
            assert_eq!(number, Some(expected), "{}: {line}", file.display());
            expected += 1;
        }
        assert!(text.is_empty() || text.ends_with('\n'), "whole lines only");
    }
    assert!(expected > 10_000 && expected.is_multiple_of(10_000));
    node.finish().await
}

#[tokio::test]
async fn a_kubelets_log_is_never_rotated_by_us() -> Result<()> {
    let options = harness::agent::Options::default().with("containers", "log_max_bytes = 1000");
    let node = Node::start_with(options).await?;
    let sandbox = node.sandbox("pod").await?;
    let config = node.container_config("main", &["/bin/sh", "-c", "seq 1 5000"]);
    let id = node.run_of(&sandbox, &config).await?;
    node.exited(&id).await?;
    let log = node.log_of(&sandbox, &config);
    assert_eq!(std::fs::read_to_string(&log)?.lines().count(), 5000);
    let directory = std::fs::read_dir(&sandbox.config.log_directory)?;
    assert_eq!(directory.count(), 1);
    node.finish().await
}
