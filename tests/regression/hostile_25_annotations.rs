//! Annotations of a pod set what only the node may set: properties of systemd, cgroups, runtimes.

use anyhow::Result;
use harness::node::Node;

const EVIL: [(&str, &str); 12] = [
    ("org.systemd.property.TimeoutStopUSec", "uint64 1"),
    ("org.systemd.property.ExecStartPre", "'/bin/sh'"),
    ("io.kubernetes.cri-o.userns-mode", "auto"),
    ("io.kubernetes.cri-o.Devices", "/dev/mem:/dev/mem"),
    ("io.kubernetes.cri-o.UnifiedCgroup.main", "memory.max=max"),
    ("io.kubernetes.cri.sandbox-id", "somebody"),
    ("io.katacontainers.config.hypervisor.path", "/bin/sh"),
    ("run.oci.handler", "wasm"),
    ("run.oci.hooks.stdout", "/tmp/evil"),
    ("run.oci.systemd.subgroup", "../.."),
    ("run.oci.keep_original_groups", "1"),
    ("cdi.k8s.io/evil", "vendor.com/device=all"),
];

#[tokio::test]
async fn annotations_are_carried_and_mean_nothing() -> Result<()> {
    let node = Node::start().await?;
    let line = "cat /proc/self/cgroup /proc/self/limits; ls /dev; cat /sys/fs/cgroup/memory/memory.limit_in_bytes \
        /sys/fs/cgroup/memory.max 2>/dev/null; grep -v '^Pid\\|^PPid\\|ctxt\\|^Tgid\\|^Vm\\|^Rss' /proc/self/status; true";
    let mut seen = Vec::new();
    for annotated in [false, true] {
        let mut sandbox = node.sandbox_config(if annotated { "evil" } else { "plain" });
        sandbox.hostname = "pod".to_owned();
        let mut config = node.container_config("main", &["/bin/sh", "-c", line]);
        config
            .linux
            .get_or_insert_default()
            .resources
            .get_or_insert_default()
            .memory_limit_in_bytes = 64 << 20;
        if annotated {
            let all = EVIL.map(|(key, value)| (key.to_owned(), value.to_owned()));
            sandbox.annotations = all.clone().into();
            config.annotations = all.into();
        }
        let sandbox = node.sandbox_of(sandbox).await?;
        seen.push(node.shell_of(&sandbox, &config).await?);
        let status = node.cri.sandbox_status(&sandbox.id).await?;
        assert_eq!(status.annotations, sandbox.config.annotations);
        node.cri.remove_sandbox(&sandbox.id).await?;
    }
    assert_eq!(seen[0], seen[1]);
    assert!(seen[0].1.contains(&(64 << 20).to_string()), "{}", seen[0].1);
    node.finish().await
}
