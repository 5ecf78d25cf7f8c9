//! Exits that a shim wrote down, for an agent that finds the shim gone.

use std::io;
use std::path::Path;

use agent_types::ContainerId;
use prost::Message as _;

use crate::error::ExitFileError;
use crate::report::ExitReport;

/// Returns the exit of container `id` as written in the sandbox's `directory`; `None` if none is.
///
/// # Errors
/// When a file is there and is not the container's exit.
pub fn read_exit_file(
    directory: &Path,
    id: &ContainerId,
) -> Result<Option<ExitReport>, ExitFileError> {
    let bytes = match std::fs::read(directory.join(format!("{id}.exit"))) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(ExitFileError::Read {
                id: id.clone(),
                source,
            });
        }
    };
    let report = proto_shim::ContainerExited::decode(bytes.as_slice()).map_err(|source| {
        ExitFileError::Decode {
            id: id.clone(),
            source,
        }
    })?;
    match ExitReport::try_from(report) {
        Ok(report) if report.id == *id => Ok(Some(report)),
        _ => Err(ExitFileError::Other { id: id.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_is_found_by_the_container_it_is_of() {
        let directory = tempfile::tempdir().unwrap();
        let id: ContainerId = "c1".parse().unwrap();
        let read = || read_exit_file(directory.path(), &id);
        assert!(read().unwrap().is_none());

        let mut written = proto_shim::ContainerExited {
            container_id: "c1".into(),
            exit_code: 137,
            signal: 9,
            finished_at: 1_500_000_000,
            oom_killed: true,
            ..proto_shim::ContainerExited::default()
        };
        let path = directory.path().join("c1.exit");
        std::fs::write(&path, written.encode_to_vec()).unwrap();
        let report = read().unwrap().unwrap();
        assert_eq!((report.exit_code, report.signal), (137, Some(9)));
        assert!(report.oom_killed && report.started_at.is_none());

        written.container_id = "c2".into();
        std::fs::write(&path, written.encode_to_vec()).unwrap();
        assert!(matches!(read(), Err(ExitFileError::Other { .. })));
        std::fs::write(&path, [0xff]).unwrap();
        assert!(matches!(read(), Err(ExitFileError::Decode { .. })));
    }
}
