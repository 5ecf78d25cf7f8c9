//! Shares of v1 and weights of v2: the same wish on two scales.

/// Smallest and largest shares the kernel keeps; it clamps others.
const SHARES: (u64, u64) = (2, 262_144);

/// Returns the kernel's clamp of `shares`.
pub(super) fn clamp_shares(shares: u64) -> u64 {
    shares.clamp(SHARES.0, SHARES.1)
}

/// Converts shares (2 to 262144) to a weight (1 to 10000), linearly, as Kubernetes defines it.
pub(crate) fn weight_of_shares(shares: u64) -> u64 {
    1 + (clamp_shares(shares) - SHARES.0) * 9_999 / (SHARES.1 - SHARES.0)
}

/// Converts a weight back to the smallest shares that give it.
pub(super) fn shares_of_weight(weight: u64) -> u64 {
    let span = SHARES.1 - SHARES.0;
    SHARES.0 + ((weight.clamp(1, 10_000) - 1) * span).div_ceil(9_999)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_ends_and_the_usual_value_convert() {
        assert_eq!(weight_of_shares(0), 1);
        assert_eq!(weight_of_shares(2), 1);
        assert_eq!(weight_of_shares(1024), 39);
        assert_eq!(weight_of_shares(262_144), 10_000);
        assert_eq!(weight_of_shares(u64::MAX), 10_000);
    }

    proptest! {
        #[test]
        fn weights_survive_the_way_back(weight in 1_u64..=10_000) {
            prop_assert_eq!(weight_of_shares(shares_of_weight(weight)), weight);
        }

        #[test]
        fn more_shares_never_weigh_less(a in 0_u64..300_000, b in 0_u64..300_000) {
            prop_assert!((a <= b) <= (weight_of_shares(a) <= weight_of_shares(b)));
        }
    }
}
