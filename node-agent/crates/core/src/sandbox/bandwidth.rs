//! Limits of a pod's traffic: Kubernetes has no field for them, only two annotations.

use std::collections::BTreeMap;

use agent_cni::Bandwidth;
use agent_types::{Classify, ErrorKind};

/// Limit towards the pod, in bits a second.
const INGRESS: &str = "kubernetes.io/ingress-bandwidth";

/// Limit from the pod, in bits a second.
const EGRESS: &str = "kubernetes.io/egress-bandwidth";

/// Bits that may pass at once: Kubernetes names no bound, and plugins take no more than this.
const BURST: u64 = i32::MAX as u64;

/// What Kubernetes admits, in bits a second.
const SENSIBLE: std::ops::RangeInclusive<u64> = 1_000..=1_000_000_000_000_000;

/// An annotation is not a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("annotation {key} is {value:?}, which is not a rate between 1k and 1P bits a second")]
pub struct BandwidthError {
    /// The annotation.
    key: &'static str,
    /// Its value.
    value: String,
}

impl Classify for BandwidthError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// Returns the limits that annotations ask for; `None` without any.
pub(crate) fn of(
    annotations: &BTreeMap<String, String>,
) -> Result<Option<Bandwidth>, BandwidthError> {
    let rate = |key: &'static str| -> Result<u64, BandwidthError> {
        let Some(value) = annotations.get(key) else {
            return Ok(0);
        };
        let rate = quantity(value).filter(|rate| SENSIBLE.contains(rate));
        rate.ok_or_else(|| BandwidthError {
            key,
            value: value.chars().take(64).collect(),
        })
    };
    let (ingress, egress) = (rate(INGRESS)?, rate(EGRESS)?);
    if ingress == 0 && egress == 0 {
        return Ok(None);
    }
    let burst = |rate| if rate == 0 { 0 } else { BURST };
    Ok(Some(Bandwidth {
        ingress_rate: ingress,
        ingress_burst: burst(ingress),
        egress_rate: egress,
        egress_burst: burst(egress),
    }))
}

/// Reads a quantity as Kubernetes writes it: a decimal number and a suffix. Parts of a bit are
/// rounded up.
fn quantity(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.');
    let (number, suffix) = text.split_at(end.unwrap_or(text.len()));
    let factor: u128 = match suffix {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "P" => 1_000_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "Pi" => 1 << 50,
        _ => 10_u128.checked_pow(suffix.strip_prefix(['e', 'E'])?.parse().ok()?)?,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && part.is_empty() || part.len() > 18 || whole.len() > 18 {
        return None;
    }
    let digits: u128 = format!("{whole}{part}").parse().ok()?;
    let scale = 10_u128.checked_pow(u32::try_from(part.len()).ok()?)?;
    u64::try_from(digits.checked_mul(factor)?.div_ceil(scale)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn annotations(ingress: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(INGRESS.to_owned(), ingress.to_owned())])
    }

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        for (text, expected) in [
            ("1000", Some(1_000)),
            ("10M", Some(10_000_000)),
            ("1.5G", Some(1_500_000_000)),
            ("1Ki", Some(1_024)),
            (".5k", Some(500)),
            ("1e6", Some(1_000_000)),
            ("1.0001", Some(2)),
            ("", None),
            (".", None),
            ("-1M", None),
            ("10m", None),
            ("1 M", None),
            ("1e99", None),
            ("1.2.3", None),
            ("999999999999999999P", None),
        ] {
            assert_eq!(quantity(text), expected, "{text:?}");
        }
    }

    #[test]
    fn no_annotation_is_no_limit_and_a_wrong_one_is_refused() {
        assert_eq!(of(&BTreeMap::new()), Ok(None));
        let limits = of(&annotations("10M")).unwrap().unwrap();
        assert_eq!(
            (limits.ingress_rate, limits.ingress_burst),
            (10_000_000, BURST)
        );
        assert_eq!((limits.egress_rate, limits.egress_burst), (0, 0));
        for bad in ["fast", "1", "2P"] {
            assert!(of(&annotations(bad)).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[0-9.eEkMGTPi]{0,30}") {
            let _ = of(&annotations(&text));
        }
    }
}
