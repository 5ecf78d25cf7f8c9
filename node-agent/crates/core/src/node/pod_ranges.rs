//! The addresses of the cluster that are this node's to give to pods.

use agent_store::{Durability, LoadError, Record};
use agent_types::{Classify, ErrorKind};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Node;
use crate::sandbox::network::plugins_join;
use crate::services::Services;

/// The ranges, as the kubelet last told them: it does not say them again after our restart.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct PodRangesRecord {
    ranges: Vec<IpNet>,
}

impl Record for PodRangesRecord {
    const TABLE: &'static str = "pod_ranges";
    const VERSION: u32 = 1;
}

/// The only key of its table.
const KEY: &str = "node";

/// Why the node's ranges could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum PodRangesError {
    /// The built-in network cannot have them.
    #[error(transparent)]
    Network(#[from] agent_network::RangesError),
    /// More than one range of a family.
    #[error("{range} is the second range of its family")]
    Second {
        /// The range.
        range: IpNet,
    },
    /// They were not written.
    #[error("ranges of this node's pods were not saved")]
    Save(#[from] agent_store::SaveError),
}

impl Classify for PodRangesError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Network(source) => source.kind(),
            Self::Second { .. } => ErrorKind::InvalidArgument,
            Self::Save(source) => source.kind(),
        }
    }
}

impl Node {
    /// Takes the ranges that pods which are made from now on get addresses from, by plugins or on
    /// the built-in network; at most one of each family.
    ///
    /// # Errors
    /// When the built-in network cannot have them, or they cannot be kept; nothing is changed then.
    pub async fn set_pod_ranges(&self, ranges: Vec<IpNet>) -> Result<(), PodRangesError> {
        let services = &self.services;
        for (index, range) in ranges.iter().enumerate() {
            let v4 = |range: &IpNet| matches!(range, IpNet::V4(_));
            let mut before = ranges.iter().take(index);
            if before.any(|earlier| v4(earlier) == v4(range)) {
                return Err(PodRangesError::Second { range: *range });
            }
        }
        let before = services.pod_ranges().clone();
        self.save_pod_ranges(&ranges).await?;
        if !plugins_join(services)
            && let Err(error) = services.network.set_ranges(&ranges).await
        {
            self.save_pod_ranges(&before).await?;
            return Err(error.into());
        }
        *services.pod_ranges() = ranges;
        // It has an address of the former ones.
        services.ahead.discard(&services.network).await;
        Ok(())
    }

    async fn save_pod_ranges(&self, ranges: &[IpNet]) -> Result<(), PodRangesError> {
        let record = PodRangesRecord {
            ranges: ranges.to_vec(),
        };
        let store = &self.services.store;
        Ok(store.save(Durability::Unsynced, KEY, &record).await?)
    }
}

/// Takes up what the run before was told; blocking.
pub(crate) fn load(services: &Services) -> Result<(), LoadError> {
    let loaded = services.store.load_all::<PodRangesRecord>()?;
    if let Some((_, record)) = loaded.records.into_iter().next() {
        if !plugins_join(services)
            && let Err(error) = services.network.restore_ranges(&record.ranges)
        {
            tracing::error!(error = %agent_telemetry::chain(&error), "ranges of this node's pods were not taken up");
        }
        *services.pod_ranges() = record.ranges;
    }
    Ok(())
}
