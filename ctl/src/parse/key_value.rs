//! `KEY=value` pairs: environments, labels and sysctls, from flags and files.

use std::collections::HashMap;
use std::path::Path;

use super::ParseError;

/// Reads the environment a container is to have: files first, then flags, which win.
pub(crate) fn environment(
    files: &[impl AsRef<Path>],
    flags: &[String],
) -> Result<Vec<String>, ParseError> {
    let mut entries: Vec<String> = Vec::new();
    for file in files {
        entries.extend(lines(file.as_ref())?);
    }
    entries.extend_from_slice(flags);
    let mut environment: Vec<String> = Vec::new();
    for entry in entries {
        let (key, entry) = match entry.split_once('=') {
            Some((key, _)) => (key.to_owned(), Some(entry.clone())),
            // A name alone takes the value `ctl` itself has, if it has one.
            None => (
                entry.clone(),
                std::env::var(&entry)
                    .ok()
                    .map(|value| format!("{entry}={value}")),
            ),
        };
        if key.is_empty() {
            return Err(ParseError::form(
                &entry.unwrap_or_default(),
                "NAME=value or NAME",
            ));
        }
        environment.retain(|known| known.split_once('=').is_none_or(|(known, _)| known != key));
        environment.extend(entry);
    }
    Ok(environment)
}

/// Reads labels: files first, then flags, which win. A name alone has an empty value.
pub(crate) fn labels(
    files: &[impl AsRef<Path>],
    flags: &[String],
) -> Result<HashMap<String, String>, ParseError> {
    let mut labels = HashMap::new();
    for file in files {
        for line in lines(file.as_ref())? {
            let (key, value) = label(&line)?;
            labels.insert(key, value);
        }
    }
    for flag in flags {
        let (key, value) = label(flag)?;
        labels.insert(key, value);
    }
    Ok(labels)
}

/// Reads `key` or `key=value`.
pub(crate) fn label(text: &str) -> Result<(String, String), ParseError> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err(ParseError::form(text, "NAME=value or NAME"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Reads `key=value`.
pub(crate) fn pair(text: &str) -> Result<(String, String), ParseError> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(ParseError::form(text, "NAME=value")),
    }
}

/// Returns the lines of a file that are neither empty nor comments.
fn lines(path: &Path) -> Result<Vec<String>, ParseError> {
    let text = std::fs::read_to_string(path).map_err(|source| ParseError::File {
        path: path.to_owned(),
        source,
    })?;
    let mut lines = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let key = line.split_once('=').map_or(line, |(key, _)| key);
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(ParseError::Line {
                line: index + 1,
                text: line.to_owned(),
                expected: "NAME=value or NAME",
            });
        }
        lines.push(line.to_owned());
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const NONE: [&str; 0] = [];

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        file
    }

    fn flags(flags: &[&str]) -> Vec<String> {
        flags.iter().map(|flag| (*flag).to_owned()).collect()
    }

    #[test]
    fn flags_win_over_files_and_later_over_earlier() {
        let file = file("# comment\n\nA=1\nB=x y # kept\n");
        let environment =
            environment(&[file.path()], &flags(&["A=2", "C=", "A=3"])).expect("an environment");
        assert_eq!(environment, ["B=x y # kept", "C=", "A=3"]);
    }

    #[test]
    fn a_name_alone_takes_the_value_from_outside() {
        let path = std::env::var("PATH").expect("a path");
        let environment =
            environment(&NONE, &flags(&["PATH", "CTL_TEST_SURELY_UNSET"])).expect("an environment");
        assert_eq!(environment, [format!("PATH={path}")]);
    }

    #[test]
    fn mistakes_in_files_are_found_by_their_line() {
        let file = file("A=1\nB C=2\n");
        let error = environment(&[file.path()], &[]).expect_err("a blank");
        assert_eq!(
            error.to_string(),
            "line 2: \"B C=2\" is not NAME=value or NAME"
        );
        assert!(matches!(
            environment(&["/does/not/exist"], &[]),
            Err(ParseError::File { .. })
        ));
        assert!(environment(&NONE, &flags(&["=x"])).is_err());
    }

    #[test]
    fn labels_need_no_value() {
        let labels = labels(&NONE, &flags(&["a=1", "b", "c=x=y"])).expect("labels");
        let expected = [("a", "1"), ("b", ""), ("c", "x=y")];
        assert_eq!(
            labels,
            expected
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into()
        );
        assert!(label("=1").is_err());
        assert!(pair("a").is_err());
    }
}
