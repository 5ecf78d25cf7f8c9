//! Specifications as vendors write them. Unknown keys are refused: what is not understood must not
//! be left out of a container silently.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::edits::{DeviceNode, Edits, Hook, Mount};
use crate::error::SpecFileError;
use crate::name::{DeviceName, is_kind};
use crate::yaml;

/// Versions whose specifications are understood.
const VERSIONS: [&str; 8] = [
    "0.3.0", "0.4.0", "0.5.0", "0.6.0", "0.7.0", "0.8.0", "1.0.0", "1.1.0",
];

/// What a specification asks for that cannot be given.
pub(crate) type Unsupported = Option<&'static str>;

/// A specification that was understood.
#[derive(Debug)]
pub(crate) struct Spec {
    /// What each device asks for.
    pub(crate) devices: Vec<(DeviceName, Part)>,
    /// What any of them asks for.
    pub(crate) common: Part,
}

/// What a device, or a specification as a whole, asks for.
#[derive(Debug, Default)]
pub(crate) struct Part {
    pub(crate) edits: Edits,
    pub(crate) unsupported: Unsupported,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawSpec {
    cdi_version: String,
    kind: String,
    #[serde(rename = "annotations")]
    _annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    devices: Vec<RawDevice>,
    #[serde(default)]
    container_edits: RawEdits,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawDevice {
    name: String,
    #[serde(rename = "annotations")]
    _annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    container_edits: RawEdits,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawEdits {
    env: Option<Vec<String>>,
    device_nodes: Option<Vec<RawNode>>,
    mounts: Option<Vec<RawMount>>,
    hooks: Option<Vec<RawHook>>,
    intel_rdt: Option<serde::de::IgnoredAny>,
    net_devices: Option<Vec<serde::de::IgnoredAny>>,
    additional_gids: Option<Vec<u32>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawNode {
    path: String,
    host_path: Option<String>,
    r#type: Option<String>,
    major: Option<i64>,
    minor: Option<i64>,
    file_mode: Option<u32>,
    permissions: Option<String>,
    uid: Option<u32>,
    gid: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawMount {
    host_path: String,
    container_path: String,
    r#type: Option<String>,
    options: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawHook {
    hook_name: String,
    path: String,
    args: Option<Vec<String>>,
    env: Option<Vec<String>>,
    timeout: Option<i64>,
}

/// Reads a specification; JSON where the file's name says so, else YAML.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Spec, SpecFileError> {
    let is_json = path
        .extension()
        .is_some_and(|extension| extension == "json");
    let json = |source| SpecFileError::Json {
        path: path.to_owned(),
        source,
    };
    let raw: RawSpec = if is_json {
        serde_json::from_str(text).map_err(json)?
    } else {
        let value = yaml::value(text).map_err(|source| SpecFileError::Yaml {
            path: path.to_owned(),
            source,
        })?;
        serde_json::from_value(value).map_err(json)?
    };
    let reader = Reader { path };
    if !VERSIONS.contains(&raw.cdi_version.as_str()) {
        return Err(reader.refused("version", &raw.cdi_version));
    }
    if !is_kind(&raw.kind) {
        return Err(reader.refused("kind", &raw.kind));
    }
    let mut devices = Vec::with_capacity(raw.devices.len());
    for device in raw.devices {
        let name = DeviceName::of(&raw.kind, &device.name)
            .ok_or_else(|| reader.refused("device name", &device.name))?;
        if devices.iter().any(|(other, _)| *other == name) {
            return Err(reader.refused("second device of the name", &device.name));
        }
        devices.push((name, reader.part(device.container_edits)?));
    }
    Ok(Spec {
        devices,
        common: reader.part(raw.container_edits)?,
    })
}

struct Reader<'a> {
    path: &'a Path,
}

impl Reader<'_> {
    fn refused(&self, what: &'static str, text: &str) -> SpecFileError {
        SpecFileError::Value {
            path: self.path.to_owned(),
            what,
            text: text.chars().take(200).collect(),
        }
    }

    fn part(&self, raw: RawEdits) -> Result<Part, SpecFileError> {
        let unsupported = match &raw {
            raw if raw.intel_rdt.is_some() => Some("Intel RDT"),
            raw if raw.net_devices.as_ref().is_some_and(|all| !all.is_empty()) => {
                Some("network devices")
            }
            _ => None,
        };
        let mut edits = Edits {
            groups: raw.additional_gids.unwrap_or_default(),
            ..Edits::default()
        };
        for text in raw.env.unwrap_or_default() {
            let (name, value) = self.variable(&text)?;
            edits.env.push((name.to_owned(), value.to_owned()));
        }
        for node in raw.device_nodes.unwrap_or_default() {
            edits.devices.push(self.node(node)?);
        }
        for mount in raw.mounts.unwrap_or_default() {
            edits.mounts.push(self.mount(mount)?);
        }
        for hook in raw.hooks.unwrap_or_default() {
            edits.hooks.push(self.hook(hook)?);
        }
        Ok(Part { edits, unsupported })
    }

    fn variable<'a>(&self, text: &'a str) -> Result<(&'a str, &'a str), SpecFileError> {
        let variable = text.split_once('=').filter(|(name, _)| !name.is_empty());
        variable.ok_or_else(|| self.refused("environment variable", text))
    }

    fn hook(&self, raw: RawHook) -> Result<Hook, SpecFileError> {
        let stage = raw.hook_name.parse();
        let stage = stage.map_err(|_| self.refused("hook name", &raw.hook_name))?;
        self.absolute("hook path", &raw.path)?;
        let env = raw.env.unwrap_or_default();
        for text in &env {
            self.variable(text)?;
        }
        let timeout = match raw.timeout {
            None => None,
            Some(seconds) => {
                let some = u32::try_from(seconds).ok().filter(|seconds| *seconds > 0);
                Some(some.ok_or_else(|| self.refused("hook timeout", &seconds.to_string()))?)
            }
        };
        Ok(Hook {
            stage,
            path: raw.path,
            args: raw.args.unwrap_or_default(),
            env,
            timeout,
        })
    }

    fn node(&self, raw: RawNode) -> Result<DeviceNode, SpecFileError> {
        self.absolute("device path", &raw.path)?;
        let host_path = raw.host_path.filter(|path| !path.is_empty());
        let host_path = host_path.unwrap_or_else(|| raw.path.clone());
        self.absolute("device path", &host_path)?;
        let access = raw.permissions.filter(|text| !text.is_empty());
        let access = access.unwrap_or_else(|| "rwm".to_owned());
        if !access.bytes().all(|byte| b"rwm".contains(&byte)) {
            return Err(self.refused("device permissions", &access));
        }
        let kind = raw.r#type.filter(|text| !text.is_empty());
        let number = match (kind.as_deref(), raw.major, raw.minor) {
            (None, _, _) | (Some(_), None, _) => None,
            (Some(kind @ ("b" | "c" | "u")), Some(major), minor) => {
                let kind = if kind == "b" { 'b' } else { 'c' };
                Some((kind, major, minor.unwrap_or(0)))
            }
            (Some(kind), Some(_), _) => return Err(self.refused("device type", kind)),
        };
        Ok(DeviceNode {
            path: raw.path,
            host_path: host_path.into(),
            number,
            mode: raw.file_mode.map(|mode| mode & 0o777),
            uid: raw.uid,
            gid: raw.gid,
            access,
        })
    }

    fn mount(&self, raw: RawMount) -> Result<Mount, SpecFileError> {
        self.absolute("mount source", &raw.host_path)?;
        self.absolute("mount destination", &raw.container_path)?;
        match raw.r#type.as_deref() {
            None | Some("" | "bind" | "none") => {}
            Some(kind) => return Err(self.refused("mount type", kind)),
        }
        Ok(Mount {
            host_path: raw.host_path.into(),
            container_path: raw.container_path,
            options: raw.options.unwrap_or_default(),
        })
    }

    fn absolute(&self, what: &'static str, path: &str) -> Result<(), SpecFileError> {
        if path.starts_with('/') {
            Ok(())
        } else {
            Err(self.refused(what, path))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use agent_types::HookStage;
    use proptest::prelude::*;

    const WHOLE: &str = r#"{"cdiVersion":"0.6.0","kind":"vendor.com/gpu","annotations":{"a":"b"},
        "devices":[{"name":"one","containerEdits":{"env":["A=1=2"],
          "deviceNodes":[{"path":"/dev/gpu0","hostPath":"/dev/null","type":"c","major":1,"minor":3,
            "fileMode":420,"permissions":"rw","uid":5,"gid":6},{"path":"/dev/zero"}],
          "mounts":[{"hostPath":"/usr/lib/x","containerPath":"/lib/x","options":["ro","nosuid"]}],
          "hooks":[{"hookName":"createContainer","path":"/bin/x","args":["x","-v"],"env":["H=1"],"timeout":5},
            {"hookName":"poststop","path":"/bin/y"}],
          "additionalGids":[7]}}],
        "containerEdits":{"env":["B="]}}"#;

    fn json(text: &str) -> Result<Spec, SpecFileError> {
        parse(Path::new("/etc/cdi/x.json"), text)
    }

    #[test]
    fn every_part_is_read() {
        let spec = json(WHOLE).unwrap();
        let [(name, part)] = spec.devices.as_slice() else {
            panic!("{spec:?}");
        };
        assert_eq!(name.to_string(), "vendor.com/gpu=one");
        assert_eq!(part.edits.env, [("A".to_owned(), "1=2".to_owned())]);
        let [gpu, zero] = part.edits.devices.as_slice() else {
            panic!("{part:?}");
        };
        assert_eq!((gpu.number, gpu.mode), (Some(('c', 1, 3)), Some(0o644)));
        assert_eq!(
            (gpu.uid, gpu.gid, gpu.access.as_str()),
            (Some(5), Some(6), "rw")
        );
        assert_eq!(zero.host_path, Path::new("/dev/zero"));
        assert_eq!((zero.number, zero.access.as_str()), (None, "rwm"));
        assert_eq!(part.edits.mounts[0].options, ["ro", "nosuid"]);
        assert_eq!(part.edits.groups, [7]);
        let [create, stop] = part.edits.hooks.as_slice() else {
            panic!("{part:?}");
        };
        let expected = Hook {
            stage: HookStage::CreateContainer,
            path: "/bin/x".to_owned(),
            args: ["x", "-v"].map(str::to_owned).into(),
            env: vec!["H=1".to_owned()],
            timeout: Some(5),
        };
        assert_eq!(*create, expected);
        assert_eq!((stop.stage, stop.timeout), (HookStage::Poststop, None));
        assert_eq!(spec.common.edits.env, [("B".to_owned(), String::new())]);
    }

    #[test]
    fn yaml_says_the_same() {
        let text = "cdiVersion: \"0.5.0\"\nkind: vendor.com/net\ndevices:\n- name: \"0\"\n  containerEdits:\n    deviceNodes:\n    - path: /dev/net0\n      hostPath: /dev/null\ncontainerEdits:\n  env:\n  - NET=yes\n";
        let spec = parse(Path::new("/etc/cdi/x.yaml"), text).unwrap();
        assert_eq!(spec.devices[0].0.to_string(), "vendor.com/net=0");
        assert_eq!(spec.common.edits.env.len(), 1);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (from, to) in [
            ("0.6.0", "9.0.0"),
            ("vendor.com/gpu", "vendor"),
            ("\"one\"", "\"-\""),
            ("A=1=2", "=1"),
            ("/dev/gpu0", "dev/gpu0"),
            ("\"rw\"", "\"rwx\""),
            ("\"c\"", "\"p\""),
            ("/lib/x\"", "/lib/x\",\"type\":\"tmpfs\""),
            ("/usr/lib/x", "relative"),
            ("additionalGids", "additionalGIDs"),
            ("\"createContainer\"", "\"create\""),
            ("/bin/y", "bin/y"),
            ("H=1", "H"),
            ("\"timeout\":5", "\"timeout\":0"),
            ("\"timeout\":5", "\"timeout\":-1"),
        ] {
            assert!(WHOLE.contains(from), "{from}");
            assert!(json(&WHOLE.replace(from, to)).is_err(), "{to}");
        }
    }

    #[test]
    fn what_cannot_be_given_is_noted() {
        for (asked, what) in [
            (r#""intelRdt":{"closID":"a"}"#, "Intel RDT"),
            (
                r#""netDevices":[{"hostInterfaceName":"a","name":"b"}]"#,
                "network devices",
            ),
        ] {
            let spec = json(&WHOLE.replace("\"additionalGids\":[7]", asked)).unwrap();
            assert_eq!(spec.devices[0].1.unsupported, Some(what));
            assert_eq!(spec.common.unsupported, None);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_fail_badly(text in "\\PC{0,80}") {
            let _ = parse(Path::new("/etc/cdi/x.yaml"), &text);
            let _ = json(&text);
        }
    }
}
