//! Why a range of the cluster was refused.

use agent_types::{Classify, ErrorKind};
use ipnet::IpNet;

use super::PrepareError;
use crate::config::ConfigProblem;

/// Why pods cannot get addresses of a range.
#[derive(Debug, thiserror::Error)]
pub enum RangesError {
    /// No sandbox can have addresses of it.
    #[error(transparent)]
    Range {
        /// What is wrong with it.
        source: ConfigProblem,
    },
    /// There is another one of the family.
    #[error("{range} is the second range of its family")]
    Second {
        /// The range.
        range: IpNet,
    },
    /// It is a part of one of ours, or has one in it.
    #[error("range {range} overlaps with {own}, which sandboxes of this node have")]
    Ours {
        /// The range.
        range: IpNet,
        /// Ours.
        own: IpNet,
    },
    /// It is in use on the host, or the bridge could not be given it.
    #[error("network could not be given the range")]
    Prepare {
        /// Why.
        source: PrepareError,
    },
}

impl Classify for RangesError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Range { .. } | Self::Second { .. } | Self::Ours { .. } => {
                ErrorKind::InvalidArgument
            }
            Self::Prepare { source } => source.kind(),
        }
    }
}
