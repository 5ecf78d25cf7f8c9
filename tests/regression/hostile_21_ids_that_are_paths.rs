//! An id or a name is a path, and something outside is read, written or removed by it.

use anyhow::Result;
use harness::node::Node;
use tonic::Code;

use crate::{host_directory, is_untouched};

#[tokio::test]
async fn ids_and_names_are_single_words() -> Result<()> {
    let node = Node::start().await?;
    let host = host_directory(&node)?;
    let sandbox = node.sandbox("pod").await?;
    let main = node.run(&sandbox, "main", &["/bin/pause"]).await?;
    for id in [
        "../../host",
        "..",
        ".",
        "/",
        "host/marker",
        &format!("../{}", sandbox.id),
        &format!("{}/..", sandbox.id),
        &format!("{main}\0"),
        &host.display().to_string(),
    ] {
        // To a kubelet an id that cannot be is one that is not there.
        node.cri.stop_container(id, 0).await?;
        node.cri.remove_container(id).await?;
        node.cri.stop_sandbox(id).await?;
        node.cri.remove_sandbox(id).await?;
        for answer in [
            node.cri.start_container(id).await.err(),
            node.cri.container_status(id).await.err(),
            node.cri.sandbox_status(id).await.err(),
            node.cri.exec(id, &["/bin/true"], 5).await.err(),
        ] {
            assert_eq!(
                answer.map(|status| status.code()),
                Some(Code::NotFound),
                "{id:?}"
            );
        }
    }
    assert_eq!(node.exec(&main, "echo alive").await?, "alive\n");
    let ctl = node.ctl()?;
    for name in ["../../host", "a/b", "..", ".", "-", "a b"] {
        let name = format!("--name={name}");
        let ended = ctl.run(&["create", &name, &node.image, "true"])?;
        assert_ne!(ended.code, 0, "{name}: {ended:?}");
    }
    // Names of a kubelet's are carried and shown, and nothing is named after them.
    let mut config = node.sandbox_config("../../host");
    config.log_directory = node.agent.logs().join("named").display().to_string();
    config.hostname = "named".to_owned();
    let named = node.sandbox_of(config).await?;
    let mut config = node.container_config("../../../host/marker", &["/bin/true"]);
    config.log_path = "main.log".to_owned();
    let id = node.run_of(&named, &config).await?;
    assert_eq!(node.exited(&id).await?.exit_code, 0);
    is_untouched(&host)?;
    node.finish().await
}
