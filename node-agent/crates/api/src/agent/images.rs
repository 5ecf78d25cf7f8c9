//! Images.

use std::pin::Pin;

use agent_core::event::{Action, Event, Subject};
use agent_core::image::{
    LayerPhase, LayerProgress, PullEvent, PullOutcome, PullStatus, Pulled, RemoveMode,
};
use agent_core::time::Timestamp;
use agent_types::{Classify, ErrorKind, ImageId, Owner};
use futures_util::Stream;
use proto::agent;
use proto::agent::images_server::Images;
use proto::agent::pull_progress::Event as Progress;
use tonic::{Request, Response, Status};

use super::Agent;
use crate::convert::image as convert;
use crate::status;

type Answer<T> = Result<Response<T>, Status>;

fn line(status: &PullStatus) -> Option<String> {
    match status {
        PullStatus::Resolving => Some("Resolving".to_owned()),
        PullStatus::Resolved { digest, platform } => {
            Some(format!("Resolved to {digest} for {platform}"))
        }
        PullStatus::Fetching { layers, bytes } => {
            let word = if *layers == 1 { "layer" } else { "layers" };
            Some(format!("Fetching {layers} {word}, {}", size(*bytes)))
        }
        PullStatus::Done => None,
    }
}

/// Returns a size as people say it.
fn size(bytes: u64) -> String {
    match bytes {
        0..100_000 => format!("{bytes} bytes"),
        100_000..1_000_000_000 => {
            format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
        }
        _ => format!("{}.{} GB", bytes / 1_000_000_000, bytes / 100_000_000 % 10),
    }
}

fn layer(progress: &LayerProgress) -> agent::LayerProgress {
    let phase = match progress.phase {
        LayerPhase::Waiting => agent::LayerPhase::Waiting,
        LayerPhase::Fetching => agent::LayerPhase::Fetching,
        LayerPhase::Unpacking => agent::LayerPhase::Unpacking,
        LayerPhase::Done => agent::LayerPhase::Done,
        LayerPhase::Exists => agent::LayerPhase::Exists,
    };
    agent::LayerProgress {
        digest: progress.digest.to_string(),
        phase: phase.into(),
        current: progress.current,
        total: progress.total,
    }
}

fn progress(event: &PullEvent) -> Option<Progress> {
    match event {
        PullEvent::Status(status) => line(status).map(Progress::Status),
        PullEvent::Layer(one) => Some(Progress::Layer(layer(one))),
    }
}

fn done(pulled: &Pulled, reference: &str) -> agent::PullDone {
    agent::PullDone {
        image_id: pulled.image.id.to_string(),
        digest: pulled.digest.to_string(),
        reference: reference.to_owned(),
        up_to_date: pulled.outcome == PullOutcome::UpToDate,
    }
}

impl Agent {
    fn tell_image(&self, action: Action, id: String, image: &ImageId) {
        self.node.services().events.tell(Event {
            time: Timestamp::now(),
            subject: Subject::Image,
            action,
            id,
            owner: None,
            attributes: vec![("image", image.to_string())],
            sandbox: None,
        });
    }

    /// Returns the image that a filter names, where it names one.
    fn named(&self, filter: &str) -> Result<Option<ImageId>, Status> {
        match self.node.images().resolve(filter) {
            Ok(record) => Ok(Some(record.id.clone())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(status::of(&error)),
        }
    }

    /// Returns how many of a person's containers use an image.
    fn users(&self, image: &ImageId) -> usize {
        let containers = self.node.containers(Owner::Local);
        containers
            .iter()
            .filter(|seen| seen.container.record.image == *image)
            .count()
    }
}

#[tonic::async_trait]
impl Images for Agent {
    type PullStream = Pin<Box<dyn Stream<Item = Result<agent::PullProgress, Status>> + Send>>;

    async fn pull(&self, request: Request<agent::PullRequest>) -> Answer<Self::PullStream> {
        let spec = convert::pull(request.into_inner())?;
        let reference = spec.reference.to_string();
        let mut pull = self.node.images().pull(spec);
        let agent = self.clone();
        let stream = async_stream::try_stream! {
            while let Some(event) = pull.events.next().await {
                if let Some(event) = progress(&event) {
                    yield agent::PullProgress { event: Some(event) };
                }
            }
            let pulled = pull.done.await.map_err(|error| status::of(&error))?;
            agent.tell_image(Action::Pull, reference.clone(), &pulled.image.id);
            let event = Progress::Done(done(&pulled, &reference));
            yield agent::PullProgress { event: Some(event) };
        };
        Ok(Response::new(Box::pin(stream)))
    }

    async fn list(
        &self,
        request: Request<agent::ListImagesRequest>,
    ) -> Answer<agent::ListImagesResponse> {
        let filter = request.into_inner().filter;
        let mut images = self.node.images().list();
        if !filter.is_empty() {
            let wanted = self.named(&filter)?;
            images.retain(|record| {
                wanted.as_ref() == Some(&record.id)
                    || record
                        .references
                        .iter()
                        .any(|name| name.familiar_name() == filter || name.name() == filter)
            });
        }
        let images = images
            .iter()
            .map(|record| convert::image(record, self.users(&record.id)))
            .collect();
        Ok(Response::new(agent::ListImagesResponse { images }))
    }

    async fn inspect(
        &self,
        request: Request<agent::InspectImageRequest>,
    ) -> Answer<agent::InspectImageResponse> {
        let images = self.node.images();
        let record = images.resolve(&request.get_ref().image);
        let record = record.map_err(|error| status::of(&error))?;
        let config = images.config_json(&record.id).await;
        let config = config.map_err(|error| status::of(&error))?;
        let users = self.users(&record.id);
        Ok(Response::new(convert::inspected(&record, users, config)))
    }

    async fn remove(
        &self,
        request: Request<agent::RemoveImageRequest>,
    ) -> Answer<agent::RemoveImageResponse> {
        let request = request.into_inner();
        let mode = if request.force {
            RemoveMode::DockerForce
        } else {
            RemoveMode::Docker
        };
        let in_use = |id: &ImageId| self.node.image_in_use(id);
        let removed = self
            .node
            .images()
            .remove(&request.image, mode, &in_use)
            .await;
        let removed = removed.map_err(|error| status::of(&error))?;
        for id in &removed.deleted {
            self.tell_image(Action::Remove, id.to_string(), id);
        }
        Ok(Response::new(agent::RemoveImageResponse {
            untagged: removed.untagged,
            deleted: removed.deleted.iter().map(ToString::to_string).collect(),
        }))
    }

    async fn tag(
        &self,
        request: Request<agent::TagImageRequest>,
    ) -> Answer<agent::TagImageResponse> {
        let request = request.into_inner();
        let target = convert::reference(&request.reference)?;
        let tagged = self.node.images().tag(&request.image, target.clone()).await;
        let tagged = tagged.map_err(|error| status::of(&error))?;
        self.tell_image(Action::Tag, target.to_string(), &tagged.id);
        Ok(Response::new(agent::TagImageResponse {}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fetched_is_said_in_words() {
        let said = |layers, bytes| line(&PullStatus::Fetching { layers, bytes }).unwrap();
        assert_eq!(said(1, 5), "Fetching 1 layer, 5 bytes");
        assert_eq!(said(1, 1_088_059), "Fetching 1 layer, 1.0 MB");
        assert_eq!(said(5, 2_150_000_000), "Fetching 5 layers, 2.1 GB");
    }
}
