//! A sysctl's value or name smuggles another one in.

use anyhow::Result;
use harness::node::Node;
use tonic::Code;

#[tokio::test]
async fn names_and_values_are_taken_by_the_letter() -> Result<()> {
    let node = Node::start().await?;
    let core_pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern")?;
    for (name, value) in [
        ("kernel.shm_rmid_forced", "1+kernel.core_pattern=|/bin/sh"),
        ("kernel.shm_rmid_forced", "1\nkernel.core_pattern=|/bin/sh"),
        ("kernel.shm_rmid_forced", "1\0"),
        ("kernel.shm_rmid_forced+kernel.core_pattern", "1"),
        ("kernel.core_pattern", "|/bin/sh"),
        ("kernel/core_pattern", "|/bin/sh"),
        ("net/../kernel/core_pattern", "|/bin/sh"),
        ("net.ipv4...kernel.core_pattern", "|/bin/sh"),
        ("net.", "1"),
        ("fs.mqueue.../kernel/core_pattern", "|/bin/sh"),
        ("vm.overcommit_memory", "1"),
        ("kernel.hostname", "evil"),
        ("", "1"),
    ] {
        let mut config = node.sandbox_config("pod");
        config
            .linux
            .get_or_insert_default()
            .sysctls
            .insert(name.to_owned(), value.to_owned());
        let refused = node
            .cri
            .run_sandbox(&config)
            .await
            .err()
            .map(|status| status.code());
        assert_eq!(refused, Some(Code::InvalidArgument), "{name} = {value:?}");
    }
    assert_eq!(
        std::fs::read_to_string("/proc/sys/kernel/core_pattern")?,
        core_pattern
    );
    node.finish().await
}
