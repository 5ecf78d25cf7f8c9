//! Names and addresses that only one agent of this machine uses at a time.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{Flock, FlockArg};

/// Agents that may run side by side.
const SLOTS: u8 = 100;
/// Where the locks lie. Test processes of any checkout share them.
const LOCKS: &str = "/tmp/node-agent-test-slots";

/// A set of names, held until it is dropped.
#[derive(Debug)]
pub struct Slot {
    number: u8,
    _lock: Flock<File>,
}

/// The names of one slot, for looking for what carries them.
#[derive(Clone, Debug)]
pub struct Names {
    /// The bridge's name.
    pub bridge: String,
    /// The nftables table's name.
    pub table: String,
    /// The cgroup all of the agent's cgroups are below.
    pub cgroup: String,
    /// The first bytes of every IPv4 address.
    pub prefix: String,
}

impl Slot {
    /// Takes a free slot.
    pub fn take() -> Result<Self> {
        std::fs::create_dir_all(LOCKS).context("make the directory of slots")?;
        for number in 0..SLOTS {
            let file = File::create(Path::new(LOCKS).join(number.to_string()))
                .context("open a slot's lock")?;
            if let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                return Ok(Self {
                    number,
                    _lock: lock,
                });
            }
        }
        bail!("all {SLOTS} slots are taken")
    }

    /// Returns the slot's names.
    #[must_use]
    pub fn names(&self) -> Names {
        let number = self.number;
        Names {
            bridge: format!("natest{number}"),
            table: format!("node_agent_test{number}"),
            cgroup: format!("node-agent-test{number}"),
            prefix: format!("10.{}.", 64 + number),
        }
    }

    /// Returns the configuration of an agent with these names, lines by section.
    #[must_use]
    pub fn configuration(&self) -> BTreeMap<&'static str, Vec<String>> {
        let names = self.names();
        let network = vec![
            format!("bridge = \"{}\"", names.bridge),
            format!("table = \"{}\"", names.table),
            format!(
                "subnets = [\"{}0.0/16\", \"fd6e:6f64:{:x}::/64\"]",
                names.prefix, self.number
            ),
        ];
        BTreeMap::from([
            ("cgroup", vec![format!("parent = \"/{}\"", names.cgroup)]),
            ("log", vec!["level = \"debug,h2=warn,hyper=warn,hyper_util=warn,reqwest=warn,tower=warn,tonic=warn\"".to_owned()]),
            ("network", network),
        ])
    }
}
