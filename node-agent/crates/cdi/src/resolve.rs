//! From names to what a container gets.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::directory::{self, Found};
use crate::edits::Edits;
use crate::error::{ResolveError, SpecFileError};
use crate::name::DeviceName;
use crate::spec::{Part, Spec};

/// The directories that specifications are looked for in.
#[derive(Debug, Clone, Default)]
pub struct Cdi {
    directories: Vec<PathBuf>,
}

/// Where a device was found.
#[derive(Debug, Clone, Copy)]
struct Place {
    directory: usize,
    spec: usize,
    device: usize,
}

impl Cdi {
    /// Looks in these directories, the later ones taking precedence.
    #[must_use]
    pub const fn new(directories: Vec<PathBuf>) -> Self {
        Self { directories }
    }

    /// Returns what a container gets that names these devices; blocking.
    ///
    /// What a specification has for all its devices comes once, before the first of them.
    ///
    /// # Errors
    /// A device is not in any specification, in two at once, or asks for what cannot be given.
    pub fn resolve(&self, names: &[String]) -> Result<Edits, ResolveError> {
        let mut edits = Edits::default();
        if names.is_empty() {
            return Ok(edits);
        }
        let names: Vec<DeviceName> = names
            .iter()
            .map(|name| name.parse())
            .collect::<Result<_, _>>()?;
        let all: Vec<Found> = self
            .directories
            .iter()
            .map(|path| directory::read(path))
            .collect();
        let mut seen = Vec::new();
        let mut begun = Vec::new();
        for name in names {
            let Some(place) = find(&all, &name)? else {
                return Err(ResolveError::Unknown {
                    name: name.to_string(),
                    broken: broken(all),
                });
            };
            if seen.contains(&name) {
                continue;
            }
            let spec: &Spec = &all[place.directory].specs[place.spec].1;
            if !begun.contains(&(place.directory, place.spec)) {
                begun.push((place.directory, place.spec));
                add(&mut edits, &name, &spec.common)?;
            }
            add(&mut edits, &name, &spec.devices[place.device].1)?;
            seen.push(name);
        }
        Ok(edits)
    }
}

fn add(edits: &mut Edits, name: &DeviceName, part: &Part) -> Result<(), ResolveError> {
    if let Some(what) = part.unsupported {
        return Err(ResolveError::Unsupported {
            name: name.to_string(),
            what,
        });
    }
    edits.add(&part.edits);
    Ok(())
}

/// Finds a device in the last directory that has it.
fn find(all: &[Found], name: &DeviceName) -> Result<Option<Place>, ResolveError> {
    for (directory, found) in all.iter().enumerate().rev() {
        let mut places = BTreeMap::new();
        for (spec, (_, content)) in found.specs.iter().enumerate() {
            let device = content.devices.iter().position(|(other, _)| other == name);
            if let Some(device) = device {
                places.insert(spec, device);
            }
        }
        let mut places = places.into_iter();
        match (places.next(), places.next()) {
            (None, _) => {}
            (Some((spec, device)), None) => {
                return Ok(Some(Place {
                    directory,
                    spec,
                    device,
                }));
            }
            (Some((one, _)), Some((other, _))) => {
                return Err(ResolveError::Conflict {
                    name: name.to_string(),
                    one: found.specs[one].0.clone(),
                    other: found.specs[other].0.clone(),
                });
            }
        }
    }
    Ok(None)
}

fn broken(all: Vec<Found>) -> Vec<SpecFileError> {
    all.into_iter().flat_map(|found| found.broken).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn write(directory: &Path, name: &str, kind: &str, device: &str, value: &str) {
        std::fs::create_dir_all(directory).unwrap();
        let text = format!(
            r#"{{"cdiVersion":"0.6.0","kind":"{kind}","devices":[{{"name":"{device}","containerEdits":{{"env":["{device}={value}"]}}}}],"containerEdits":{{"env":["COMMON={value}"]}}}}"#
        );
        std::fs::write(directory.join(name), text).unwrap();
    }

    fn resolve(cdi: &Cdi, names: &[&str]) -> Result<Vec<String>, ResolveError> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let edits = cdi.resolve(&names)?;
        let text = |(name, value): &(String, String)| format!("{name}={value}");
        Ok(edits.env.iter().map(text).collect())
    }

    #[test]
    fn later_directories_win_and_common_parts_come_once() {
        let root = tempfile::tempdir().unwrap();
        let (low, high) = (root.path().join("low"), root.path().join("high"));
        write(&low, "a.json", "v.com/gpu", "one", "low");
        write(&low, "b.json", "v.com/gpu", "two", "low");
        write(&high, "a.yaml", "v.com/gpu", "one", "high");
        let absent = root.path().join("absent");
        let cdi = Cdi::new(vec![low, absent, high]);
        assert_eq!(
            resolve(&cdi, &["v.com/gpu=one", "v.com/gpu=two", "v.com/gpu=one"]).unwrap(),
            ["COMMON=high", "one=high", "COMMON=low", "two=low"]
        );
        assert_eq!(resolve(&cdi, &[]).unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_not_to_be_had_is_named() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path();
        write(path, "a.json", "v.com/gpu", "one", "a");
        write(path, "b.json", "v.com/gpu", "one", "b");
        std::fs::write(path.join("c.yaml"), "kind: [").unwrap();
        std::fs::write(path.join("readme.txt"), "not a specification").unwrap();
        std::fs::create_dir(path.join("d.json")).unwrap();
        let cdi = Cdi::new(vec![path.to_owned()]);
        let conflict = resolve(&cdi, &["v.com/gpu=one"]).unwrap_err();
        assert!(
            matches!(conflict, ResolveError::Conflict { .. }),
            "{conflict}"
        );
        let unknown = resolve(&cdi, &["v.com/gpu=two"]).unwrap_err().to_string();
        assert!(
            unknown.contains("v.com/gpu=two") && unknown.contains("c.yaml"),
            "{unknown}"
        );
        assert!(
            unknown.contains("d.json") && !unknown.contains("readme"),
            "{unknown}"
        );
        let name = resolve(&cdi, &["gpu"]).unwrap_err();
        assert!(matches!(name, ResolveError::Name { .. }), "{name}");
    }
}
