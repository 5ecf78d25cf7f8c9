//! Runtime handlers: who makes the containers of a sandbox, by the name that a RuntimeClass gives.

use std::collections::BTreeMap;
use std::path::PathBuf;

use agent_types::Platform;

use crate::pattern::Pattern;

/// One runtime handler.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeHandler {
    /// Another OCI runtime's program; `None`: the runtime built in.
    pub program: Option<PathBuf>,
    /// Annotations of pods that the runtime is told.
    pub pod_annotations: Vec<Pattern>,
    /// Annotations of containers that the runtime is told.
    pub container_annotations: Vec<Pattern>,
    /// What its images are for; `None`: this machine.
    pub platform: Option<Platform>,
}

/// The runtime handlers of a node, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuntimeHandlers(BTreeMap<String, RuntimeHandler>);

impl RuntimeHandlers {
    /// Makes them of those that are configured.
    #[must_use]
    pub const fn new(configured: BTreeMap<String, RuntimeHandler>) -> Self {
        Self(configured)
    }

    /// Returns the handler of a name. Without a name it is the runtime built in, unless one is
    /// configured for that.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<RuntimeHandler> {
        let built_in = || name.is_empty().then(RuntimeHandler::default);
        self.0.get(name).cloned().or_else(built_in)
    }

    /// Returns every name, the empty one first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let configured = self.0.keys().map(String::as_str);
        std::iter::once("").chain(configured.filter(|name| !name.is_empty()))
    }
}

impl RuntimeHandler {
    /// Says whether it can run images for a platform.
    #[must_use]
    pub fn runs(&self, platform: &Platform) -> bool {
        let own = self.platform.clone().unwrap_or_else(Platform::host);
        own.fit(platform).is_some()
    }

    /// Returns what the runtime is told of a pod's and a container's annotations: nothing that is not
    /// allowed by name. Of two of one name the container's counts.
    #[must_use]
    pub fn told(
        &self,
        pod: &BTreeMap<String, String>,
        container: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let of_pod = allowed(&self.pod_annotations, pod);
        of_pod
            .chain(allowed(&self.container_annotations, container))
            .collect()
    }
}

fn allowed<'a>(
    patterns: &'a [Pattern],
    annotations: &'a BTreeMap<String, String>,
) -> impl Iterator<Item = (String, String)> + 'a {
    let is_allowed = |name: &String| patterns.iter().any(|pattern| pattern.covers(name));
    annotations
        .iter()
        .filter(move |(name, _)| is_allowed(name))
        .map(|(name, value)| (name.clone(), value.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_name_it_is_the_runtime_built_in() {
        let runc = RuntimeHandler {
            program: Some("/usr/sbin/runc".into()),
            ..RuntimeHandler::default()
        };
        let some = RuntimeHandlers::new([("runc".to_owned(), runc.clone())].into());
        assert_eq!(some.get(""), Some(RuntimeHandler::default()));
        assert_eq!(some.get("runc"), Some(runc));
        assert_eq!(some.get("kata"), None);
        assert_eq!(some.names().collect::<Vec<_>>(), ["", "runc"]);
    }

    #[test]
    fn a_handler_may_be_for_another_platform() {
        let platform: Platform = "linux/s390x".parse().unwrap();
        let emulating = RuntimeHandler {
            platform: Some(platform.clone()),
            ..RuntimeHandler::default()
        };
        assert!(emulating.runs(&platform) && !emulating.runs(&Platform::host()));
        assert!(RuntimeHandler::default().runs(&Platform::host()));
        assert!(!RuntimeHandler::default().runs(&platform));
    }

    #[test]
    fn only_annotations_that_are_allowed_are_told() {
        let handler = RuntimeHandler {
            pod_annotations: vec![Pattern::new("io.example.*")],
            container_annotations: vec![Pattern::new("io.example.cpu")],
            ..RuntimeHandler::default()
        };
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            pairs.iter().map(owned).collect()
        };
        let pod = map(&[("io.example.cpu", "1"), ("run.oci.hooks", "/bin/x")]);
        let container = map(&[("io.example.cpu", "2"), ("io.example.io", "3")]);
        assert_eq!(
            handler.told(&pod, &container),
            map(&[("io.example.cpu", "2")])
        );
        assert!(RuntimeHandler::default().told(&pod, &container).is_empty());
    }
}
