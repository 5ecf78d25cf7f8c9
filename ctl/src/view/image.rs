//! The lines of an image in `images`, and an image in full.

use jiff::Timestamp;
use proto::agent::{Image, InspectImageResponse};
use serde_json::{Map, Value, json};

use super::container::Length;
use super::reference::{familiar, split};
use super::{short_id, sorted};
use crate::output::{Column, Row, ago, decimal_size, local_time, utc_time};

const NONE: &str = "<none>";

/// The columns of `images`; the plain table has `Digest` only when asked for.
pub(crate) const COLUMNS: [Column; 8] = [
    Column {
        field: "Repository",
        heading: "REPOSITORY",
    },
    Column {
        field: "Tag",
        heading: "TAG",
    },
    Column {
        field: "Digest",
        heading: "DIGEST",
    },
    Column {
        field: "ID",
        heading: "IMAGE ID",
    },
    Column {
        field: "CreatedSince",
        heading: "CREATED",
    },
    Column {
        field: "Size",
        heading: "SIZE",
    },
    Column {
        field: "CreatedAt",
        heading: "CREATED AT",
    },
    Column {
        field: "Containers",
        heading: "CONTAINERS",
    },
];

/// How many of the columns the plain table has, the digest's among them.
pub(crate) const PLAIN_COLUMNS: usize = 6;

/// A name of an image: what its line shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) repository: String,
    pub(crate) tag: String,
    pub(crate) digest: String,
}

/// Returns the names of an image, one for each of its lines.
pub(crate) fn names(image: &Image) -> Vec<Name> {
    let digests: Vec<_> = image
        .digests
        .iter()
        .map(|digest| familiar(digest))
        .collect();
    let digest_of = |repository: &str| {
        let known = digests
            .iter()
            .map(|digest| split(digest))
            .find(|(known, _)| *known == repository);
        known.map_or(NONE, |(_, digest)| digest).to_owned()
    };
    let mut names: Vec<_> = image
        .tags
        .iter()
        .map(|tag| {
            let tag = familiar(tag);
            let (repository, tag) = split(&tag);
            Name {
                repository: repository.into(),
                tag: tag.into(),
                digest: digest_of(repository),
            }
        })
        .collect();
    // A repository that is known by a digest alone has a line too.
    for (repository, digest) in digests.iter().map(|digest| split(digest)) {
        if !names.iter().any(|name| name.repository == repository) {
            names.push(Name {
                repository: repository.into(),
                tag: NONE.into(),
                digest: digest.into(),
            });
        }
    }
    if names.is_empty() {
        names.push(Name {
            repository: NONE.into(),
            tag: NONE.into(),
            digest: NONE.into(),
        });
    }
    names
}

/// Returns the fields of an image's line.
pub(crate) fn row(image: &Image, name: &Name, now: Timestamp, length: Length) -> Row {
    let id = match length {
        Length::Short => short_id(&image.id),
        Length::Full => image.id.as_str(),
    };
    let (created_at, since) = match image.created_at {
        0 => ("N/A".into(), "N/A".into()),
        time => (local_time(time), ago(time, now)),
    };
    let fields = json!({
        "Containers": image.containers.to_string(),
        "CreatedAt": created_at,
        "CreatedSince": since,
        "Digest": name.digest,
        "ID": id,
        "Repository": name.repository,
        "Size": decimal_size(image.size),
        "Tag": name.tag,
    });
    Row {
        fields,
        labels: image.labels.clone(),
    }
}

/// Returns everything known of an image.
pub(crate) fn detail(answer: &InspectImageResponse) -> Value {
    let image = answer.image.clone().unwrap_or_default();
    let familiar = |references: &[String]| {
        references
            .iter()
            .map(|name| familiar(name))
            .collect::<Vec<_>>()
    };
    let set = |items: &[String]| {
        items
            .iter()
            .map(|item| (item.clone(), json!({})))
            .collect::<Map<_, _>>()
    };
    json!({
        "Id": image.id,
        "RepoTags": familiar(&image.tags),
        "RepoDigests": familiar(&image.digests),
        "Created": if image.created_at == 0 { String::new() } else { utc_time(image.created_at) },
        "Author": answer.author,
        "Architecture": answer.architecture,
        "Variant": answer.variant,
        "Os": answer.os,
        "Size": image.size,
        "Config": {
            "User": answer.user,
            "ExposedPorts": set(&answer.exposed_ports),
            "Env": answer.env,
            "Cmd": answer.command,
            "Volumes": set(&answer.volumes),
            "WorkingDir": answer.working_dir,
            "Entrypoint": answer.entrypoint,
            "Labels": sorted(&image.labels),
            "StopSignal": answer.stop_signal,
        },
        "RootFS": {"Type": "layers", "Layers": answer.layers},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(tags: &[&str], digests: &[&str]) -> Image {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Image {
            tags: owned(tags),
            digests: owned(digests),
            ..Default::default()
        }
    }

    fn name(repository: &str, tag: &str, digest: &str) -> Name {
        Name {
            repository: repository.into(),
            tag: tag.into(),
            digest: digest.into(),
        }
    }

    #[test]
    fn an_image_has_a_line_for_each_name() {
        let image = image(
            &["docker.io/library/nginx:1", "localhost:5000/web:2"],
            &[
                "docker.io/library/nginx@sha256:aa",
                "docker.io/someone/web@sha256:bb",
            ],
        );
        let expected = [
            name("nginx", "1", "sha256:aa"),
            name("localhost:5000/web", "2", NONE),
            name("someone/web", NONE, "sha256:bb"),
        ];
        assert_eq!(names(&image), expected);
    }

    #[test]
    fn an_image_without_a_name_has_a_line_too() {
        assert_eq!(names(&image(&[], &[])), [name(NONE, NONE, NONE)]);
    }
}
