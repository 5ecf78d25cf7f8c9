//! Limits as properties of units.

use zbus::zvariant::Value;

use super::device;
use crate::limits::weight_of_shares;
use crate::{DeviceRules, Limits, Version};

/// A name and a value, as systemd's methods take them.
pub(crate) type Property = (&'static str, Value<'static>);

/// systemd's word for no limit.
const INFINITY: u64 = u64::MAX;
/// Microseconds in a second.
const SECOND: u64 = 1_000_000;
/// systemd keeps quotas as whole hundredths of a processor, and would round down.
const QUOTA_STEP: u64 = 10_000;
/// The kernel's period where none is given, in microseconds.
const PERIOD: u64 = 100_000;

fn bound(limit: i64) -> u64 {
    u64::try_from(limit).unwrap_or(INFINITY)
}

/// Returns the properties that say what `limits` says; `before` has what is in force, for those that
/// depend on another.
pub(crate) fn of_limits(version: Version, limits: &Limits, before: &Limits) -> Vec<Property> {
    let mut all = Vec::new();
    let mut number = |name, value: Option<u64>| {
        all.extend(value.map(|value| (name, Value::U64(value))));
    };
    number("TasksMax", limits.pids.map(bound));
    if limits.cpu_quota.is_some() || limits.cpu_period.is_some() {
        let period = limits.cpu_period.or(before.cpu_period).unwrap_or(PERIOD);
        let quota = limits.cpu_quota.or(before.cpu_quota).unwrap_or(-1);
        number("CPUQuotaPeriodUSec", Some(period));
        number("CPUQuotaPerSecUSec", Some(per_second(quota, period)));
    }
    match version {
        Version::V1 => {
            number("CPUShares", limits.cpu_shares);
            number("MemoryLimit", limits.memory.map(bound));
        }
        Version::V2 => {
            number("CPUWeight", limits.cpu_shares.map(weight_of_shares));
            number("MemoryMax", limits.memory.map(bound));
            let memory = limits.memory.or(before.memory).unwrap_or(-1);
            let swap = limits.memory_swap.map(|both| match (both, memory) {
                (0.., 0..) => bound((both - memory).max(0)),
                _ => INFINITY,
            });
            number("MemorySwapMax", swap);
            for (file, value) in &limits.unified {
                number(named(file).unwrap_or_default(), plain(file, value));
            }
            let mut list = |name, list: &Option<String>| {
                let mask = list.as_deref().and_then(mask);
                all.extend(mask.map(|mask| (name, Value::from(mask))));
            };
            list("AllowedCPUs", &limits.cpuset_cpus);
            list("AllowedMemoryNodes", &limits.cpuset_mems);
        }
    }
    all
}

/// Returns the microseconds of processor time in a second, in systemd's steps and rounded up.
fn per_second(quota: i64, period: u64) -> u64 {
    match u64::try_from(quota) {
        Ok(quota) if quota > 0 => {
            let exact = quota.saturating_mul(SECOND) / period.max(1);
            exact.div_ceil(QUOTA_STEP).saturating_mul(QUOTA_STEP)
        }
        _ => INFINITY,
    }
}

/// Returns the property that writes a file of v2 and would write it over.
fn named(file: &str) -> Option<&'static str> {
    Some(match file {
        "cpu.weight" => "CPUWeight",
        "memory.high" => "MemoryHigh",
        "memory.low" => "MemoryLow",
        "memory.min" => "MemoryMin",
        "memory.max" => "MemoryMax",
        "memory.swap.max" => "MemorySwapMax",
        "pids.max" => "TasksMax",
        _ => return None,
    })
}

/// Returns the value of a file that has a property of one number.
fn plain(file: &str, value: &str) -> Option<u64> {
    named(file)?;
    match value.trim() {
        "max" => Some(INFINITY),
        number => number.parse().ok(),
    }
}

/// Turns a list such as `0-3,9` into bits, the lowest number first.
fn mask(list: &str) -> Option<Vec<u8>> {
    let ranges = crate::limits::ranges(list)?;
    let highest = ranges.iter().map(|(_, last)| *last).max()?;
    let mut bytes = vec![0_u8; usize::try_from(highest / 8 + 1).ok()?];
    for number in ranges.into_iter().flat_map(|(first, last)| first..=last) {
        let byte = bytes.get_mut(usize::try_from(number / 8).ok()?)?;
        *byte |= 1 << (number % 8);
    }
    Some(bytes)
}

