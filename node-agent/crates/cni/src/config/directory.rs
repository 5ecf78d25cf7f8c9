//! The configuration directory: the first file by name that holds a valid configuration counts.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::parse::{self, ConfigError};
use super::{NetworkConfig, PluginConfig};

/// Endings of the names of configuration files.
const ENDINGS: [&str; 3] = ["conf", "conflist", "json"];

/// Largest configuration that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Why a directory holds no configuration.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// There is no file that could be one.
    #[error("no CNI configuration in {}", directory.display())]
    Empty {
        /// Where one was looked for.
        directory: PathBuf,
    },
    /// A file is not a configuration, and no other one is.
    #[error("CNI configuration {} is not valid", path.display())]
    Invalid {
        /// The first such file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Arc<ConfigError>,
    },
    /// The directory or a file in it could not be read.
    #[error("CNI configuration {} could not be read", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

/// A configuration, and the files it was read from as they were then.
#[derive(Debug)]
struct Cached {
    stamps: Vec<Stamp>,
    network: Arc<NetworkConfig>,
}

/// A directory that is looked at anew each time, and parsed when it has changed.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    last: Mutex<Option<Cached>>,
}

impl Directory {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            last: Mutex::new(None),
        }
    }

    /// Says whether there is a file that means to be a configuration, valid or not.
    pub(crate) fn has_any(&self) -> bool {
        !candidates(&self.path).unwrap_or_default().is_empty()
    }

    /// Returns the configuration that counts now; blocking.
    pub(crate) fn first(&self) -> Result<Arc<NetworkConfig>, SearchError> {
        let read = |path: &Path, source| SearchError::Read {
            path: path.to_owned(),
            source,
        };
        let stamps = stamps(&self.path).map_err(|source| read(&self.path, source))?;
        {
            let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(last) = last.as_ref()
                && last.stamps == stamps
            {
                return Ok(Arc::clone(&last.network));
            }
        }
        let network = Arc::new(self.search()?);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Cached {
            stamps,
            network: Arc::clone(&network),
        });
        Ok(network)
    }

    fn search(&self) -> Result<NetworkConfig, SearchError> {
        let files = candidates(&self.path).map_err(|source| SearchError::Read {
            path: self.path.clone(),
            source,
        })?;
        let mut first_problem = None;
        for path in files {
            match load(&path) {
                Ok(network) => return Ok(network),
                Err(problem) => {
                    tracing::warn!(path = %path.display(), error = %agent_telemetry::chain(&problem), "network configuration was passed over");
                    first_problem.get_or_insert(problem);
                }
            }
        }
        Err(first_problem.unwrap_or_else(|| SearchError::Empty {
            directory: self.path.clone(),
        }))
    }
}

/// Returns the files that mean to be configurations, by name; none where there is no directory.
fn candidates(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names: Vec<OsString> = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let path = Path::new(&name);
        let ending = path.extension().and_then(|ending| ending.to_str());
        // A hidden file is one that somebody is still writing.
        let hidden = name.as_encoded_bytes().starts_with(b".");
        if ending.is_some_and(|ending| ENDINGS.contains(&ending)) && !hidden {
            names.push(name);
        }
    }
    names.sort();
    let paths = names.into_iter().map(|name| directory.join(name));
    Ok(paths.filter(|path| path.is_file()).collect())
}

/// Returns the state of every file that could matter, those of networks' own directories too.
fn stamps(directory: &Path) -> io::Result<Vec<Stamp>> {
    let mut paths = candidates(directory)?;
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut inner: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir())
        .collect();
    inner.sort();
    for directory in inner {
        paths.extend(candidates(&directory)?);
    }
    Ok(paths.into_iter().filter_map(stamp).collect())
}

fn stamp(path: PathBuf) -> Option<Stamp> {
    // Gone meanwhile: then it is not there.
    let found = fs::metadata(&path).ok()?;
    Some(Stamp {
        inode: found.ino(),
        bytes: found.size(),
        changed: (found.ctime(), found.ctime_nsec()),
        path,
    })
}

