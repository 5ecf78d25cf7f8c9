use clap::Args;
use proto::agent::{ContainerSpec, Mount};

use crate::parse::mount::{mount, tmpfs, volume};
use crate::parse::quantity::bytes;

/// What is mounted in the container.
#[derive(Debug, Args)]
#[command(next_help_heading = "Storage")]
pub(in crate::commands) struct Storage {
    /// Mount a path of the host: HOST_PATH:CONTAINER_PATH[:ro]
    #[arg(short, long, value_name = "PATHS", value_parser = volume)]
    volume: Vec<Mount>,

    /// type=bind,source=PATH,target=PATH[,readonly] or type=tmpfs,target=PATH[,tmpfs-size=SIZE]
    #[arg(long, value_name = "MOUNT", value_parser = mount)]
    mount: Vec<Mount>,

    /// Mount what another container has mounted: NAME[:ro]
    #[arg(long, value_name = "CONTAINER")]
    volumes_from: Vec<String>,

    /// Mount an empty file system in memory: PATH[:size=SIZE,mode=MODE]
    #[arg(long, value_name = "PATH", value_parser = tmpfs)]
    tmpfs: Vec<Mount>,

    /// Make its own file system read-only
    #[arg(long)]
    read_only: bool,

    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    shm_size: Option<u64>,
}

impl Storage {
    pub(super) fn fill(&self, spec: &mut ContainerSpec) {
        spec.mounts = [&self.volume, &self.mount, &self.tmpfs]
            .into_iter()
            .flatten()
            .cloned()
            .collect();
        spec.volumes_from.clone_from(&self.volumes_from);
        spec.read_only = self.read_only;
        spec.shm_size = self.shm_size.unwrap_or(0);
    }
}
