//! The image service.

use anyhow::Result;
use harness::cri::image_spec;
use harness::image::Image;
use harness::node::Node;
use proto::cri::{ImageFilter, ImageFsInfoRequest, ImageStatusRequest, ListImagesRequest};
use serde_json::json;
use tonic::Code;

#[tokio::test]
async fn an_image_is_pulled_listed_told_and_removed() -> Result<()> {
    let node = Node::start().await?;
    let made = Image::busybox_with(vec![], &json!({"Env": ["PATH=/bin"], "User": "1000:1000"}))?;
    let image = node.registry.push("test/other:tag", &made)?;
    let reference = node.cri.pull(&image).await?;
    assert!(reference.contains("sha256:"), "{reference}");
    let mut service = node.cri.image.clone();
    let all = service
        .list_images(ListImagesRequest { filter: None })
        .await?
        .into_inner()
        .images;
    assert_eq!(all.len(), 2, "{all:#?}");
    let filter = ImageFilter {
        image: Some(image_spec(&image)),
    };
    let one = service
        .list_images(ListImagesRequest {
            filter: Some(filter),
        })
        .await?
        .into_inner()
        .images;
    assert_eq!(
        one.iter()
            .map(|one| one.repo_tags.clone())
            .collect::<Vec<_>>(),
        [[image.clone()]]
    );
    let status = |name: String| {
        let mut service = node.cri.image.clone();
        async move {
            let request = ImageStatusRequest {
                image: Some(image_spec(&name)),
                verbose: false,
            };
            service
                .image_status(request)
                .await
                .map(|answer| answer.into_inner().image)
        }
    };
    let seen = status(image.clone()).await?.unwrap_or_default();
    assert_eq!(
        (seen.id.as_str(), seen.uid.map(|uid| uid.value)),
        (made.id.as_str(), Some(1000))
    );
    assert!(seen.size > 1 << 20 && !seen.pinned, "{} bytes", seen.size);
    let (repository, _) = image.rsplit_once(':').unwrap_or_default();
    assert_eq!(
        seen.repo_digests,
        [format!("{repository}@{}", made.manifest_digest())]
    );
    // By id, by digest, and by what the pull returned.
    for name in [made.id.clone(), seen.repo_digests[0].clone(), reference] {
        assert_eq!(
            status(name.clone()).await?.map(|one| one.id),
            Some(made.id.clone()),
            "{name}"
        );
    }
    for _ in 0..2 {
        node.cri.remove_image(&image).await?;
        assert_eq!(status(image.clone()).await?, None);
    }
    node.cri
        .remove_image("no.such.registry.example/never:1")
        .await?;
    node.finish().await
}

#[tokio::test]
async fn file_systems_of_images_are_told() -> Result<()> {
    let node = Node::start().await?;
    let info = node
        .cri
        .image
        .clone()
        .image_fs_info(ImageFsInfoRequest {})
        .await?
        .into_inner();
    let image = info.image_filesystems.first().cloned().unwrap_or_default();
    assert!(
        image.timestamp > 0 && image.used_bytes.is_some_and(|bytes| bytes.value > 1 << 20),
        "{image:?}"
    );
    assert!(image.inodes_used.is_some_and(|inodes| inodes.value > 0));
    let mountpoint = image.fs_id.unwrap_or_default().mountpoint;
    assert!(
        mountpoint.starts_with(&node.agent.root().display().to_string()),
        "{mountpoint}"
    );
    node.finish().await
}

#[tokio::test]
async fn what_cannot_be_pulled_is_told_apart() -> Result<()> {
    let node = Node::start().await?;
    let code = |result: Result<String, tonic::Status>| result.err().map(|status| status.code());
    let missing = node.registry.reference("test/busybox:no-such-tag");
    assert_eq!(code(node.cri.pull(&missing).await), Some(Code::NotFound));
    assert_eq!(
        code(node.cri.pull("127.0.0.1:5000/UPPER/case:1").await),
        Some(Code::InvalidArgument)
    );
    assert_eq!(code(node.cri.pull("").await), Some(Code::InvalidArgument));
    let nobody = harness::registry::free_address()?;
    assert_eq!(
        code(node.cri.pull(&format!("{nobody}/nobody/listens:1")).await),
        Some(Code::Unavailable)
    );
    node.finish().await
}

#[tokio::test]
async fn removing_an_image_leaves_its_containers_alone() -> Result<()> {
    let node = Node::start().await?;
    let sandbox = node.sandbox("pod").await?;
    let id = node.run(&sandbox, "main", &["/bin/pause"]).await?;
    node.cri.remove_image(&node.image).await?;
    assert_eq!(node.exec(&id, "echo alive").await?, "alive\n");
    node.cri.stop_container(&id, 10).await?;
    node.finish().await
}
