//! Device nodes and device rules of a specification.

use std::path::PathBuf;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};

use crate::error::{PlanError, shown};
use crate::path::clean;
use crate::{ContainerPlan, DevicePlan};

/// Largest device numbers the kernel has: 12 bits and 20 bits.
const LARGEST: (i64, i64) = (0xfff, 0xf_ffff);

/// What every container may open or make: the lines of an allow list over "nothing".
const DEFAULT_RULES: [&str; 11] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];
const EVERYTHING: &str = "a *:* rwm";

/// Returns the nodes beside those every runtime makes.
pub(crate) fn nodes(devices: &[DevicePlan]) -> Result<Vec<LinuxDevice>, PlanError> {
    devices.iter().map(node).collect()
}

fn node(device: &DevicePlan) -> Result<LinuxDevice, PlanError> {
    let refused = |problem| PlanError::Device {
        device: shown(&device.path),
        problem,
    };
    let path = clean("device path", &device.path)?;
    if path == "/" {
        return Err(refused("is the root"));
    }
    let kind = match device.kind {
        'c' => LinuxDeviceType::C,
        'b' => LinuxDeviceType::B,
        'p' => LinuxDeviceType::P,
        _ => return Err(refused("is neither 'c', 'b' nor 'p'")),
    };
    let in_range =
        (0..=LARGEST.0).contains(&device.major) && (0..=LARGEST.1).contains(&device.minor);
    if !in_range {
        return Err(refused("has a number outside the kernel's range"));
    }
    if device.mode > 0o7777 {
        return Err(refused("has a mode with more than permission bits"));
    }
    let mut node = LinuxDevice::default();
    node.set_path(PathBuf::from(path))
        .set_typ(kind)
        .set_major(device.major)
        .set_minor(device.minor)
        .set_file_mode(Some(device.mode))
        .set_uid(Some(device.uid))
        .set_gid(Some(device.gid));
    Ok(node)
}

/// Returns the rules as the kernel writes them, to be applied in order where nothing is allowed.
pub(crate) fn rules(plan: &ContainerPlan) -> Result<Vec<String>, PlanError> {
    for rule in &plan.device_rules {
        parse(rule)?;
    }
    if plan.privileged {
        return Ok(vec![EVERYTHING.to_owned()]);
    }
    let mut rules = DEFAULT_RULES.map(str::to_owned).to_vec();
    for device in plan.devices.iter().filter(|device| device.kind != 'p') {
        let DevicePlan {
            kind,
            major,
            minor,
            access,
            ..
        } = device;
        let rule = format!("{kind} {major}:{minor} {access}");
        parse(&rule)?;
        rules.push(rule);
    }
    rules.extend(plan.device_rules.iter().cloned());
    Ok(rules)
}

/// Returns the rules in the specification's form, for external runtimes.
pub(crate) fn rules_to_spec(rules: &[String]) -> Result<Vec<LinuxDeviceCgroup>, PlanError> {
    let mut nothing = LinuxDeviceCgroup::default();
    nothing.set_allow(false).set_access(Some("rwm".to_owned()));
    let mut spec = vec![nothing];
    for rule in rules {
        spec.push(parse(rule)?);
    }
    Ok(spec)
}

/// Parses an allowing rule such as `c 1:3 rwm`.
fn parse(rule: &str) -> Result<LinuxDeviceCgroup, PlanError> {
    parse_words(rule).ok_or_else(|| PlanError::Device {
        device: shown(rule),
        problem: "is not a rule such as \"c 1:3 rwm\"",
    })
}

fn parse_words(rule: &str) -> Option<LinuxDeviceCgroup> {
    let mut words = rule.split(' ');
    let kind = match words.next()? {
        "a" => LinuxDeviceType::A,
        "b" => LinuxDeviceType::B,
        "c" => LinuxDeviceType::C,
        _ => return None,
    };
    let (major, minor) = words.next()?.split_once(':')?;
    let access = words.next()?;
    let once = |letter| access.matches(letter).count() <= 1;
    let known = access.bytes().all(|b| matches!(b, b'r' | b'w' | b'm'));
    let whole = words.next().is_none();
    if !whole || access.is_empty() || !known || !['r', 'w', 'm'].into_iter().all(once) {
        return None;
    }
    let mut spec = LinuxDeviceCgroup::default();
    spec.set_allow(true)
        .set_typ(Some(kind))
        .set_major(number(major)?)
        .set_minor(number(minor)?)
        .set_access(Some(access.to_owned()));
    Some(spec)
}

/// Returns `Some(None)` for `*`.
fn number(text: &str) -> Option<Option<i64>> {
    if text == "*" {
        return Some(None);
    }
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse::<u32>().ok().map(|n| Some(i64::from(n))))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(path: &str, kind: char, access: &str) -> DevicePlan {
        DevicePlan {
            path: path.into(),
            kind,
            major: 10,
            minor: 229,
            mode: 0o666,
            uid: 0,
            gid: 0,
            access: access.into(),
        }
    }

    #[test]
    fn nodes_are_checked() {
        assert_eq!(
            nodes(&[device("/dev/fuse", 'c', "rwm")]).unwrap()[0].minor(),
            229
        );
        for bad in [
            device("dev/fuse", 'c', "r"),
            device("/dev/../etc/x", 'c', "r"),
            device("/", 'c', "r"),
            device("/dev/x", 'a', "r"),
            DevicePlan {
                major: -1,
                ..device("/dev/x", 'c', "r")
            },
            DevicePlan {
                minor: 1 << 20,
                ..device("/dev/x", 'c', "r")
            },
            DevicePlan {
                mode: 0o10_0666,
                ..device("/dev/x", 'c', "r")
            },
        ] {
            assert!(nodes(std::slice::from_ref(&bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn rules_are_the_default_the_devices_and_the_requests() {
        let plan = ContainerPlan {
            devices: vec![device("/dev/fuse", 'c', "rw")],
            device_rules: vec!["b 8:* r".into()],
            ..ContainerPlan::default()
        };
        let all = rules(&plan).unwrap();
        assert_eq!(all.len(), DEFAULT_RULES.len() + 2);
        assert_eq!(all[11..], ["c 10:229 rw", "b 8:* r"]);
        let spec = rules_to_spec(&all).unwrap();
        assert!(!spec[0].allow() && spec[1..].iter().all(LinuxDeviceCgroup::allow));
        let privileged = ContainerPlan {
            privileged: true,
            ..plan
        };
        assert_eq!(rules(&privileged).unwrap(), [EVERYTHING]);
    }

    #[test]
    fn rules_cannot_carry_a_second_one() {
        for bad in [
            "b 8:0 r\na *:* rwm",
            "c 1:3",
            "c 1:3 rwx",
            "c 1:3 ",
            "c -1:3 r",
            "c 1:3 r ",
            "",
            "c  1:3 r",
        ] {
            let plan = ContainerPlan {
                device_rules: vec![bad.into()],
                ..ContainerPlan::default()
            };
            assert!(rules(&plan).is_err(), "{bad:?}");
        }
        let plan = ContainerPlan {
            devices: vec![device("/dev/x", 'c', "")],
            ..ContainerPlan::default()
        };
        assert!(rules(&plan).is_err());
    }
}
