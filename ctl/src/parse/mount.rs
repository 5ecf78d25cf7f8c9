//! `--volume`, `--mount` and `--tmpfs`.

use std::path::{Component, Path};

use proto::agent::{Mount, MountKind, Relabel};

use super::{ParseError, quantity};

const VOLUME: &str = "HOST_PATH:CONTAINER_PATH[:ro|rw|z|Z]";
const TARGET: &str = "an absolute path in the container";

/// Reads `/host:/container[:ro]`; a path that begins with `.` is of the working directory.
pub(crate) fn volume(text: &str) -> Result<Mount, ParseError> {
    let malformed = || ParseError::form(text, VOLUME);
    let mut parts = text.split(':');
    let (source, destination, options, None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed());
    };
    let (Some(source), Some(destination)) = (source, destination) else {
        return Err(match Path::new(text).is_absolute() {
            true => ParseError::NoSource {
                destination: text.to_owned(),
            },
            false => malformed(),
        });
    };
    let mut read_only = false;
    let mut relabel = Relabel::Unspecified;
    for option in options.into_iter().flat_map(|options| options.split(',')) {
        match option {
            "ro" => read_only = true,
            "rw" => {}
            "z" => relabel = Relabel::Shared,
            "Z" => relabel = Relabel::Private,
            _ => {
                return Err(ParseError::UnknownKey {
                    key: option.to_owned(),
                    place: "--volume",
                });
            }
        }
    }
    Ok(Mount {
        read_only,
        relabel: relabel.into(),
        ..bind(source, destination)?
    })
}

/// Reads `type=bind,source=/host,target=/container[,readonly]`, or `type=tmpfs,target=...`.
pub(crate) fn mount(text: &str) -> Result<Mount, ParseError> {
    let mut kind = "";
    let (mut source, mut target) = (None, None);
    let mut mount = Mount::default();
    for field in text.split(',') {
        let (key, value) = field.split_once('=').unwrap_or((field, "true"));
        match key {
            "type" => kind = value,
            "source" | "src" => source = Some(value),
            "target" | "destination" | "dst" => target = Some(value),
            "readonly" | "ro" => mount.read_only = truth(value)?,
            "tmpfs-size" if kind == "tmpfs" => mount.size = quantity::bytes(value)?,
            "tmpfs-mode" if kind == "tmpfs" => mount.mode = mode(value)?,
            // Docker takes it for its desktop; it changes nothing on Linux.
            "consistency" => {}
            _ => {
                return Err(ParseError::UnknownKey {
                    key: key.to_owned(),
                    place: "--mount",
                });
            }
        }
    }
    let missing = |key| ParseError::MissingKey {
        key,
        place: "--mount",
    };
    let target = target.ok_or_else(|| missing("target="))?;
    match (kind, source) {
        ("bind", Some(source)) => Ok(Mount {
            read_only: mount.read_only,
            ..bind(source, target)?
        }),
        ("bind", None) => Err(missing("source=")),
        ("tmpfs", None) => Ok(Mount {
            kind: MountKind::Tmpfs.into(),
            destination: absolute(target)?,
            ..mount
        }),
        ("volume" | "", name) => Err(ParseError::NamedVolume {
            name: name.unwrap_or_default().to_owned(),
        }),
        _ => Err(ParseError::form(
            text,
            "type=bind,source=...,target=... or type=tmpfs,target=...",
        )),
    }
}

/// Reads `/path[:OPTION,...]`.
pub(crate) fn tmpfs(text: &str) -> Result<Mount, ParseError> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    let kind = MountKind::Tmpfs.into();
    let mut mount = Mount {
        kind,
        destination: absolute(target)?,
        ..Default::default()
    };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=').unwrap_or((option, "")) {
            ("ro", "") => mount.read_only = true,
            // What every tmpfs of a container is.
            ("rw" | "noexec" | "nosuid" | "nodev", "") => {}
            ("size", size) => mount.size = quantity::bytes(size)?,
            ("mode", digits) => mount.mode = mode(digits)?,
            _ => {
                return Err(ParseError::UnknownKey {
                    key: option.to_owned(),
                    place: "--tmpfs",
                });
            }
        }
    }
    Ok(mount)
}

fn bind(source: &str, destination: &str) -> Result<Mount, ParseError> {
    let source = match source.chars().next() {
        Some('/') => source.to_owned(),
        Some('.') => {
            let source = std::path::absolute(source);
            let source = source.map_err(|source| ParseError::WorkingDirectory { source })?;
            without_parents(&source)
        }
        Some('~') => {
            return Err(ParseError::form(
                source,
                "a path: ~ is the shell's, and only at the start of a word",
            ));
        }
        Some(_) => {
            return Err(ParseError::NamedVolume {
                name: source.to_owned(),
            });
        }
        None => return Err(ParseError::form(source, "a path of the host")),
    };
    let kind = MountKind::Bind.into();
    Ok(Mount {
        kind,
        source,
        destination: absolute(destination)?,
        ..Default::default()
    })
}

