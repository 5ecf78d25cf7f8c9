//! Images between the interfaces and the node.

use std::collections::HashMap;

use agent_core::image::{ImageFileSystem, ImageRecord, Pin, PullSpec};
use agent_core::time::Timestamp;
use agent_registry::{Auth, Secret};
use agent_types::{Platform, Reference};
use proto::{agent, cri};
use serde_json::{Value, json};
use tonic::Status;

use crate::status;

/// Returns what a reference says.
pub(crate) fn reference(text: &str) -> Result<Reference, Status> {
    text.parse()
        .map_err(|error: agent_types::ReferenceError| status::of(&error))
}

/// Returns what a PullImage request asks for.
pub(crate) fn cri_pull(
    request: cri::PullImageRequest,
    platform: Option<Platform>,
) -> Result<PullSpec, Status> {
    let image = request
        .image
        .ok_or_else(|| status::invalid("image is missing"))?;
    let reference = reference(&image.image)?;
    // Credentials for another registry are none for this one.
    let auth = request
        .auth
        .filter(|auth| Auth::are_for(&auth.server_address, reference.registry()));
    Ok(PullSpec {
        reference,
        platform,
        auth: cri_auth(auth)?,
        pin: Pin::None,
    })
}

fn cri_auth(auth: Option<cri::AuthConfig>) -> Result<Auth, Status> {
    let Some(auth) = auth else {
        return Ok(Auth::Anonymous);
    };
    if !auth.registry_token.is_empty() {
        return Ok(Auth::RegistryToken(Secret::new(auth.registry_token)));
    }
    if !auth.identity_token.is_empty() {
        return Ok(Auth::IdentityToken(Secret::new(auth.identity_token)));
    }
    if !auth.username.is_empty() {
        return Ok(Auth::Basic {
            username: auth.username,
            password: Secret::new(auth.password),
        });
    }
    if auth.auth.is_empty() {
        Ok(Auth::Anonymous)
    } else {
        Auth::from_docker(&auth.auth).map_err(|error| status::of(&error))
    }
}

/// Returns what a person's pull asks for.
pub(crate) fn pull(request: agent::PullRequest) -> Result<PullSpec, Status> {
    let platform: Option<Platform> = match request.platform.as_str() {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|error: agent_types::PlatformError| status::of(&error))?,
        ),
    };
    let auth = request.auth.unwrap_or_default();
    let auth = cri_auth(Some(cri::AuthConfig {
        username: auth.username,
        password: auth.password,
        identity_token: auth.identity_token,
        registry_token: auth.registry_token,
        ..cri::AuthConfig::default()
    }))?;
    Ok(PullSpec {
        reference: reference(&request.reference)?,
        platform,
        auth,
        pin: Pin::Local,
    })
}

fn texts(references: &[Reference]) -> Vec<String> {
    references.iter().map(ToString::to_string).collect()
}

/// Returns an image as CRI shows it.
pub(crate) fn cri_image(record: &ImageRecord, pinned: bool) -> cri::Image {
    let user = record.config.user.split(':').next().unwrap_or_default();
    let uid: Option<u32> = user.parse().ok();
    cri::Image {
        id: record.id.to_string(),
        repo_tags: texts(&record.references),
        repo_digests: texts(&record.digests),
        // One without layers has a size too, as CRI says.
        size: record.compressed_size().max(1),
        uid: match (uid, user) {
            (Some(uid), _) => Some(cri::Int64Value {
                value: i64::from(uid),
            }),
            (None, "") => Some(cri::Int64Value { value: 0 }),
            (None, _) => None,
        },
        username: match uid {
            Some(_) => String::new(),
            None => user.to_owned(),
        },
        spec: Some(cri::ImageSpec {
            image: record.id.to_string(),
            image_ref: record.id.to_string(),
            ..cri::ImageSpec::default()
        }),
        pinned,
    }
}

/// Returns an image with the runtime handler that was asked about.
pub(crate) fn asked_for_with(mut image: cri::Image, handler: String) -> cri::Image {
    if let Some(spec) = &mut image.spec {
        spec.runtime_handler = handler;
    }
    image
}

/// Returns what a verbose ImageStatus tells: one document, the image's own config in it.
pub(crate) fn cri_info(record: &ImageRecord, config: Option<&[u8]>) -> HashMap<String, String> {
    let config = config.and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
    let layers: Vec<_> = record
        .layers
        .iter()
        .map(|layer| json!({"digest": layer.digest, "diffID": layer.diff_id, "size": layer.compressed_size}))
        .collect();
    let info = json!({
        "chainID": record.top().map(ToString::to_string),
        "imageSpec": config,
        "index": record.index,
        "layers": layers,
        "manifest": record.manifest,
        "platform": record.platform.to_string(),
        "unpackedSize": record.unpacked_size(),
    });
    HashMap::from([("info".to_owned(), info.to_string())])
}

/// Returns whether an image passes CRI's filter.
pub(crate) fn passes(record: &ImageRecord, filter: &str) -> bool {
    if filter.is_empty() || record.id.to_string() == filter || record.id.0.hex() == filter {
        return true;
    }
    filter
        .parse::<Reference>()
        .is_ok_and(|wanted| record.references.contains(&wanted) || record.digests.contains(&wanted))
}

/// Returns a file system's use as CRI shows it.
pub(crate) fn file_system(of: &ImageFileSystem) -> cri::FilesystemUsage {
    let number = |value| Some(cri::UInt64Value { value });
    cri::FilesystemUsage {
        timestamp: Timestamp::now().nanos(),
        fs_id: Some(cri::FilesystemIdentifier {
            mountpoint: of.directory.to_string_lossy().into_owned(),
        }),
        used_bytes: number(of.usage.bytes),
        inodes_used: number(of.usage.inodes),
    }
}

/// Returns an image as `agent.v1` shows it.
pub(crate) fn image(record: &ImageRecord, containers: usize) -> agent::Image {
    agent::Image {
        id: record.id.to_string(),
        tags: texts(&record.references),
        digests: texts(&record.digests),
        size: record.unpacked_size(),
        created_at: record.created_at.map_or(0, Timestamp::nanos),
        labels: super::unordered(&record.config.labels),
        containers: u32::try_from(containers).unwrap_or(u32::MAX),
    }
}

/// Returns a whole InspectImage response.
pub(crate) fn inspected(
    record: &ImageRecord,
    containers: usize,
    config_json: Vec<u8>,
) -> agent::InspectImageResponse {
    let config = &record.config;
    agent::InspectImageResponse {
        image: Some(image(record, containers)),
        architecture: record.platform.architecture().to_owned(),
        os: record.platform.os().to_owned(),
        variant: record.platform.variant().unwrap_or_default().to_owned(),
        author: config.author.clone(),
        env: config.env.clone(),
        entrypoint: config.entrypoint.clone().unwrap_or_default(),
        command: config.cmd.clone().unwrap_or_default(),
        working_dir: config.working_dir.clone(),
        user: config.user.clone(),
        exposed_ports: config.exposed_ports.iter().cloned().collect(),
        volumes: config.volumes.iter().cloned().collect(),
        stop_signal: config.stop_signal.clone().unwrap_or_default(),
        layers: record
            .layers
            .iter()
            .map(|layer| layer.diff_id.to_string())
            .collect(),
        config: config_json,
    }
}
