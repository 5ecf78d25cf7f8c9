//! Every path named in a Markdown file exists.

use std::path::Path;

use anyhow::Result;

use crate::workspace;

/// A word in backquotes is taken for a path of ours if it begins with one of these.
const FOLDERS: &[&str] = &[
    "node-agent/",
    "ctl/",
    "proto/",
    "tests/",
    "deploy/",
    ".ci/",
    ".github/",
    ".config/",
    ".cargo/",
];

#[test]
fn paths_named_in_documents_exist() -> Result<()> {
    let root = workspace::root()?;
    let mut wrong = Vec::new();
    for document in workspace::files(".md")? {
        let text = std::fs::read_to_string(root.join(&document))?;
        let folder = root.join(document.parent().unwrap_or(Path::new("")));
        for link in links(&text) {
            if !folder.join(&link).exists() {
                wrong.push(format!("{}: link to {link}", document.display()));
            }
        }
        for path in quoted(&text) {
            if !root.join(&path).exists() && !folder.join(&path).exists() {
                wrong.push(format!("{}: `{path}`", document.display()));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
    Ok(())
}

/// Returns the targets of links to files of ours.
fn links(text: &str) -> Vec<String> {
    let targets = text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next());
    let ours = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    ours.filter_map(|target| target.split('#').next())
        .map(str::to_owned)
        .collect()
}

/// Returns the words in backquotes that are paths of ours; patterns and placeholders are left out.
fn quoted(text: &str) -> Vec<String> {
    let inside = text
        .split('`')
        .skip(1)
        .step_by(2)
        .flat_map(|code| code.split_whitespace());
    let paths = inside.filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder)));
    let plain = paths.filter(|word| !word.contains(['*', '<', '{', '…', '$']));
    plain
        .map(|word| word.trim_end_matches([',', '.', ':', ';', ')']).to_owned())
        .collect()
}

#[test]
fn links_and_paths_are_found() {
    let text =
        "See [a](b/c.md#d), [e](https://f), `proto/cri/v1/api.proto` and `ctl run -p tests/*`.";
    assert_eq!(links(text), ["b/c.md"]);
    assert_eq!(quoted(text), ["proto/cri/v1/api.proto"]);
}
