//! Mount points that an image lacks, made once for all its containers.
//!
//! Every container has something mounted on /proc, /sys and /dev, and on three files in /etc. Where an image has no such names,
//! each start would make them in the container's own directory: a copy of /etc and an inode each, deleted again with the container.
//! Here they lie in `m/<number of the topmost layer>`, which goes on top of the image's layers and holds nothing else.
//!
//! What was made in another boot is dropped by [`open`](Snapshots::open) and made again, as no sync is known to have passed.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use agent_sys::rootdir::RootDir;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::chain::ChainId;
use crate::complete::{copy_attributes, file_type};
use crate::merged::{Found, Stack};
use crate::open::{Recovery, text_names};
use crate::record::LayerRecord;
use crate::snapshots::{EMPTY_LAYER, Inner, Snapshots};
use crate::unpack::Staged;

/// Directories that every container has something mounted on.
const DIRECTORIES: [&str; 3] = ["proc", "sys", "dev"];

/// Where [`FILES`] lie.
const ETC: &str = "etc";

/// Files in /etc that every container has something mounted on.
const FILES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

/// The kernel joins 500 layers; whoever comes near does without.
const MAX_LOWER: usize = 480;

/// Whether a stack of layers has a directory of mount points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Points {
    /// Nobody has looked yet.
    Unknown,
    /// The layers have all of them.
    Needless,
    /// `m/<number>`.
    Made,
}

/// Returns the directory's name, relative to the snapshots'.
pub(crate) fn lower(number: u64) -> String {
    format!("m/{number}")
}

impl Snapshots {
    /// Puts the mount points that the stack lacks on top of it, made now if nobody did. They only save work: a stack that they
    /// cannot be made for does without.
    pub(crate) fn with_points(&self, top: Option<&ChainId>, layers: Vec<String>) -> Vec<String> {
        let known = top.and_then(|top| {
            let state = self.inner.state();
            let layer = state.layers.get(top)?;
            Some((top, layer.record.number, layer.points))
        });
        let Some((top, number, points)) = known.filter(|_| layers.len() < MAX_LOWER) else {
            return layers;
        };
        let points = match points {
            Points::Unknown => self.make_points(top, number, &layers),
            known => Ok(known),
        };
        match points {
            Ok(Points::Made) => {
                let mut all = vec![lower(number)];
                all.extend(layers);
                all
            }
            Ok(Points::Needless | Points::Unknown) => layers,
            Err(error) => {
                tracing::warn!(chain = %top, error = %error, "mount points of an image were not made");
                layers
            }
        }
    }

    fn make_points(&self, top: &ChainId, number: u64, layers: &[String]) -> io::Result<Points> {
        let base = self.base();
        let roots: io::Result<Vec<_>> = layers
            .iter()
            .map(|name| RootDir::open(&base.join(name)))
            .collect();
        let roots = roots?;
        let empty = RootDir::open(&base.join(EMPTY_LAYER))?;
        let lacking = Lacking::find(&mut Stack::new(&empty, &roots)?)?;
        let points = match roots.first() {
            Some(topmost) if !lacking.is_nothing() => {
                self.place_points(&lacking, topmost.as_fd(), number)?;
                Points::Made
            }
            _ => Points::Needless,
        };
        let mut state = self.inner.state();
        match state.layers.get_mut(top) {
            Some(layer) if layer.record.number == number => {
                layer.points = points;
                Ok(points)
            }
            _ => {
                drop(state);
                // The image has gone meanwhile.
                discard(&self.inner, number)?;
                Ok(Points::Needless)
            }
        }
    }

    /// Makes the directory where nobody sees it, then moves it to its place, whole.
    fn place_points(&self, lacking: &Lacking, root: BorrowedFd<'_>, number: u64) -> io::Result<()> {
        let mut staged = Staged::new(&self.inner).map_err(io::Error::other)?;
        let to = staged.root()?;
        lacking.make(to.as_fd())?;
        // A read-only root shows what the topmost directory has.
        copy_attributes(root, to.as_fd(), &rustix::fs::fstat(root)?)?;
        match staged.place_in(self.inner.points.as_fd(), &number.to_string()) {
            // Somebody else was faster, with the same.
            Err(error)
                if matches!(
                    Errno::from_io_error(&error),
                    Some(Errno::EXIST | Errno::NOTEMPTY)
                ) =>
            {
                Ok(())
            }
            other => other,
        }
    }
}