fn load(path: &Path) -> Result<NetworkConfig, SearchError> {
    let invalid = |path: &Path, source| SearchError::Invalid {
        path: path.to_owned(),
        source: Arc::new(source),
    };
    let text = read(path)?;
    let parsed = parse::parse(&text).map_err(|source| invalid(path, source))?;
    let mut network = parsed.network;
    if parsed.takes_more
        && let Some(directory) = path.parent()
    {
        network
            .plugins
            .extend(further(&directory.join(&network.name))?);
    }
    parse::check_count(&network).map_err(|source| invalid(path, source))?;
    Ok(network)
}

/// Returns the plugins of a network that lie in a directory of its name.
fn further(directory: &Path) -> Result<Vec<PluginConfig>, SearchError> {
    let files = candidates(directory).unwrap_or_default();
    let own = files
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "conf"));
    own.map(|path| {
        parse::plugin(&read(&path)?).map_err(|source| SearchError::Invalid {
            path,
            source: Arc::new(source),
        })
    })
    .collect()
}

fn read(path: &Path) -> Result<Vec<u8>, SearchError> {
    let failed = |source| SearchError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mut text = Vec::new();
    let mut file = file.take(MAX_BYTES + 1);
    file.read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(failed(io::ErrorKind::FileTooLarge.into()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"name": "good", "plugins": [{"type": "p"}]}"#;

    fn directory(files: &[(&str, &str)]) -> (tempfile::TempDir, Directory) {
        let made = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = made.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let directory = Directory::new(made.path().to_owned());
        (made, directory)
    }

    fn name(directory: &Directory) -> String {
        directory.first().unwrap().name.clone()
    }

    #[test]
    fn the_first_valid_file_by_name_counts() {
        let other = GOOD.replace("good", "other");
        let (made, directory) = directory(&[
            ("05-notes.txt", &other),
            (".06-hidden.conflist", &other),
            ("07-broken.conflist", "{"),
            ("10-a.conflist", GOOD),
            ("20-b.conf", &other),
        ]);
        assert_eq!(name(&directory), "good");
        fs::remove_file(made.path().join("10-a.conflist")).unwrap();
        assert_eq!(name(&directory), "other");
    }

    #[test]
    fn a_change_is_seen_at_the_next_look() {
        let (made, directory) = directory(&[]);
        assert!(!directory.has_any());
        assert!(matches!(directory.first(), Err(SearchError::Empty { .. })));
        let path = made.path().join("a.conf");
        fs::write(&path, "{").unwrap();
        assert!(directory.has_any());
        assert!(matches!(
            directory.first(),
            Err(SearchError::Invalid { .. })
        ));
        fs::write(&path, GOOD).unwrap();
        let first = directory.first().unwrap();
        assert!(
            Arc::ptr_eq(&first, &directory.first().unwrap()),
            "read once"
        );
        // The same length: time and content differ.
        fs::remove_file(&path).unwrap();
        fs::write(&path, GOOD.replace("good", "hood")).unwrap();
        assert_eq!(name(&directory), "hood");
        fs::remove_dir_all(made.path()).unwrap();
        assert!(matches!(directory.first(), Err(SearchError::Empty { .. })));
    }

    #[test]
    fn plugins_of_a_directory_of_the_networks_name_come_last() {
        let alone =
            r#"{"name": "good", "loadOnlyInlinedPlugins": true, "plugins": [{"type": "p"}]}"#;
        let (made, directory) = directory(&[
            ("a.conflist", GOOD),
            ("good/1.conf", r#"{"type": "q"}"#),
            ("good/2.conflist", "not looked at"),
            ("other/1.conf", r#"{"type": "r"}"#),
        ]);
        let programs = |directory: &Directory| -> Vec<String> {
            let network = directory.first().unwrap();
            network
                .plugins
                .iter()
                .map(|p| p.program().to_owned())
                .collect()
        };
        assert_eq!(programs(&directory), ["p", "q"]);
        fs::write(made.path().join("good/3.conf"), r#"{"type": "s"}"#).unwrap();
        assert_eq!(programs(&directory), ["p", "q", "s"]);
        fs::write(made.path().join("a.conflist"), alone).unwrap();
        assert_eq!(programs(&directory), ["p"]);
    }

    #[test]
    fn a_file_without_end_is_refused_and_a_pipe_is_not_opened() {
        let (made, directory) = directory(&[]);
        let big = File::create(made.path().join("a.conf")).unwrap();
        big.set_len(1 << 40).unwrap();
        let pipe = made.path().join("b.conf");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        assert!(matches!(directory.first(), Err(SearchError::Read { .. })));
    }
}
