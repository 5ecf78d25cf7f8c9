//! Sizes of files and of RPC methods. Functions are held by clippy.

use std::path::Path;

use anyhow::Result;

use crate::workspace;

/// Files that may be longer, with the reason on their first line. The list may only shrink.
const EXCEPTIONS: &[&str] = &[];

const REASON: &str = "// size: ";

#[test]
fn files_are_within_their_gates() -> Result<()> {
    let root = workspace::root()?;
    let mut wrong = Vec::new();
    for path in workspace::files(".rs")? {
        let text = std::fs::read_to_string(root.join(&path))?;
        let (lines, gate) = (lines_without_tests(&text), gate(&path));
        let name = path.display().to_string();
        let listed = EXCEPTIONS.contains(&name.as_str());
        if lines > gate && !(listed && text.starts_with(REASON)) {
            wrong.push(format!("{name}: {lines} lines, the gate is {gate}"));
        } else if lines <= gate && listed {
            wrong.push(format!("{name}: {lines} lines need no exception"));
        }
    }
    assert_eq!(wrong, [""; 0]);
    Ok(())
}

#[test]
fn service_methods_only_translate() -> Result<()> {
    const GATE: usize = 25;
    let root = workspace::root()?;
    let mut wrong = Vec::new();
    for path in workspace::files(".rs")?
        .iter()
        .filter(|path| path.starts_with("node-agent/crates/api/src"))
    {
        let text = std::fs::read_to_string(root.join(path))?;
        let (mut begun, mut service): (Option<(usize, &str)>, bool) = (None, false);
        for (number, line) in text.lines().enumerate() {
            if line.starts_with("impl ") {
                service = line.contains(" for ");
            }
            match begun {
                None if service && line.starts_with("    async fn ") => {
                    begun = Some((number, line.trim()))
                }
                Some((first, name)) if line == "    }" => {
                    if number - first + 1 > GATE {
                        wrong.push(format!(
                            "{}: {name} has {} lines",
                            path.display(),
                            number - first + 1
                        ));
                    }
                    begun = None;
                }
                None | Some(_) => {}
            }
        }
    }
    assert_eq!(wrong, [""; 0], "the gate is {GATE} lines");
    Ok(())
}

fn gate(path: &Path) -> usize {
    match path.file_name().and_then(|name| name.to_str()) {
        Some("main.rs") => 150,
        Some("mod.rs" | "lib.rs") => 200,
        _ if path.starts_with("ctl/src/commands") => 200,
        _ => 500,
    }
}

/// Returns the number of lines before the test module, which is last in its file.
fn lines_without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| {
        pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ") && pair[1].ends_with('{')
    });
    tests.unwrap_or(lines.len())
}

#[test]
fn test_modules_are_not_counted() {
    assert_eq!(
        lines_without_tests("fn one() {}\n\n#[cfg(test)]\nmod tests {\n}\n"),
        2
    );
    assert_eq!(
        lines_without_tests("#[cfg(test)]\nmod tests;\nfn one() {}\n"),
        3
    );
}
