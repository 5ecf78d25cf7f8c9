//! Images.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use agent_core::event::{Action, Event, Subject};
use agent_core::handler::RuntimeHandler;
use agent_core::image::{ImageRecord, RemoveMode};
use agent_core::time::Timestamp;
use agent_types::{Classify, ErrorKind, ImageId, Owner};
use proto::cri;
use proto::cri::image_service_server::ImageService;
use tonic::{Request, Response, Status};

use super::Cri;
use super::batch::batches;
use super::runtime::Streamed;
use crate::convert::image as convert;
use crate::status;

type Answer<T> = Result<Response<T>, Status>;

impl Cri {
    /// Returns the images that a person's containers use.
    fn used_by_people(&self) -> HashSet<ImageId> {
        let containers = self.node.containers(Owner::Local);
        containers
            .into_iter()
            .map(|seen| seen.container.record.image.clone())
            .collect()
    }

    fn images(&self, filter: Option<cri::ImageFilter>) -> Vec<cri::Image> {
        let filter = filter
            .and_then(|filter| filter.image)
            .map(|image| image.image)
            .unwrap_or_default();
        let used = self.used_by_people();
        let images = self.node.images();
        let show = |record: &ImageRecord| {
            let pinned = images.is_pinned(record) || used.contains(&record.id);
            convert::cri_image(record, pinned)
        };
        let all = images.list();
        all.iter()
            .filter(|record| convert::passes(record, &filter))
            .map(|record| show(record))
            .collect()
    }

    fn handler(&self, name: &str) -> Option<RuntimeHandler> {
        self.node.services().settings.handlers.get(name)
    }

    /// Finds the image that is meant. One that the handler cannot run is none for it: it is to be
    /// pulled for the handler's platform.
    fn find(&self, asked: &cri::ImageSpec) -> Result<Option<Arc<ImageRecord>>, Status> {
        let name = name(Some(asked.clone()))?;
        let found = match self.node.images().resolve(&name) {
            Ok(record) => record,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(status::of(&error)),
        };
        let handler = self.handler(&asked.runtime_handler);
        Ok(handler
            .is_some_and(|handler| handler.runs(&found.platform))
            .then_some(found))
    }

    async fn pull(&self, request: cri::PullImageRequest) -> Result<String, Status> {
        let asked = request.image.clone().unwrap_or_default();
        let handler = self.handler(&asked.runtime_handler).ok_or_else(|| {
            let name = &asked.runtime_handler;
            Status::not_found(format!("runtime handler {name:?} is not configured"))
        })?;
        let spec = convert::cri_pull(request, handler.platform)?;
        let reference = spec.reference.to_string();
        let pulled = self.node.images().pull(spec).done.await;
        let pulled = pulled.map_err(|error| status::of(&error))?;
        self.node.services().events.tell(Event {
            time: Timestamp::now(),
            subject: Subject::Image,
            action: Action::Pull,
            id: reference,
            owner: None,
            attributes: vec![("image", pulled.image.id.to_string())],
            sandbox: None,
        });
        Ok(pulled.image.id.to_string())
    }
}

fn name(image: Option<cri::ImageSpec>) -> Result<String, Status> {
    image
        .map(|image| image.image)
        .filter(|image| !image.is_empty())
        .ok_or_else(|| status::invalid("image is missing"))
}

#[tonic::async_trait]
impl ImageService for Cri {
    async fn list_images(
        &self,
        request: Request<cri::ListImagesRequest>,
    ) -> Answer<cri::ListImagesResponse> {
        let images = self.images(request.into_inner().filter);
        Ok(Response::new(cri::ListImagesResponse { images }))
    }

    type StreamImagesStream = Streamed<cri::StreamImagesResponse>;

    async fn stream_images(
        &self,
        request: Request<cri::StreamImagesRequest>,
    ) -> Answer<Self::StreamImagesStream> {
        let images = self.images(request.into_inner().filter);
        Ok(batches(images, |images| cri::StreamImagesResponse {
            images,
        }))
    }

    async fn image_status(
        &self,
        request: Request<cri::ImageStatusRequest>,
    ) -> Answer<cri::ImageStatusResponse> {
        let request = request.into_inner();
        let asked = request.image.unwrap_or_default();
        let Some(record) = self.find(&asked)? else {
            return Ok(Response::new(cri::ImageStatusResponse::default()));
        };
        let images = self.node.images();
        let info = match request.verbose {
            true => {
                let config = images.config_json(&record.id).await;
                convert::cri_info(&record, config.ok().as_deref())
            }
            false => HashMap::new(),
        };
        let pinned = images.is_pinned(&record) || self.used_by_people().contains(&record.id);
        let image = convert::cri_image(&record, pinned);
        let image = Some(convert::asked_for_with(image, asked.runtime_handler));
        Ok(Response::new(cri::ImageStatusResponse { image, info }))
    }

    async fn pull_image(
        &self,
        request: Request<cri::PullImageRequest>,
    ) -> Answer<cri::PullImageResponse> {
        let image_ref = self.pull(request.into_inner()).await?;
        Ok(Response::new(cri::PullImageResponse { image_ref }))
    }

    async fn remove_image(
        &self,
        request: Request<cri::RemoveImageRequest>,
    ) -> Answer<cri::RemoveImageResponse> {
        let name = name(request.into_inner().image)?;
        let in_use = |id: &ImageId| self.node.image_in_use(id);
        let removed = self.node.images().remove(&name, RemoveMode::Cri, &in_use);
        super::gone_is_done(removed.await.map(drop))?;
        Ok(Response::new(cri::RemoveImageResponse {}))
    }

    async fn image_fs_info(
        &self,
        _request: Request<cri::ImageFsInfoRequest>,
    ) -> Answer<cri::ImageFsInfoResponse> {
        let found = self.node.images().file_systems().await;
        let found = found.map_err(|error| status::of(&error))?;
        let all: Vec<_> = found.iter().map(convert::file_system).collect();
        Ok(Response::new(cri::ImageFsInfoResponse {
            container_filesystems: all.first().cloned().into_iter().collect(),
            image_filesystems: all,
        }))
    }
}
