//! Directories of specifications.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use crate::error::SpecFileError;
use crate::spec::{Spec, parse};

/// Most bytes that are read of a file.
const LARGEST: u64 = 1 << 20;

/// What lies in one directory.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) specs: Vec<(PathBuf, Spec)>,
    pub(crate) broken: Vec<SpecFileError>,
}

/// Reads every specification of a directory; one that is not there has none.
pub(crate) fn read(directory: &Path) -> Found {
    let mut found = Found::default();
    let mut paths = match list(directory) {
        Ok(paths) => paths,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return found,
        Err(source) => {
            found.broken.push(SpecFileError::Read {
                path: directory.to_owned(),
                source,
            });
            return found;
        }
    };
    paths.sort();
    for path in paths {
        match text_of(&path).and_then(|text| parse(&path, &text)) {
            Ok(spec) => found.specs.push((path, spec)),
            Err(error) => found.broken.push(error),
        }
    }
    found
}

fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("json" | "yaml" | "yml")) {
            paths.push(path);
        }
    }
    Ok(paths)
}

fn text_of(path: &Path) -> Result<String, SpecFileError> {
    let failed = |source| SpecFileError::Read {
        path: path.to_owned(),
        source,
    };
    let no_file = || SpecFileError::File {
        path: path.to_owned(),
    };
    // A pipe by this name would make whoever opens it wait.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err(no_file());
    }
    let mut text = String::new();
    let file = File::open(path).map_err(failed)?;
    file.take(LARGEST)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(text)
}
