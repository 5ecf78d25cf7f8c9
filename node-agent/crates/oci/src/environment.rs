//! Environment variables: defaults, then the image's, then the request's, the later winning.

use crate::error::{PlanError, shown};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables in the order in which they first appeared.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    variables: Vec<(String, String)>,
}

impl Environment {
    /// Begins with what every container has.
    pub(crate) fn with_defaults(hostname: &str, terminal: bool) -> Self {
        let mut environment = Self::default();
        environment.put("PATH", DEFAULT_PATH);
        if !hostname.is_empty() {
            environment.put("HOSTNAME", hostname);
        }
        if terminal {
            environment.put("TERM", "xterm");
        }
        environment
    }

    /// Begins with `NAME=value` texts that were checked before.
    pub(crate) fn of(texts: &[String]) -> Self {
        let mut environment = Self::default();
        for (name, value) in texts.iter().filter_map(|text| text.split_once('=')) {
            environment.put(name, value);
        }
        environment
    }

    /// Says whether a variable is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.variables.iter().any(|(there, _)| there == name)
    }

    fn put(&mut self, name: &str, value: &str) {
        match self.variables.iter_mut().find(|(there, _)| there == name) {
            Some((_, there)) => value.clone_into(there),
            None => self.variables.push((name.to_owned(), value.to_owned())),
        }
    }

    /// Adds an image's variables. One without `=` says nothing and is left out.
    pub(crate) fn add_image(&mut self, texts: &[String]) -> Result<(), PlanError> {
        for (name, value) in texts.iter().filter_map(|text| text.split_once('=')) {
            self.add(name, value.as_bytes())?;
        }
        Ok(())
    }

    /// Adds a request's variables.
    pub(crate) fn add_request(&mut self, variables: &[(String, Vec<u8>)]) -> Result<(), PlanError> {
        variables
            .iter()
            .try_for_each(|(name, value)| self.add(name, value))
    }

    fn add(&mut self, name: &str, value: &[u8]) -> Result<(), PlanError> {
        let refused = |problem| PlanError::Environment {
            name: shown(name),
            problem,
        };
        if name.is_empty() {
            return Err(refused("has no name"));
        }
        if name.contains(['=', '\0']) {
            return Err(refused("has a name with '=' or NUL"));
        }
        // The OCI specification is JSON, which has no other bytes.
        let value =
            std::str::from_utf8(value).map_err(|_| refused("has a value that is not UTF-8"))?;
        if value.contains('\0') {
            return Err(refused("has a value with NUL"));
        }
        self.put(name, value);
        Ok(())
    }

    /// Returns `NAME=value` texts.
    pub(crate) fn into_texts(self) -> Vec<String> {
        self.variables
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_values_win_and_keep_their_place() {
        let mut environment = Environment::with_defaults("host", true);
        environment
            .add_image(&[
                "A=1".into(),
                "PATH=/bin".into(),
                "nothing".into(),
                "A=2".into(),
            ])
            .unwrap();
        environment
            .add_request(&[
                ("B".into(), b"x=y\n".to_vec()),
                ("HOSTNAME".into(), b"h2".to_vec()),
            ])
            .unwrap();
        assert_eq!(
            environment.into_texts(),
            ["PATH=/bin", "HOSTNAME=h2", "TERM=xterm", "A=2", "B=x=y\n"]
        );
    }

    #[test]
    fn a_refused_variable_is_named() {
        let refused = |name: &str, value: &[u8]| {
            Environment::default()
                .add_request(&[(name.into(), value.to_vec())])
                .unwrap_err()
                .to_string()
        };
        assert!(refused("BAD", b"\xff").contains("BAD"));
        assert!(refused("BAD", b"a\0b").contains("NUL"));
        assert!(refused("A=B", b"").contains("A=B"));
        assert!(refused("", b"x").contains("no name"));
        assert!(Environment::default().add_image(&["=x".into()]).is_err());
    }
}
