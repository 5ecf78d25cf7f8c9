//! Images mounted in a container beside the one it is made from.

use std::collections::BTreeMap;

use agent_shim_client::ImageMount;
use agent_types::ImageId;

use super::error::{CreateError, StepError};
use super::spec::{ContainerRecord, ContainerSpec, MountSource, MountedImage};
use crate::image::HeldImage;
use crate::services::Services;

/// Finds the images a container wants mounted, with all their layers unpacked, and holds them.
pub(super) async fn resolve(
    services: &Services,
    spec: &ContainerSpec,
) -> Result<(BTreeMap<String, MountedImage>, Vec<HeldImage>), CreateError> {
    let mut found = BTreeMap::new();
    let mut held = Vec::new();
    for mount in &spec.mounts {
        let MountSource::Image { reference, .. } = &mount.source else {
            continue;
        };
        let destination = mount.destination.clone();
        let name = || spec.metadata.name.clone();
        let image =
            services
                .images
                .hold(reference)
                .map_err(|source| CreateError::MountedImage {
                    name: name(),
                    destination: destination.clone(),
                    source,
                })?;
        let id = image.image.id.clone();
        held.push(image);
        let chain = services.images.ensure_unpacked(&id).await;
        let chain = chain.map_err(|source| CreateError::Layers {
            name: name(),
            source: Box::new(source),
        })?;
        found.insert(destination, MountedImage { image: id, chain });
    }
    Ok((found, held))
}

/// Makes layers whole that a power cut has cost since the container was created.
pub(super) async fn unpack_again(
    services: &Services,
    record: &ContainerRecord,
) -> Result<(), StepError> {
    let own = MountedImage {
        image: record.image.clone(),
        chain: record.chain.clone(),
    };
    for used in record.image_mounts.values().chain([&own]) {
        let is_there = |chain| services.snapshots.contains(chain);
        if !used.chain.as_ref().is_none_or(is_there) {
            let unpacked = services.images.ensure_unpacked(&used.image).await;
            unpacked.map_err(|source| StepError::Layers(Box::new(source)))?;
        }
    }
    Ok(())
}

/// Returns the mounts as the shim is asked for them.
pub(super) fn of(
    services: &Services,
    record: &ContainerRecord,
) -> Result<Vec<ImageMount>, StepError> {
    let mut mounts = Vec::new();
    for mount in &record.spec.mounts {
        let MountSource::Image { sub_path, .. } = &mount.source else {
            continue;
        };
        // The record names an image for each: it was made from the same list.
        let Some(image) = record.image_mounts.get(&mount.destination) else {
            continue;
        };
        let lower = services
            .snapshots
            .lower(image.chain.as_ref())
            .map_err(|source| StepError::ImageLayers {
                image: image.image.clone(),
                source,
            })?;
        mounts.push(ImageMount {
            destination: agent_oci::clean_destination(&mount.destination)
                .map_err(super::error::SpecError::from)?,
            lower,
            sub_path: sub_path.clone(),
        });
    }
    Ok(mounts)
}

/// Returns the source that a specification names for an image: nothing there is looked up by it.
pub(super) fn source(image: Option<&ImageId>) -> String {
    image.map_or_else(|| "image".to_owned(), ToString::to_string)
}
