//! Order statistics.

use std::time::Duration;

/// Returns the value below which `percent` of the samples lie; 0 without samples.
pub(crate) fn percentile(samples: &[f64], percent: usize) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or(0.0)
}

/// Returns a duration in milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples() {
        let samples: Vec<f64> = (1..=20).rev().map(f64::from).collect();
        assert_eq!(
            [percentile(&samples, 50), percentile(&samples, 95)].map(|value| value.to_string()),
            ["10", "19"]
        );
        assert_eq!(percentile(&[], 50).to_string(), "0");
        assert_eq!(percentile(&[3.0], 95).to_string(), "3");
    }
}
