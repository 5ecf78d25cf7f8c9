//! Whom a container runs as.

use anyhow::Result;
use harness::image::Image;
use harness::node::Node;
use proto::cri::{Int64Value, LinuxContainerSecurityContext, SupplementalGroupsPolicy};
use serde_json::json;
use tonic::Code;

/// The image's /etc/passwd has user (1000, 1000); its /etc/group has extra (2000) with user in it.
#[tokio::test]
async fn users_groups_and_supplemental_groups_are_resolved() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    type Change = fn(&mut LinuxContainerSecurityContext);
    let cases: [(&str, Change, &str); 6] = [
        ("root", |_| {}, "0 0 0"),
        (
            "number",
            |context| context.run_as_user = Some(Int64Value { value: 1000 }),
            "1000 1000 1000 2000",
        ),
        (
            "name",
            |context| context.run_as_username = "user".to_owned(),
            "1000 1000 1000 2000",
        ),
        (
            "group",
            |context| {
                context.run_as_user = Some(Int64Value { value: 1000 });
                context.run_as_group = Some(Int64Value { value: 7 });
            },
            "1000 7 7 2000",
        ),
        (
            "supplemental",
            |context| {
                context.run_as_user = Some(Int64Value { value: 4242 });
                context.supplemental_groups = vec![30, 40];
            },
            "4242 0 0 30 40",
        ),
        (
            "strict",
            |context| {
                context.run_as_user = Some(Int64Value { value: 1000 });
                context.supplemental_groups = vec![30];
                context.supplemental_groups_policy = SupplementalGroupsPolicy::Strict.into();
            },
            "1000 1000 30 1000",
        ),
    ];
    for (name, change, wanted) in cases {
        let line = "echo $(id -u) $(id -g) $(grep Groups /proc/self/status | cut -f2)";
        let mut config = node.container_config(name, &["/bin/sh", "-c", line]);
        change(
            config
                .linux
                .get_or_insert_default()
                .security_context
                .get_or_insert_default(),
        );
        let (code, text) = node.shell_of(&sandbox, &config).await?;
        let mut seen: Vec<_> = text.split_whitespace().collect();
        let mut wanted: Vec<_> = wanted.split(' ').collect();
        // The group itself may or may not be repeated among the others.
        assert_eq!((code, &seen[..2]), (0, &wanted[..2]), "{name}: {text}");
        for words in [&mut seen, &mut wanted] {
            let group = words[1];
            words.drain(..2);
            words.retain(|word| *word != group);
            words.sort_unstable();
        }
        assert_eq!(seen, wanted, "{name}");
    }
    node.finish().await
}

#[tokio::test]
async fn the_status_tells_the_user() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let mut config = node.container_config("main", &["/bin/pause"]);
    let context = config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default();
    context.run_as_user = Some(Int64Value { value: 1000 });
    let id = node.run_of(&sandbox, &config).await?;
    let user = node
        .cri
        .container_status(&id)
        .await?
        .user
        .and_then(|user| user.linux)
        .unwrap_or_default();
    assert_eq!((user.uid, user.gid), (1000, 1000));
    assert!(user.supplemental_groups.contains(&2000), "{user:?}");
    node.finish().await
}

#[tokio::test]
async fn the_images_user_counts_unless_the_request_names_one() -> Result<()> {
    let node = Node::start().await?;
    let image = Image::busybox_with(vec![], &json!({"Env": ["PATH=/bin"], "User": "user:extra"}))?;
    let image = node.registry.push("test/user:1", &image)?;
    node.cri.pull(&image).await?;
    let sandbox = node.sandbox("pod").await?;
    let mut config = node.container_config("main", &["/bin/sh", "-c", "id -u; id -g"]);
    config.image = Some(harness::cri::image_spec(&image));
    assert_eq!(
        node.shell_of(&sandbox, &config).await?,
        (0, "1000\n2000\n".to_owned())
    );
    let mut config = crate::isolation::with_context(&node, "named", "id -u; id -g", |context| {
        context.run_as_user = Some(Int64Value { value: 0 });
    });
    config.image = Some(harness::cri::image_spec(&image));
    assert_eq!(
        node.shell_of(&sandbox, &config).await?,
        (0, "0\n0\n".to_owned())
    );
    node.finish().await
}

#[tokio::test]
async fn a_user_that_is_not_there_is_refused_by_create() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let mut config = node.container_config("main", &["/bin/pause"]);
    let context = config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default();
    context.run_as_username = "nobody-knows".to_owned();
    let refused = node
        .cri
        .create_container(&sandbox.id, &config, &sandbox.config)
        .await
        .err();
    assert!(
        refused
            .as_ref()
            .is_some_and(|status| status.message().contains("nobody-knows")),
        "{refused:?}"
    );
    let mut config = node.container_config("group", &["/bin/pause"]);
    let context = config
        .linux
        .get_or_insert_default()
        .security_context
        .get_or_insert_default();
    context.run_as_group = Some(Int64Value { value: 5 });
    let refused = node
        .cri
        .create_container(&sandbox.id, &config, &sandbox.config)
        .await
        .err();
    assert_eq!(
        refused.map(|status| status.code()),
        Some(Code::InvalidArgument),
        "a group without a user"
    );
    node.finish().await
}
