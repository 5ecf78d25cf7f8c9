//! Others of the machine walk through state directories to setuid programs of images.

use std::os::unix::fs::PermissionsExt as _;

use anyhow::Result;
use harness::node::Node;

#[tokio::test]
async fn nobody_else_looks_into_the_agents_directories() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    node.run(&sandbox, "main", &["/bin/pause"]).await?;
    // What keeps others out is not the directory that the test happens to have around them.
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(node.agent.directory(), open)?;
    for directory in [node.agent.root(), node.agent.state()] {
        let mode = std::fs::metadata(&directory)?.permissions().mode() & 0o777;
        assert!(
            [0o700, 0o711].contains(&mode),
            "{}: {mode:o}",
            directory.display()
        );
        // From the top every way is closed to others somewhere.
        let mut find = std::process::Command::new("setpriv");
        find.args([
            "--reuid",
            "65534",
            "--regid",
            "65534",
            "--clear-groups",
            "find",
        ])
        .arg(&directory)
        .args(["-name", "busybox"]);
        let output = harness::command::output(&mut find)?;
        assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    }
    node.finish().await
}
