//! The way to the agent.
//!
//! Owns: the address, the connection, and what a failed request is called.
//! Does not: connect before the first request, so a command that needs no agent works without one.

use std::path::PathBuf;

use hyper_util::rt::TokioIo;
use proto::agent::containers_client::ContainersClient;
use proto::agent::images_client::ImagesClient;
use proto::agent::system_client::SystemClient;
use proto::agent::{ListContainersRequest, ListImagesRequest};
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

use crate::error::{AgentError, CommandError, hints};

/// An image's config may be long; the agent sends no more than this.
const MAX_MESSAGE: usize = 16 << 20;

/// How many near names an unknown one is answered with.
const MAX_NEAR: usize = 3;

/// A client of one agent.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    host: String,
    channel: Channel,
}

/// What a name was meant to be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noun {
    Container,
    Image,
    Either,
}

impl Noun {
    /// Returns the noun as people say it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Image => "image",
            Self::Either => "container or image",
        }
    }
}

impl Client {
    /// Returns a client of the agent at `host`, such as `unix:///run/node-agent/node-agent.sock`.
    pub(crate) fn new(host: &str) -> Result<Self, CommandError> {
        let invalid = || CommandError::Host {
            host: host.to_owned(),
        };
        let path = host.strip_prefix("unix://").unwrap_or(host);
        if !path.starts_with('/') {
            return Err(invalid());
        }
        let path = PathBuf::from(path);
        // The address is never resolved: each connection is to the socket.
        let endpoint = Endpoint::try_from("http://agent.invalid").map_err(|_| invalid())?;
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        Ok(Self {
            host: host.to_owned(),
            channel: endpoint.connect_with_connector_lazy(connector),
        })
    }

    /// Returns the service for containers.
    pub(crate) fn containers(&self) -> ContainersClient<Channel> {
        ContainersClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// Returns the service for images.
    pub(crate) fn images(&self) -> ImagesClient<Channel> {
        ImagesClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// Returns the service for the node itself.
    pub(crate) fn system(&self) -> SystemClient<Channel> {
        SystemClient::new(self.channel.clone())
    }

    /// Returns the error of a request that `attempted` something and got `status`.
    pub(crate) fn failed(&self, attempted: impl Into<String>, status: Status) -> CommandError {
        let source = AgentError::from(status);
        if source.io_kind().is_some() && source.code() == Code::Unavailable {
            return CommandError::Unreachable {
                host: self.host.clone(),
                source,
            };
        }
        CommandError::Request {
            attempted: attempted.into(),
            source,
            hint: None,
        }
    }

    /// Unwraps the answer to a request about container `name`.
    pub(crate) async fn of_container<T>(
        &self,
        name: &str,
        attempted: &str,
        answer: Result<Response<T>, Status>,
    ) -> Result<T, CommandError> {
        self.of(Noun::Container, name, attempted, answer).await
    }

    /// Unwraps the answer to a request about image `name`.
    pub(crate) async fn of_image<T>(
        &self,
        name: &str,
        attempted: &str,
        answer: Result<Response<T>, Status>,
    ) -> Result<T, CommandError> {
        self.of(Noun::Image, name, attempted, answer).await
    }

    async fn of<T>(
        &self,
        noun: Noun,
        name: &str,
        attempted: &str,
        answer: Result<Response<T>, Status>,
    ) -> Result<T, CommandError> {
        match answer {
            Ok(response) => Ok(response.into_inner()),
            Err(status) if status.code() == Code::NotFound => Err(self.not_found(noun, name).await),
            Err(status) => {
                let begin_so = match (noun, status.code()) {
                    (Noun::Container, Code::InvalidArgument) => self.begin_with(name).await,
                    _ => Vec::new(),
                };
                let error = self.failed(format!("{} {name} {attempted}", noun.word()), status);
                Err(match begin_so.as_slice() {
                    [] | [_] => error,
                    several => error.hinted(|_| Some(hints::one_of(several))),
                })
            }
        }
    }

    /// Returns the containers whose ids begin so, each with its name.
    async fn begin_with(&self, prefix: &str) -> Vec<String> {
        let request = ListContainersRequest {
            all: true,
            id: prefix.to_owned(),
            ..Default::default()
        };
        // Who cannot list them has the agent's own words still.
        let answer = self.containers().list(request).await;
        let found = answer.map(|answer| answer.into_inner().containers);
        let found = found.unwrap_or_default().into_iter();
        found
            .map(|one| format!("{} ({})", crate::view::short_id(&one.id), one.name))
            .collect()
    }

    /// Returns the error for an unknown `name`, with the names that are near it.
    pub(crate) async fn not_found(&self, noun: Noun, name: &str) -> CommandError {
        let known = match noun {
            Noun::Container => self.container_names().await,
            Noun::Image => self.image_names().await,
            Noun::Either => match self.container_names().await {
                Ok(mut names) => self.image_names().await.map(|images| {
                    names.extend(images);
                    names
                }),
                Err(status) => Err(status),
            },
        };
        // A second failure says nothing about the first.
        let near = near(name, known.unwrap_or_default());
        CommandError::NotFound {
            what: noun.word(),
            name: name.to_owned(),
            near,
        }
    }

    async fn container_names(&self) -> Result<Vec<String>, Status> {
        let request = ListContainersRequest {
            all: true,
            ..Default::default()
        };
        let answer = self.containers().list(request).await?.into_inner();
        Ok(answer
            .containers
            .into_iter()
            .map(|container| container.name)
            .collect())
    }

    async fn image_names(&self) -> Result<Vec<String>, Status> {
        let answer = self
            .images()
            .list(ListImagesRequest::default())
            .await?
            .into_inner();
        let tags = answer.images.into_iter().flat_map(|image| image.tags);
        Ok(tags
            .map(|tag| crate::view::reference::familiar(&tag))
            .collect())
    }
}

/// Returns the names that `name` may be a slip for, the likeliest first.
fn near(name: &str, known: Vec<String>) -> Vec<String> {
    let bare = |known: &str| known.strip_suffix(":latest").unwrap_or(known).to_owned();
    let allowed = (name.chars().count() / 3).max(1);
    let mut near: Vec<_> = known
        .into_iter()
        .map(|known| (strsim::osa_distance(&bare(name), &bare(&known)), known))
        // A name without a letter in common is none that was meant.
        .filter(|(distance, _)| *distance <= allowed && *distance < name.chars().count())
        .collect();
    near.sort();
    near.dedup();
    near.into_iter()
        .take(MAX_NEAR)
        .map(|(_, known)| known)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_those_a_slip_away() {
        let known = || {
            ["web", "web2", "database", "cache"]
                .map(String::from)
                .to_vec()
        };
        assert_eq!(near("wbe", known()), ["web"]);
        assert_eq!(near("databse", known()), ["database"]);
        assert_eq!(near("webx", known()), ["web", "web2"]);
        assert_eq!(near("unlike", known()), Vec::<String>::new());
        assert_eq!(
            near("busybx", vec!["busybox:latest".into()]),
            ["busybox:latest"]
        );
    }

    #[tokio::test]
    async fn only_unix_sockets_are_addresses() {
        for host in ["unix:///run/a.sock", "/run/a.sock"] {
            assert!(Client::new(host).is_ok(), "{host}");
        }
        for host in ["", "tcp://127.0.0.1:1", "run/a.sock", "unix://a.sock"] {
            assert!(Client::new(host).is_err(), "{host}");
        }
    }
}
