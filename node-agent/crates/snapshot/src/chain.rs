//! Chain ids: names for stacks of layers.

use std::fmt;
use std::str::FromStr;

use agent_types::{Digest, DigestError};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Names a layer together with every layer below it, as the OCI image specification defines it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainId(Digest);

impl ChainId {
    /// Returns the chain id of the layer `diff_id` on top of `parent`.
    #[must_use]
    pub fn new(parent: Option<&Self>, diff_id: &Digest) -> Self {
        let Some(parent) = parent else {
            return Self(diff_id.clone());
        };
        let text = format!("{parent} {diff_id}");
        Self(Digest::sha256(&Sha256::digest(text.as_bytes()).into()))
    }

    /// Returns the chain id of each layer of a stack, bottom first.
    #[must_use]
    pub fn stack(diff_ids: &[Digest]) -> Vec<Self> {
        let mut chains: Vec<Self> = Vec::with_capacity(diff_ids.len());
        for diff_id in diff_ids {
            chains.push(Self::new(chains.last(), diff_id));
        }
        chains
    }

    /// Returns the digest.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.0
    }
}

impl From<Digest> for ChainId {
    fn from(digest: Digest) -> Self {
        Self(digest)
    }
}

impl FromStr for ChainId {
    type Err = DigestError;
    fn from_str(value: &str) -> Result<Self, DigestError> {
        value.parse().map(Self)
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_of_two_as_the_specification_computes_it() {
        let a = Digest::sha256(&[0xaa; 32]);
        let b = Digest::sha256(&[0xbb; 32]);
        let stack = ChainId::stack(&[a.clone(), b.clone()]);
        assert_eq!(stack[0].digest(), &a);
        // printf '%s' "sha256:aa… sha256:bb…" | sha256sum
        assert_eq!(
            stack[1].to_string(),
            "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c"
        );
        assert_eq!(stack[1], ChainId::new(Some(&ChainId::from(a)), &b));
        assert!(ChainId::stack(&[]).is_empty());
    }
}
