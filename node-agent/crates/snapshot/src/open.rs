//! Opening the snapshot directory: what an earlier run, or an earlier boot, left there.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use agent_sys::rootdir::RootDir;
use agent_types::SnapshotKey;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::chain::ChainId;
use crate::delete::{Trash, names};
use crate::error::OpenError;
use crate::points::{self, Points};
use crate::record::{LayerRecord, remove_record};
use crate::snapshots::{Inner, Layer, Snapshots, State};
use crate::writable::parse_directory_name;

/// What was found and put in order while opening.
#[derive(Debug, Default)]
pub struct Recovery {
    /// Layers that had to go and must be unpacked again.
    pub dropped: Vec<DroppedLayer>,
    /// Directories and records that belonged to nothing, now in the trash.
    pub ownerless: Vec<String>,
    /// Writable layers found.
    pub containers: Vec<SnapshotKey>,
    /// Unpacks that never came to their end, now in the trash.
    pub staging: usize,
}

/// A layer that had to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedLayer {
    /// Which one.
    pub chain: ChainId,
    /// Why.
    pub reason: DropReason,
}

/// Why a layer had to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// Another boot has begun and no sync had passed: parts of it may never have reached the disk.
    Unclean,
    /// Its directory is gone.
    Missing,
    /// A layer below it went.
    Orphaned,
}

impl Snapshots {
    /// Opens the snapshots below `dir`, which is made if it is missing and belongs to this alone.
    ///
    /// Layers not known to have reached the disk before the boot `boot_id` are dropped and
    /// reported. Leftovers move to the trash: run [`Snapshots::sweep`] once, later.
    ///
    /// # Errors
    /// A directory could not be made, opened or read.
    pub fn open(dir: &Path, boot_id: &str) -> Result<(Self, Recovery), OpenError> {
        let inner = open_directories(dir, boot_id)?;
        let mut recovery = Recovery::default();
        let failed = |source| OpenError::CleanUp {
            path: dir.to_owned(),
            source,
        };
        let state = recover(&inner, &mut recovery).map_err(failed)?;
        *inner.state() = state;
        let inner = Arc::new(inner);
        Ok((Self { inner }, recovery))
    }
}

/// Makes and opens the directories. Nobody but root may pass through the outermost: layers hold
/// set-id programs of unknown origin.
fn open_directories(dir: &Path, boot_id: &str) -> Result<Inner, OpenError> {
    let failed = |source| OpenError::Directory {
        path: dir.to_owned(),
        source,
    };
    std::fs::create_dir_all(dir).map_err(failed)?;
    let base = dir.canonicalize().map_err(failed)?;
    let root = RootDir::open(&base).map_err(failed)?;
    rustix::fs::fchmod(&root, Mode::RWXU).map_err(|errno| failed(errno.into()))?;
    let child = |name: &str| open_child(root.as_fd(), name).map_err(failed);
    let (layers, records, staging) = (child("l")?, child("i")?, child("staging")?);
    let writable = child("c")?;
    for directory in [&staging, &writable] {
        agent_sys::spread::subdirectories(directory.as_fd());
    }
    // The empty layer has the permissions of a root directory.
    let empty = open_child(layers.as_fd(), "0").map_err(failed)?;
    let open = Mode::from_raw_mode(0o755);
    rustix::fs::fchmod(&empty, open).map_err(|errno| failed(errno.into()))?;
    Ok(Inner {
        boot_id: boot_id.to_owned(),
        umask: umask().map_err(failed)?,
        writable,
        staging,
        points: child("m")?,
        trash: Trash::new(child("trash")?).map_err(failed)?,
        layers,
        records,
        base,
        next: AtomicU64::new(1),
        salt: salt(),
        state: Mutex::default(),
    })
}

fn open_child(parent: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    match rustix::fs::mkdirat(parent, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(parent, name, flags, Mode::empty())?)
}

/// Returns a word that no earlier run used: ext4 chooses the part of the disk by a directory's name.
fn salt() -> String {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    format!("{:x}", since_epoch.unwrap_or_default().as_nanos())
}

/// Returns this process's umask, read where reading does not change it.
fn umask() -> io::Result<u32> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let field = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    // Where it cannot be known, every mode is set by hand.
    Ok(field
        .and_then(|text| u32::from_str_radix(text.trim(), 8).ok())
        .unwrap_or(0o777))
}

