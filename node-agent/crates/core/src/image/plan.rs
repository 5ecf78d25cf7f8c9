//! What a pull is going to do, decided from documents alone.

use agent_registry::document::{Descriptor, Index, IndexEntry, Manifest, MediaType};
use agent_snapshot::{ChainId, Compression};
use agent_types::{Digest, Platform};

use super::error::LayerError;
use super::record::LayerRecord;

const CONFIG_TYPES: [&str; 2] = [
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
];

/// A layer to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LayerPlan {
    pub(super) index: usize,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) compression: Compression,
    pub(super) diff_id: Digest,
    pub(super) chain: ChainId,
    pub(super) parent: Option<ChainId>,
}

/// Returns the entry of an index that suits a platform best; the first of equals.
///
/// Attestations and other riders say `unknown/unknown`, which suits nobody. An entry without a
/// platform is taken only if nothing says that it suits.
pub(super) fn choose<'a>(index: &'a Index, platform: &Platform) -> Option<&'a IndexEntry> {
    let is_manifest = |entry: &&IndexEntry| {
        MediaType::parse(&entry.descriptor.media_type).is_ok_and(|kind| !kind.is_index())
    };
    let fit = |entry: &'a IndexEntry| match &entry.platform {
        Some(candidate) => platform.fit(candidate).map(|fit| (fit, entry)),
        None => Some((u32::MAX, entry)),
    };
    let candidates = index.entries.iter().filter(is_manifest).filter_map(fit);
    candidates
        .min_by_key(|(fit, _)| *fit)
        .map(|(_, entry)| entry)
}

/// Lists what an index offers, for the message that nothing of it suits.
pub(super) fn offered(index: &Index) -> Vec<Platform> {
    let platforms = index
        .entries
        .iter()
        .filter_map(|entry| entry.platform.clone());
    let mut platforms: Vec<_> = platforms
        .filter(|platform| platform.os() != "unknown")
        .collect();
    platforms.sort();
    platforms.dedup();
    platforms.truncate(32);
    platforms
}

/// Says whether a manifest's config is that of an image, and not of some other artifact.
pub(super) fn is_image(config: &Descriptor) -> bool {
    CONFIG_TYPES.contains(&config.media_type.as_str())
}

/// Pairs the layers of a manifest with the diff ids of its config; both have the same number.
pub(super) fn layers(
    manifest: &Manifest,
    diff_ids: &[Digest],
) -> Result<Vec<LayerPlan>, (Digest, LayerError)> {
    let chains = ChainId::stack(diff_ids);
    let mut plans = Vec::with_capacity(chains.len());
    for (index, (blob, diff_id)) in manifest.layers.iter().zip(diff_ids).enumerate() {
        plans.push(LayerPlan {
            index,
            digest: blob.digest.clone(),
            size: blob.size,
            compression: compression(&blob.media_type)
                .map_err(|error| (blob.digest.clone(), error))?,
            diff_id: diff_id.clone(),
            chain: chains[index].clone(),
            parent: index.checked_sub(1).map(|below| chains[below].clone()),
        });
    }
    Ok(plans)
}

/// Plans to unpack the layers of a known image again.
pub(super) fn of_record(layers: &[LayerRecord]) -> Result<Vec<LayerPlan>, (Digest, LayerError)> {
    let mut parent = None;
    let mut plans = Vec::with_capacity(layers.len());
    for (index, layer) in layers.iter().enumerate() {
        plans.push(LayerPlan {
            index,
            digest: layer.digest.clone(),
            size: layer.compressed_size,
            compression: compression(&layer.media_type)
                .map_err(|error| (layer.digest.clone(), error))?,
            diff_id: layer.diff_id.clone(),
            chain: layer.chain_id.clone(),
            parent: parent.replace(layer.chain_id.clone()),
        });
    }
    Ok(plans)
}

/// Says how a layer of a media type is compressed.
fn compression(media_type: &str) -> Result<Compression, LayerError> {
    match media_type {
        "application/vnd.oci.image.layer.v1.tar"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar"
        | "application/vnd.docker.image.rootfs.diff.tar" => Ok(Compression::None),
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip"
        | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => Ok(Compression::Gzip),
        "application/vnd.oci.image.layer.v1.tar+zstd"
        | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Ok(Compression::Zstd),
        _ => Err(LayerError::MediaType {
            media_type: media_type.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u8, platform: Option<&str>, kind: MediaType) -> IndexEntry {
        IndexEntry {
            descriptor: Descriptor {
                media_type: kind.name().to_owned(),
                digest: Digest::sha256(&[number; 32]),
                size: 1,
            },
            platform: platform.map(|text| text.parse().unwrap()),
        }
    }

    fn chosen(entries: &[IndexEntry], platform: &str) -> Option<Digest> {
        let index = Index {
            entries: entries.to_vec(),
        };
        let platform = platform.parse().unwrap();
        choose(&index, &platform).map(|entry| entry.descriptor.digest.clone())
    }

    #[test]
    fn foreign_and_attesting_entries_are_passed_over() {
        let manifest = MediaType::OciManifest;
        let entries = [
            entry(1, Some("unknown/unknown"), manifest),
            entry(2, Some("windows/amd64"), manifest),
            entry(3, None, manifest),
            entry(4, Some("linux/amd64"), MediaType::OciIndex),
            entry(5, Some("linux/amd64"), manifest),
            entry(6, Some("linux/amd64/v3"), manifest),
            entry(7, Some("linux/amd64"), manifest),
        ];
        let digest = |number| Some(Digest::sha256(&[number; 32]));
        assert_eq!(chosen(&entries, "linux/amd64"), digest(5));
        assert_eq!(chosen(&entries, "linux/amd64/v3"), digest(6));
        assert_eq!(chosen(&entries, "linux/s390x"), digest(3));
        assert_eq!(chosen(&entries[..2], "linux/s390x"), None);
        let index = Index {
            entries: entries.to_vec(),
        };
        assert_eq!(offered(&index).len(), 3);
    }

    #[test]
    fn layers_get_their_place_in_the_stack() {
        let blob = |number: u8, kind: &str| Descriptor {
            media_type: kind.to_owned(),
            digest: Digest::sha256(&[number; 32]),
            size: u64::from(number),
        };
        let mut manifest = Manifest {
            config: blob(9, CONFIG_TYPES[0]),
            layers: vec![
                blob(1, "application/vnd.oci.image.layer.v1.tar+gzip"),
                blob(2, "application/vnd.oci.image.layer.v1.tar+zstd"),
            ],
        };
        let diff_ids = [Digest::sha256(&[3; 32]), Digest::sha256(&[4; 32])];
        let plans = layers(&manifest, &diff_ids).unwrap();
        assert_eq!(plans[0].chain.digest(), &diff_ids[0]);
        assert_eq!(plans[0].parent, None);
        assert_eq!(plans[1].parent.as_ref(), Some(&plans[0].chain));
        assert_eq!(plans[1].compression, Compression::Zstd);
        assert!(is_image(&manifest.config));
        manifest.layers[1].media_type = "application/x-evil".to_owned();
        let (_, error) = layers(&manifest, &diff_ids).unwrap_err();
        assert!(error.to_string().contains("application/x-evil"), "{error}");
    }
}
