//! A CRI client: both services over one unix socket, and the calls tests make most.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use hyper_util::rt::TokioIo;
use proto::cri::image_service_client::ImageServiceClient;
use proto::cri::runtime_service_client::RuntimeServiceClient;
use proto::cri::{
    ContainerConfig, ContainerStatus, ContainerStatusRequest, CreateContainerRequest,
    ExecSyncRequest, ExecSyncResponse, ImageSpec, PodSandboxConfig, PodSandboxStatus,
    PodSandboxStatusRequest, PullImageRequest, RemoveContainerRequest, RemoveImageRequest,
    RemovePodSandboxRequest, RunPodSandboxRequest, StartContainerRequest, StopContainerRequest,
    StopPodSandboxRequest, VersionRequest, VersionResponse,
};
use tokio::net::UnixStream;
use tonic::Status;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

/// The kubelet's own bound, and the agent's.
const MESSAGE_SIZE: usize = 16 << 20;

/// How long a call may take, so that one that hangs is told by its name.
const PATIENCE: Duration = Duration::from_secs(100);

/// Opens a gRPC channel to a unix socket.
pub async fn channel(socket: &Path) -> Result<Channel> {
    let path: PathBuf = socket.to_owned();
    Endpoint::from_static("http://localhost")
        .timeout(PATIENCE)
        .connect_with_connector(service_fn(move |_: Uri| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        }))
        .await
        .with_context(|| format!("connect to {}", socket.display()))
}

/// Clients of both CRI services. Cloning it shares the connection.
#[derive(Clone, Debug)]
pub struct Cri {
    /// The runtime service, for calls that have no method here.
    pub runtime: RuntimeServiceClient<Channel>,
    /// The image service, for calls that have no method here.
    pub image: ImageServiceClient<Channel>,
}

impl Cri {
    /// Connects to an endpoint's socket.
    pub async fn connect(socket: &Path) -> Result<Self> {
        let channel = channel(socket).await?;
        Ok(Self {
            runtime: RuntimeServiceClient::new(channel.clone())
                .max_decoding_message_size(2 * MESSAGE_SIZE),
            image: ImageServiceClient::new(channel).max_decoding_message_size(MESSAGE_SIZE),
        })
    }

    /// Asks who answers.
    pub async fn version(&self) -> Result<VersionResponse, Status> {
        let request = VersionRequest {
            version: "v1".to_owned(),
        };
        Ok(self.runtime.clone().version(request).await?.into_inner())
    }

    /// Pulls an image and returns its reference.
    pub async fn pull(&self, image: &str) -> Result<String, Status> {
        let request = PullImageRequest {
            image: Some(image_spec(image)),
            ..PullImageRequest::default()
        };
        Ok(self
            .image
            .clone()
            .pull_image(request)
            .await?
            .into_inner()
            .image_ref)
    }

    /// Removes an image.
    pub async fn remove_image(&self, image: &str) -> Result<(), Status> {
        self.image
            .clone()
            .remove_image(RemoveImageRequest {
                image: Some(image_spec(image)),
            })
            .await?;
        Ok(())
    }

    /// Runs a sandbox with the default runtime handler and returns its id.
    pub async fn run_sandbox(&self, config: &PodSandboxConfig) -> Result<String, Status> {
        self.run_sandbox_with(config, "").await
    }

    /// Runs a sandbox with the runtime handler of this name and returns its id.
    pub async fn run_sandbox_with(
        &self,
        config: &PodSandboxConfig,
        handler: &str,
    ) -> Result<String, Status> {
        let request = RunPodSandboxRequest {
            config: Some(config.clone()),
            runtime_handler: handler.to_owned(),
        };
        Ok(Box::pin(self.runtime.clone().run_pod_sandbox(request))
            .await?
            .into_inner()
            .pod_sandbox_id)
    }

    /// Stops a sandbox.
    pub async fn stop_sandbox(&self, id: &str) -> Result<(), Status> {
        self.runtime
            .clone()
            .stop_pod_sandbox(StopPodSandboxRequest {
                pod_sandbox_id: id.to_owned(),
            })
            .await?;
        Ok(())
    }

    /// Removes a sandbox.
    pub async fn remove_sandbox(&self, id: &str) -> Result<(), Status> {
        self.runtime
            .clone()
            .remove_pod_sandbox(RemovePodSandboxRequest {
                pod_sandbox_id: id.to_owned(),
            })
            .await?;
        Ok(())
    }

    /// Returns a sandbox's status.
    pub async fn sandbox_status(&self, id: &str) -> Result<PodSandboxStatus, Status> {
        let request = PodSandboxStatusRequest {
            pod_sandbox_id: id.to_owned(),
            verbose: false,
        };
        let answer = self
            .runtime
            .clone()
            .pod_sandbox_status(request)
            .await?
            .into_inner();
        answer
            .status
            .ok_or_else(|| Status::data_loss("PodSandboxStatus answered without a status"))
    }

    /// Creates a container and returns its id.
    pub async fn create_container(
        &self,
        sandbox: &str,
        config: &ContainerConfig,
        of: &PodSandboxConfig,
    ) -> Result<String, Status> {
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config.clone()),
            sandbox_config: Some(of.clone()),
        };
        Ok(Box::pin(self.runtime.clone().create_container(request))
            .await?
            .into_inner()
            .container_id)
    }

    /// Starts a container.
    pub async fn start_container(&self, id: &str) -> Result<(), Status> {
        self.runtime
            .clone()
            .start_container(StartContainerRequest {
                container_id: id.to_owned(),
            })
            .await?;
        Ok(())
    }

    /// Stops a container; `timeout` is in seconds.
    pub async fn stop_container(&self, id: &str, timeout: i64) -> Result<(), Status> {
        let request = StopContainerRequest {
            container_id: id.to_owned(),
            timeout,
        };
        self.runtime.clone().stop_container(request).await?;
        Ok(())
    }

    /// Removes a container.
    pub async fn remove_container(&self, id: &str) -> Result<(), Status> {
        self.runtime
            .clone()
            .remove_container(RemoveContainerRequest {
                container_id: id.to_owned(),
            })
            .await?;
        Ok(())
    }

    /// Returns a container's status.
    pub async fn container_status(&self, id: &str) -> Result<ContainerStatus, Status> {
        let request = ContainerStatusRequest {
            container_id: id.to_owned(),
            verbose: false,
        };
        let answer = self
            .runtime
            .clone()
            .container_status(request)
            .await?
            .into_inner();
        answer
            .status
            .ok_or_else(|| Status::data_loss("ContainerStatus answered without a status"))
    }

    /// Runs a command in a container; `timeout` is in seconds, 0 for none.
    pub async fn exec(
        &self,
        id: &str,
        command: &[&str],
        timeout: i64,
    ) -> Result<ExecSyncResponse, Status> {
        let request = ExecSyncRequest {
            container_id: id.to_owned(),
            cmd: command.iter().map(|word| (*word).to_owned()).collect(),
            timeout,
        };
        Ok(self.runtime.clone().exec_sync(request).await?.into_inner())
    }
}

/// Returns the specification that names an image.
#[must_use]
pub fn image_spec(image: &str) -> ImageSpec {
    ImageSpec {
        image: image.to_owned(),
        ..ImageSpec::default()
    }
}