fn recover(inner: &Inner, recovery: &mut Recovery) -> io::Result<State> {
    for name in text_names(inner.staging.as_fd())? {
        inner.trash.take(inner.staging.as_fd(), name.as_bytes())?;
        recovery.staging += 1;
    }
    let mut layers = load_records(inner, recovery)?;
    drop_layers(inner, &mut layers, recovery)?;
    sweep_layers(inner, &layers, recovery)?;
    let highest = layers
        .values()
        .map(|record| record.number)
        .max()
        .unwrap_or(0);
    inner
        .next
        .store(highest + 1, std::sync::atomic::Ordering::Relaxed);
    let points = points::recover(inner, &layers, recovery)?;
    let layer = |record: LayerRecord| Layer {
        root: None,
        points: if points.contains(&record.number) {
            Points::Made
        } else {
            Points::Unknown
        },
        record,
    };
    Ok(State {
        writable: find_writable(inner, recovery)?,
        layers: layers
            .into_iter()
            .map(|(chain, record)| (chain, layer(record)))
            .collect(),
    })
}

/// Reads all records. Of two layers with the same chain the first one stays.
fn load_records(
    inner: &Inner,
    recovery: &mut Recovery,
) -> io::Result<HashMap<ChainId, LayerRecord>> {
    let mut layers: HashMap<ChainId, LayerRecord> = HashMap::new();
    for name in text_names(inner.records())? {
        let Some(record) = LayerRecord::load(inner.records(), &name)? else {
            remove_record(inner.records(), &name)?;
            recovery.ownerless.push(format!("i/{name}"));
            continue;
        };
        let known = layers.get(&record.chain).map(|known| known.number);
        if known.is_some_and(|number| number < record.number) {
            record.remove(inner.records())?;
        } else if let Some(later) = layers.insert(record.chain.clone(), record) {
            later.remove(inner.records())?;
        }
    }
    Ok(layers)
}

/// Drops layers that may not be whole, and those above them.
fn drop_layers(
    inner: &Inner,
    layers: &mut HashMap<ChainId, LayerRecord>,
    recovery: &mut Recovery,
) -> io::Result<()> {
    let present: HashSet<String> = text_names(inner.layers.as_fd())?.into_iter().collect();
    loop {
        let reason_of = |record: &LayerRecord| {
            let orphaned = |parent: &ChainId| !layers.contains_key(parent);
            if !record.clean && record.boot_id != inner.boot_id {
                Some(DropReason::Unclean)
            } else if !present.contains(&record.number.to_string()) {
                Some(DropReason::Missing)
            } else if record.parent.as_ref().is_some_and(orphaned) {
                Some(DropReason::Orphaned)
            } else {
                None
            }
        };
        let reasons = layers.values().map(|r| (r.chain.clone(), reason_of(r)));
        let gone: Vec<_> = reasons.filter_map(|(chain, r)| Some((chain, r?))).collect();
        if gone.is_empty() {
            return Ok(());
        }
        for (chain, reason) in gone {
            if let Some(record) = layers.remove(&chain) {
                record.remove(inner.records())?;
            }
            recovery.dropped.push(DroppedLayer { chain, reason });
        }
    }
}

/// Moves to the trash what no record speaks of.
fn sweep_layers(
    inner: &Inner,
    layers: &HashMap<ChainId, LayerRecord>,
    recovery: &mut Recovery,
) -> io::Result<()> {
    let known = layers.values().map(|record| record.number.to_string());
    let known: HashSet<String> = known.chain(["0".to_owned()]).collect();
    for name in text_names(inner.layers.as_fd())? {
        if !known.contains(&name) {
            inner.trash.take(inner.layers.as_fd(), name.as_bytes())?;
            recovery.ownerless.push(format!("l/{name}"));
        }
    }
    Ok(())
}

fn find_writable(
    inner: &Inner,
    recovery: &mut Recovery,
) -> io::Result<HashMap<SnapshotKey, Option<ChainId>>> {
    let mut found = HashMap::new();
    for name in text_names(inner.writable.as_fd())? {
        let parsed = parse_directory_name(&name);
        match parsed.filter(|(key, _)| !found.contains_key(key)) {
            Some((key, top)) => {
                recovery.containers.push(key.clone());
                found.insert(key, top);
            }
            None => {
                inner.trash.take(inner.writable.as_fd(), name.as_bytes())?;
                recovery.ownerless.push(format!("c/{name}"));
            }
        }
    }
    Ok(found)
}

/// Returns what a directory of ours holds; we make no name that is not text.
pub(crate) fn text_names(dir: BorrowedFd<'_>) -> io::Result<Vec<String>> {
    let names = names(dir)?.into_iter();
    Ok(names.filter_map(|name| name.into_string().ok()).collect())
}
