//! The lists that come in several messages say the same as those that come in one.

use anyhow::Result;
use harness::node::Node;
use proto::cri::{
    ContainerFilter, ImageFilter, ImageSpec, ListContainersRequest, ListImagesRequest,
    ListPodSandboxRequest, PodSandboxFilter, StreamContainersRequest, StreamImagesRequest,
    StreamPodSandboxesRequest,
};
use tonic::Streaming;

/// Reads a stream to its end and returns what its messages have.
pub(crate) async fn all<M, T>(mut stream: Streaming<M>, of: fn(M) -> Vec<T>) -> Result<Vec<T>> {
    let mut items = Vec::new();
    while let Some(message) = stream.message().await? {
        items.extend(of(message));
    }
    Ok(items)
}

#[tokio::test]
async fn streams_end_after_what_the_lists_have() -> Result<()> {
    let node = Node::start().await?;
    let (mut runtime, mut image) = (node.cri.runtime.clone(), node.cri.image.clone());
    let one = node.sandbox("one").await?;
    let two = node.sandbox("two").await?;
    let first = node.run(&one, "first", &["/bin/pause"]).await?;
    let second = node.run(&two, "second", &["/bin/pause"]).await?;

    for filter in [
        None,
        Some(PodSandboxFilter {
            id: two.id.clone(),
            ..PodSandboxFilter::default()
        }),
    ] {
        let wanted = filter.as_ref().map_or(2, |_| 1);
        let list = ListPodSandboxRequest {
            filter: filter.clone(),
        };
        let list = runtime.list_pod_sandbox(list).await?.into_inner().items;
        let stream = StreamPodSandboxesRequest { filter };
        let stream = runtime.stream_pod_sandboxes(stream).await?.into_inner();
        let streamed = all(stream, |message| message.pod_sandboxes).await?;
        assert_eq!((streamed.len(), &streamed), (wanted, &list));
    }
    for (filter, wanted) in [
        (None, vec![&first, &second]),
        (
            Some(ContainerFilter {
                pod_sandbox_id: one.id.clone(),
                ..ContainerFilter::default()
            }),
            vec![&first],
        ),
    ] {
        let list = ListContainersRequest {
            filter: filter.clone(),
        };
        let list = runtime.list_containers(list).await?.into_inner().containers;
        let stream = StreamContainersRequest { filter };
        let stream = runtime.stream_containers(stream).await?.into_inner();
        let streamed = all(stream, |message| message.containers).await?;
        assert_eq!(streamed, list);
        assert!(
            wanted
                .iter()
                .all(|id| list.iter().any(|one| one.id == **id))
        );
        assert_eq!(list.len(), wanted.len());
    }
    for (name, wanted) in [("", 1), ("no/such:image", 0)] {
        let filter = Some(ImageFilter {
            image: Some(ImageSpec {
                image: name.to_owned(),
                ..ImageSpec::default()
            }),
        });
        let list = ListImagesRequest {
            filter: filter.clone(),
        };
        let list = image.list_images(list).await?.into_inner().images;
        let stream = image.stream_images(StreamImagesRequest { filter }).await?;
        let streamed = all(stream.into_inner(), |message| message.images).await?;
        assert_eq!((streamed.len(), &streamed), (wanted, &list));
    }
    node.finish().await
}