/// What a stack of layers lacks.
#[derive(Debug)]
struct Lacking {
    directories: Vec<&'static str>,
    /// Of [`FILES`]; none where /etc is there and no directory.
    files: Vec<&'static str>,
    /// /etc, as the stack shows it.
    etc: Option<Found>,
}

impl Lacking {
    fn find(stack: &mut Stack) -> io::Result<Self> {
        let mut directories = Vec::new();
        for name in DIRECTORIES {
            if stack.find_below(name.as_bytes())?.is_none() {
                directories.push(name);
            }
        }
        let etc = stack.find_below(ETC.as_bytes())?;
        let mut files = Vec::new();
        let is_directory = |found: &Found| file_type(&found.stat) == FileType::Directory;
        if etc.as_ref().is_none_or(is_directory) {
            for name in FILES {
                if stack
                    .find_below(format!("{ETC}/{name}").as_bytes())?
                    .is_none()
                {
                    files.push(name);
                }
            }
        }
        Ok(Self {
            directories,
            files,
            etc,
        })
    }

    fn is_nothing(&self) -> bool {
        self.directories.is_empty() && self.files.is_empty()
    }

    /// Makes what is lacking in `root`, as a container's start would.
    fn make(&self, root: BorrowedFd<'_>) -> io::Result<()> {
        for name in &self.directories {
            make_directory(root, name)?;
        }
        if self.files.is_empty() {
            return Ok(());
        }
        let etc = make_directory(root, ETC)?;
        for name in &self.files {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mode = Mode::from_raw_mode(0o644);
            let file = rustix::fs::openat(&etc, *name, flags, mode)?;
            rustix::fs::fchmod(&file, mode)?;
        }
        // Last, for its times: this is the /etc that shows.
        match &self.etc {
            Some(found) => {
                copy_attributes(found.open(DIRECTORY)?.as_fd(), etc.as_fd(), &found.stat)
            }
            None => Ok(()),
        }
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);

fn make_directory(parent: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    let mode = Mode::from_raw_mode(0o755);
    rustix::fs::mkdirat(parent, name, mode)?;
    let flags = DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    // Whatever the umask.
    rustix::fs::fchmod(&made, mode)?;
    Ok(made)
}

/// Moves the mount points of a layer to the trash; none are no error.
pub(crate) fn discard(inner: &Inner, number: u64) -> io::Result<()> {
    match inner
        .trash
        .take(inner.points.as_fd(), number.to_string().as_bytes())
    {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Keeps the mount points of this boot whose layers are there, returns these layers' numbers, and moves everything else to the trash.
pub(crate) fn recover(
    inner: &Inner,
    layers: &HashMap<ChainId, LayerRecord>,
    recovery: &mut Recovery,
) -> io::Result<HashSet<u64>> {
    // A directory that says whose all others are: whole once it is there, and never there in a boot that did not make it.
    let boot = format!("boot-{}", inner.boot_id);
    let names = text_names(inner.points.as_fd())?;
    let same_boot = names.contains(&boot);
    let numbers: HashMap<String, u64> = layers
        .values()
        .map(|record| (record.number.to_string(), record.number))
        .collect();
    let mut kept = HashSet::new();
    for name in names {
        match numbers.get(&name) {
            _ if same_boot && name == boot => {}
            Some(number) if same_boot => {
                kept.insert(*number);
            }
            _ => {
                inner.trash.take(inner.points.as_fd(), name.as_bytes())?;
                if same_boot {
                    recovery.ownerless.push(format!("m/{name}"));
                }
            }
        }
    }
    if !same_boot {
        rustix::fs::mkdirat(&inner.points, &*boot, Mode::RWXU)?;
    }
    Ok(kept)
}
