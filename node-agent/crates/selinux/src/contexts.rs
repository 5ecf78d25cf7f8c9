//! What the policy's own files say of containers.

use std::io;
use std::path::Path;

use crate::error::LabelError;
use crate::label::Label;

/// The labels that the policy has for containers.
#[derive(Debug)]
pub(crate) struct Contexts {
    pub(crate) process: Label,
    pub(crate) file: Label,
}

impl Contexts {
    /// Reads them; `None`: the policy has none.
    pub(crate) fn read(configuration: &Path) -> Result<Option<Self>, LabelError> {
        let config = configuration.join("config");
        let Some(config) = text(&config)? else {
            return Ok(None);
        };
        let Some(name) = value(&config, "SELINUXTYPE").filter(|name| !name.contains('/')) else {
            return Ok(None);
        };
        let path = configuration.join(name).join("contexts/lxc_contexts");
        let Some(contexts) = text(&path)? else {
            return Ok(None);
        };
        let label = |key| value(&contexts, key).and_then(Label::parse);
        match (label("process"), label("file")) {
            (Some(process), Some(file)) => Ok(Some(Self { process, file })),
            _ => Err(LabelError::Contexts { path }),
        }
    }
}

fn text(path: &Path) -> Result<Option<String>, LabelError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LabelError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Returns what `key = "value"` says, in the last line that does.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.trim().split_once('='));
    let (_, value) = lines.rfind(|(name, _)| name.trim() == key)?;
    Some(value.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_have_quotes_and_blanks_and_comments_are_none() {
        let text = "# SELINUXTYPE=old\nSELINUXTYPE=targeted\n process = \"a:b:c\"\nfile=d:e:f\n";
        assert_eq!(value(text, "SELINUXTYPE"), Some("targeted"));
        assert_eq!(value(text, "process"), Some("a:b:c"));
        assert_eq!(value(text, "file"), Some("d:e:f"));
        assert_eq!(value(text, "SELINUX"), None);
    }
}
