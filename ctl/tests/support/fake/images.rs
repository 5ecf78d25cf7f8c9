use std::pin::Pin;

use proto::agent::images_server::Images;
use proto::agent::{
    Image, InspectImageRequest, InspectImageResponse, ListImagesRequest, ListImagesResponse,
    PullProgress, PullRequest, RemoveImageRequest, RemoveImageResponse, TagImageRequest,
    TagImageResponse,
};
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use super::{Fake, Shared};

type Answer<T> = Result<Response<T>, Status>;

impl Fake {
    fn image(&self, name: &str) -> Result<&InspectImageResponse, Status> {
        let full = format!("docker.io/library/{name}");
        let latest = format!("{full}:latest");
        let fits = |answer: &&InspectImageResponse| {
            answer.image.as_ref().is_some_and(|image| {
                image.id.contains(name)
                    || image
                        .tags
                        .iter()
                        .any(|tag| [name, &full, &latest].contains(&tag.as_str()))
            })
        };
        let found = self.images.iter().find(fits);
        found.ok_or_else(|| Status::not_found(format!("image {name} does not exist")))
    }
}

#[tonic::async_trait]
impl Images for Shared {
    type PullStream = Pin<Box<dyn Stream<Item = Result<PullProgress, Status>> + Send>>;

    async fn pull(&self, request: Request<PullRequest>) -> Answer<Self::PullStream> {
        let request = request.into_inner();
        let user = request
            .auth
            .map_or(String::new(), |auth| format!(" as {}", auth.username));
        let platform = match request.platform.as_str() {
            "" => String::new(),
            platform => format!(" for {platform}"),
        };
        self.asked("Pull", format!("{}{platform}{user}", request.reference))?;
        let steps = self.with(|fake| {
            let steps = fake.pulls.get(&request.reference).cloned();
            let tag = format!("docker.io/library/{}:latest", request.reference);
            let image = Image {
                id: "sha256:11".into(),
                tags: vec![tag],
                ..Default::default()
            };
            fake.images.push(InspectImageResponse {
                image: Some(image),
                ..Default::default()
            });
            steps.ok_or_else(|| {
                Status::not_found(format!(
                    "{} does not exist in its registry",
                    request.reference
                ))
            })
        })?;
        Ok(Response::new(Box::pin(tokio_stream::iter(
            steps.into_iter().map(Ok),
        ))))
    }

    async fn list(&self, _: Request<ListImagesRequest>) -> Answer<ListImagesResponse> {
        self.asked("ListImages", "")?;
        let images = self.with(|fake| {
            fake.images
                .iter()
                .filter_map(|answer| answer.image.clone())
                .collect()
        });
        Ok(Response::new(ListImagesResponse { images }))
    }

    async fn inspect(&self, request: Request<InspectImageRequest>) -> Answer<InspectImageResponse> {
        let name = request.into_inner().image;
        self.asked("InspectImage", &name)?;
        self.with(|fake| fake.image(&name).cloned().map(Response::new))
    }

    async fn remove(&self, request: Request<RemoveImageRequest>) -> Answer<RemoveImageResponse> {
        let request = request.into_inner();
        self.asked(
            "RemoveImage",
            format!("{} force={}", request.image, request.force),
        )?;
        self.with(|fake| {
            let image = fake
                .image(&request.image)?
                .image
                .clone()
                .unwrap_or_default();
            Ok(Response::new(RemoveImageResponse {
                untagged: image.tags,
                deleted: vec![image.id],
            }))
        })
    }

    async fn tag(&self, request: Request<TagImageRequest>) -> Answer<TagImageResponse> {
        let request = request.into_inner();
        self.asked("Tag", format!("{} {}", request.image, request.reference))?;
        self.with(|fake| {
            fake.image(&request.image)
                .map(|_| Response::new(TagImageResponse {}))
        })
    }
}
