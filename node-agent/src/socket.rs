//! The sockets to serve on: for root and one group, never for everybody.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use tokio::net::UnixListener;

/// A socket's file, removed when the agent stops.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) listener: UnixListener,
    pub(crate) path: PathBuf,
}

/// Binds a socket with mode 0660, in place of one that nobody serves any more.
pub(crate) fn bind(path: &Path, group: Option<&str>) -> anyhow::Result<Bound> {
    let failed = || format!("socket {} could not be made", path.display());
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).with_context(failed)?;
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        bail!("socket {} is served by another process", path.display());
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(failed);
        }
        _ => {}
    }
    // Nobody may come in between bind and chmod.
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o177));
    let listener = UnixListener::bind(path).with_context(failed);
    rustix::process::umask(mask);
    let listener = listener?;
    if let Some(group) = group {
        let gid = group_id(group)?;
        std::os::unix::fs::chown(path, None, Some(gid)).with_context(failed)?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660)).with_context(failed)?;
    Ok(Bound {
        listener,
        path: path.to_owned(),
    })
}

/// Returns the id of a group of the host's, by number or by name.
fn group_id(group: &str) -> anyhow::Result<u32> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let text = std::fs::read_to_string("/etc/group").context("/etc/group could not be read")?;
    let found = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok())?
    });
    found.with_context(|| format!("socket group {group:?} does not exist"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_for_root_and_its_group() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.sock");
        let bound = bind(&path, None).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        let error = bind(&path, None).unwrap_err();
        assert!(error.to_string().contains("another process"), "{error}");
        drop(bound);
        assert!(bind(&path, None).is_ok(), "a stale socket is replaced");
    }
}