/// Returns what every scope of ours has besides limits.
pub(super) fn of_scope(slice: &str, description: String, pid: u32) -> Vec<Property> {
    let mut all = accounting();
    all.extend([
        ("Description", Value::from(description)),
        ("Slice", Value::from(slice.to_owned())),
        ("Delegate", Value::Bool(true)),
        ("DefaultDependencies", Value::Bool(false)),
        ("PIDs", Value::from(vec![pid])),
        // A failed unit would be kept, and its name with it.
        ("CollectMode", Value::from("inactive-or-failed")),
    ]);
    all
}

/// Returns what every slice of ours has.
pub(super) fn of_pod(description: String) -> Vec<Property> {
    let mut all = accounting();
    all.extend([
        ("Description", Value::from(description)),
        ("DefaultDependencies", Value::Bool(false)),
        ("CollectMode", Value::from("inactive-or-failed")),
    ]);
    all
}

fn accounting() -> Vec<Property> {
    ["CPUAccounting", "MemoryAccounting", "TasksAccounting"]
        .map(|name| (name, Value::Bool(true)))
        .to_vec()
}

/// Returns the device rules as properties.
pub(super) fn of_devices(rules: &DeviceRules) -> Vec<Property> {
    vec![
        ("DevicePolicy", Value::from("strict")),
        ("DeviceAllow", Value::from(device::allowed(rules))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(all: &[Property], name: &str) -> Option<u64> {
        let found = all.iter().find(|(known, _)| *known == name)?;
        match found.1 {
            Value::U64(number) => Some(number),
            _ => None,
        }
    }

    #[test]
    fn every_limit_has_its_property() {
        let limits = Limits {
            cpu_shares: Some(1024),
            cpu_quota: Some(12_345),
            cpu_period: Some(50_000),
            memory: Some(100),
            memory_swap: Some(150),
            pids: Some(-1),
            unified: [
                ("memory.high".to_owned(), "90".to_owned()),
                ("io.max".to_owned(), "8:0 rbps=1".to_owned()),
            ]
            .into(),
            ..Limits::default()
        };
        let v2 = of_limits(Version::V2, &limits, &Limits::default());
        assert_eq!(value(&v2, "CPUWeight"), Some(39));
        // 24.69 hundredths, rounded up.
        assert_eq!(value(&v2, "CPUQuotaPerSecUSec"), Some(250_000));
        assert_eq!(value(&v2, "CPUQuotaPeriodUSec"), Some(50_000));
        assert_eq!(value(&v2, "MemoryMax"), Some(100));
        assert_eq!(value(&v2, "MemorySwapMax"), Some(50));
        assert_eq!(value(&v2, "MemoryHigh"), Some(90));
        assert_eq!(value(&v2, "TasksMax"), Some(INFINITY));
        let v1 = of_limits(Version::V1, &limits, &Limits::default());
        assert_eq!(value(&v1, "CPUShares"), Some(1024));
        assert_eq!(value(&v1, "MemoryLimit"), Some(100));
        assert_eq!(value(&v1, "MemorySwapMax"), None);
        assert!(of_limits(Version::V2, &Limits::default(), &limits).is_empty());
    }

    #[test]
    fn masks_begin_with_the_lowest_number() {
        assert_eq!(mask("0-4,9"), Some(vec![0b0001_1111, 0b0000_0010]));
        assert_eq!(mask("17"), Some(vec![0, 0, 0b0000_0010]));
        assert_eq!(mask("x"), None);
    }

    #[test]
    fn a_quota_alone_keeps_the_period() {
        let before = Limits {
            cpu_period: Some(10_000),
            ..Limits::default()
        };
        let quota = Limits {
            cpu_quota: Some(5_000),
            ..Limits::default()
        };
        let all = of_limits(Version::V2, &quota, &before);
        assert_eq!(value(&all, "CPUQuotaPerSecUSec"), Some(500_000));
        let lifted = Limits {
            cpu_quota: Some(-1),
            ..Limits::default()
        };
        let all = of_limits(Version::V2, &lifted, &before);
        assert_eq!(value(&all, "CPUQuotaPerSecUSec"), Some(INFINITY));
    }
}
