//! The host's settings that an agent changes, and puts back when it leaves in order.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result};
use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;

use crate::leak::all_links;

/// What agents lock while they change settings or put them back.
const TURN: &str = "/proc/sys/net/ipv4/route/flush";
/// How the note on an agent's bridge begins.
const MARK: &str = "node-agent ";

/// A setting, and what it was.
pub(crate) type Setting = (String, String);

/// Keeps agents from changing settings meanwhile.
pub(crate) fn turn() -> Result<Flock<File>> {
    let file = File::options().write(true).open(TURN);
    let file = file.with_context(|| format!("open {TURN}"))?;
    let locked = Flock::lock(file, FlockArg::LockExclusive);
    locked.map_err(|(_, error)| error).context("lock settings")
}

/// Returns what the agent of this bridge has noted on it: settings that it changed.
pub(crate) fn noted(bridge: &str) -> Result<Vec<Setting>> {
    let links = all_links()?;
    let ours = links.iter().find(|link| link["ifname"] == bridge);
    Ok(ours.map(settings).unwrap_or_default())
}

/// Puts settings back, unless another agent's bridge is there: it knows them too.
pub(crate) fn put_back(settings: &[Setting]) -> Result<()> {
    if all_links()?.iter().any(|link| note(link).is_some()) {
        return Ok(());
    }
    for (key, before) in settings {
        let path = Path::new("/proc/sys").join(key);
        // Settings of an interface go with it.
        if path.exists() {
            std::fs::write(&path, before).with_context(|| format!("write {}", path.display()))?;
        }
    }
    Ok(())
}

fn note(link: &Value) -> Option<&str> {
    link["ifalias"].as_str()?.strip_prefix(MARK)
}

fn settings(link: &Value) -> Vec<Setting> {
    let words = note(link).unwrap_or_default().split(' ');
    let pairs = words.filter_map(|word| word.split_once('='));
    pairs
        .filter(|(key, _)| key.starts_with("net/"))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}
