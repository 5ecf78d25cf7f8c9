//! The image service.

use std::path::PathBuf;

use anyhow::Result;
use harness::agent::Options;
use harness::cri::image_spec;
use harness::image::Image;
use harness::node::Node;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use proto::cri::{
    FilesystemUsage, ImageFilter, ImageFsInfoRequest, ImageSpec, ImageStatusRequest, Int64Value,
    LinuxContainerConfig, LinuxContainerSecurityContext, ListContainersRequest, ListImagesRequest,
};
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

/// A mount, taken away when this is dropped.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(&self.0, MntFlags::MNT_DETACH);
    }
}

#[tokio::test]
async fn blobs_on_a_file_system_of_their_own_are_counted_there() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let content = directory.path().join("root/content");
    std::fs::create_dir_all(&content)?;
    mount(
        Some("tmpfs"),
        &content,
        Some("tmpfs"),
        MsFlags::empty(),
        None::<&str>,
    )?;
    let mounted = Mounted(content.clone());
    let options = Options {
        root: Some(directory.path().join("root")),
        ..Options::default()
    };
    let node = Node::start_with(options).await?;
    let mut images = node.cri.image.clone();
    let info = images.image_fs_info(ImageFsInfoRequest {}).await?;
    let info = info.into_inner();
    let places = |all: &[FilesystemUsage]| -> Vec<PathBuf> {
        let identifiers = all.iter().filter_map(|one| one.fs_id.as_ref());
        identifiers
            .map(|id| PathBuf::from(&id.mountpoint))
            .collect()
    };
    let snapshots = directory.path().join("root/snapshots");
    let image = &info.image_filesystems;
    assert_eq!(places(image), [snapshots.clone(), content]);
    assert_eq!(places(&info.container_filesystems), [snapshots]);
    for one in image {
        let used = one.used_bytes.map_or(0, |bytes| bytes.value);
        assert!(used > 100 << 10, "{one:?}");
    }
    node.finish().await?;
    drop(mounted);
    Ok(())
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

#[tokio::test]
async fn an_image_is_the_same_in_every_answer_and_goes_with_all_its_names() -> Result<()> {
    let options = Options::default().with("images", "pinned = [\"*/test/kept:*\"]");
    let node = Node::start_with(options).await?;
    let made = Image::busybox_with(vec![], &json!({"Env": ["PATH=/bin"], "User": "operator"}))?;
    let names = ["test/one:1", "test/one:2", "test/two:1"];
    let mut references = Vec::new();
    for name in names {
        references.push(node.registry.push(name, &made)?);
    }
    for reference in &references {
        assert_eq!(
            node.cri.pull(reference).await?,
            made.id,
            "what a pull returns"
        );
    }
    let list = || async {
        let request = ListImagesRequest { filter: None };
        let answer = node.cri.image.clone().list_images(request).await?;
        anyhow::Ok(answer.into_inner().images)
    };
    let listed = list().await?;
    let listed: Vec<_> = listed.iter().filter(|one| one.id == made.id).collect();
    assert_eq!(listed.len(), 1, "one image, whatever its names");
    let mut tags = listed[0].repo_tags.clone();
    tags.sort();
    let mut wanted = references.clone();
    wanted.sort();
    assert_eq!(tags, wanted);
    assert_eq!(listed[0].repo_digests.len(), 2, "one for each repository");
    assert_eq!(
        (listed[0].username.as_str(), &listed[0].uid),
        ("operator", &None)
    );
    let spec = listed[0].spec.clone().unwrap_or_default();
    assert_eq!((&spec.image, &spec.image_ref), (&made.id, &made.id));

    // A kubelet gives the id that the pull returned, and beside it what the pod says.
    let sandbox = node.sandbox("pod").await?;
    let mut config = node.container_config("main", &["/bin/pause"]);
    config.image = Some(ImageSpec {
        user_specified_image: references[0].clone(),
        ..image_spec(&made.id)
    });
    // The image names a user that it has not got.
    config.linux = Some(LinuxContainerConfig {
        security_context: Some(LinuxContainerSecurityContext {
            run_as_user: Some(Int64Value { value: 0 }),
            ..LinuxContainerSecurityContext::default()
        }),
        ..LinuxContainerConfig::default()
    });
    let container = node.run_of(&sandbox, &config).await?;
    let status = node.cri.container_status(&container).await?;
    assert_eq!((&status.image_id, &status.image_ref), (&made.id, &made.id));
    let shown = status.image.unwrap_or_default();
    assert_eq!(
        (&shown.image, &shown.user_specified_image),
        (&references[0], &references[0]),
        "an id is no name to be shown"
    );
    let containers = node.cri.runtime.clone();
    let containers = { containers }
        .list_containers(ListContainersRequest::default())
        .await?
        .into_inner()
        .containers;
    assert_eq!(
        (&containers[0].image_id, &containers[0].image_ref),
        (&made.id, &made.id)
    );
    let shown = containers[0].image.clone().unwrap_or_default();
    assert_eq!((&shown.image, &shown.image_ref), (&references[0], &made.id));

    let request = ImageStatusRequest {
        image: Some(image_spec(&references[2])),
        verbose: true,
    };
    let answer = node
        .cri
        .image
        .clone()
        .image_status(request)
        .await?
        .into_inner();
    assert_eq!(answer.image.map(|image| image.id), Some(made.id.clone()));
    let info: serde_json::Value = serde_json::from_str(&answer.info["info"])?;
    assert_eq!(info["imageSpec"]["config"]["User"], "operator");
    assert_eq!(info["manifest"], made.manifest_digest());
    assert_eq!(
        info["platform"],
        format!("linux/{}", harness::image::architecture())
    );

    let kept = node.registry.push("test/kept:1", &Image::busybox()?)?;
    node.cri.pull(&kept).await?;
    let pinned: Vec<_> = list().await?.into_iter().filter(|one| one.pinned).collect();
    assert!(
        pinned.len() == 1 && pinned[0].repo_tags.contains(&kept),
        "{pinned:#?}"
    );
    // One name is enough to remove it with all of them; its container goes on.
    node.cri.remove_image(&references[1]).await?;
    assert!(list().await?.iter().all(|one| one.id != made.id));
    assert_eq!(node.exec(&container, "echo alive").await?, "alive\n");
    node.finish().await
}