/// Returns the path without `..`, each taking away the part before it.
fn without_parents(path: &Path) -> String {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(parts.pop()),
            Component::Normal(part) => parts.push(part.to_string_lossy()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    format!("/{}", parts.join("/"))
}

fn absolute(path: &str) -> Result<String, ParseError> {
    if path.starts_with('/') {
        Ok(path.to_owned())
    } else {
        Err(ParseError::form(path, TARGET))
    }
}

fn truth(text: &str) -> Result<bool, ParseError> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(ParseError::form(text, "true or false")),
    }
}

fn mode(digits: &str) -> Result<u32, ParseError> {
    let mode = u32::from_str_radix(digits, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777);
    mode.ok_or_else(|| ParseError::form(digits, "an octal mode, such as 1777"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bound(source: &str, destination: &str, read_only: bool) -> Mount {
        Mount {
            read_only,
            ..bind(source, destination).expect("absolute paths")
        }
    }

    #[test]
    fn volumes_are_paths_of_the_host() {
        assert_eq!(volume("/a:/b").expect("a bind"), bound("/a", "/b", false));
        assert_eq!(volume("/a:/b:ro").expect("a bind"), bound("/a", "/b", true));
        for (option, relabel) in [("z", Relabel::Shared), ("Z", Relabel::Private)] {
            let found = volume(&format!("/a:/b:rw,{option}")).expect("a bind");
            let wanted = Mount {
                relabel: relabel.into(),
                ..bound("/a", "/b", false)
            };
            assert_eq!(found, wanted);
        }
        let here = std::env::current_dir().expect("a directory");
        let here = here.to_str().expect("UTF-8");
        assert_eq!(
            volume("./x/../y:/b").expect("a bind").source,
            format!("{here}/y")
        );
        assert_eq!(volume(".:/b").expect("a bind").source, here);
    }

    #[test]
    fn other_volumes_are_refused_with_the_reason() {
        let table = [
            (
                "data:/b",
                "named volume \"data\" cannot be mounted: only paths of the host can, so far",
            ),
            (
                "/data",
                "/data has no path of the host to mount there: there are no volumes without one, so far",
            ),
            ("/a:b", "\"b\" is not an absolute path in the container"),
            ("/a:/b:rshared", "rshared is not known to --volume"),
            (
                "/a:/b:ro:x",
                "\"/a:/b:ro:x\" is not HOST_PATH:CONTAINER_PATH[:ro|rw|z|Z]",
            ),
            (":/b", "\"\" is not a path of the host"),
        ];
        for (text, expected) in table {
            assert_eq!(volume(text).expect_err(text).to_string(), expected);
        }
    }

    #[test]
    fn mounts_are_lists_of_keys() {
        let read_only = "type=bind,source=/a,target=/b,readonly";
        assert_eq!(mount(read_only).expect("a bind"), bound("/a", "/b", true));
        assert_eq!(
            mount("type=bind,src=/a,dst=/b,ro=false").expect("a bind"),
            bound("/a", "/b", false)
        );
        let tmpfs = mount("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700").expect("a tmpfs");
        assert_eq!(
            (tmpfs.kind(), tmpfs.size, tmpfs.mode),
            (MountKind::Tmpfs, 1 << 20, 0o700)
        );
        let table = [
            ("type=bind,source=/a", "--mount needs target="),
            ("type=bind,target=/a", "--mount needs source="),
            (
                "type=bind,source=/a,target=/b,bind-propagation=shared",
                "bind-propagation is not known to --mount",
            ),
            (
                "source=data,target=/b",
                "named volume \"data\" cannot be mounted: only paths of the host can, so far",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(mount(text).expect_err(text).to_string(), expected);
        }
    }

    #[test]
    fn tmpfs_has_size_and_mode() {
        let mount = tmpfs("/run:rw,noexec,size=64k,mode=1770").expect("a tmpfs");
        assert_eq!(
            (mount.destination.as_str(), mount.size, mount.mode),
            ("/run", 65536, 0o1770)
        );
        assert!(tmpfs("/run:ro").expect("a tmpfs").read_only);
        for text in ["run", "/run:exec", "/run:mode=9", "/run:size=x"] {
            assert!(tmpfs(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_input_makes_the_parsers_panic(text in "[a-z/.:=,~]{0,40}") {
            let _ = (volume(&text), mount(&text), tmpfs(&text));
        }
    }
}
