//! YAML as the values that JSON has.
//!
//! Read event by event, and not by the library's loader: that copies what an alias stands for, so
//! that a small text can become any amount of memory, and follows nesting as deep as it goes.

use serde_json::{Map, Number, Value};
use yaml_rust2::parser::{Parser, Tag};
use yaml_rust2::scanner::{Marker, TScalarStyle};
use yaml_rust2::{Event, ScanError, Yaml};

/// Deepest nesting, the same as of JSON.
const DEPTH: u32 = 128;

/// The handle of YAML's own tags.
const OWN_TAGS: &str = "tag:yaml.org,2002:";

/// Why a text is not read.
#[derive(Debug, thiserror::Error)]
pub enum YamlError {
    /// It is no YAML.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// It names a part of itself, or has such a part once more.
    #[error("line {line} has an anchor or an alias, which are not taken")]
    Alias {
        /// Counted from 1.
        line: usize,
    },
    /// Its parts lie too deep in each other.
    #[error("line {line} is more than {DEPTH} levels deep")]
    Deep {
        /// Counted from 1.
        line: usize,
    },
    /// The key of a mapping is a list or a mapping itself, or nothing.
    #[error("line {line} has a key that is no text")]
    Key {
        /// Counted from 1.
        line: usize,
    },
    /// A mapping has a key twice.
    #[error("line {line} has key {key:?} for the second time")]
    Twice {
        /// Counted from 1.
        line: usize,
        /// The key, cut to 200 characters.
        key: String,
    },
}

/// Reads the first document; nothing is `null`. Fractions are texts: no specification has any.
pub(crate) fn value(text: &str) -> Result<Value, YamlError> {
    let mut reader = Reader(Parser::new_from_str(text));
    let mut first = None;
    loop {
        match reader.0.next_token()? {
            (Event::StreamEnd, _) => return Ok(first.unwrap_or_default()),
            (Event::DocumentStart, _) if first.is_none() => first = Some(reader.node(DEPTH)?),
            _ => {}
        }
    }
}

struct Reader<'a>(Parser<std::str::Chars<'a>>);

impl Reader<'_> {
    fn node(&mut self, depth: u32) -> Result<Value, YamlError> {
        let (event, mark) = self.0.next_token()?;
        self.rest_of(event, mark, depth)
    }

    /// Reads what begins with `event`.
    fn rest_of(&mut self, event: Event, mark: Marker, depth: u32) -> Result<Value, YamlError> {
        let line = mark.line();
        let depth = depth.checked_sub(1).ok_or(YamlError::Deep { line })?;
        match event {
            Event::Scalar(text, style, 0, tag) => Ok(scalar(text, style, tag)),
            Event::SequenceStart(0, _) => self.sequence(depth),
            Event::MappingStart(0, _) => self.mapping(depth),
            Event::Scalar(..)
            | Event::SequenceStart(..)
            | Event::MappingStart(..)
            | Event::Alias(_) => Err(YamlError::Alias { line }),
            // The parser has none of them here.
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => Ok(Value::Null),
        }
    }

    fn sequence(&mut self, depth: u32) -> Result<Value, YamlError> {
        let mut all = Vec::new();
        loop {
            match self.0.next_token()? {
                (Event::SequenceEnd | Event::StreamEnd, _) => return Ok(Value::Array(all)),
                (event, mark) => all.push(self.rest_of(event, mark, depth)?),
            }
        }
    }

    fn mapping(&mut self, depth: u32) -> Result<Value, YamlError> {
        let mut all = Map::new();
        loop {
            let (event, mark) = self.0.next_token()?;
            if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                return Ok(Value::Object(all));
            }
            let line = mark.line();
            let key = key_text(self.rest_of(event, mark, depth)?).ok_or(YamlError::Key { line })?;
            let value = self.node(depth)?;
            if all.contains_key(&key) {
                let key = key.chars().take(200).collect();
                return Err(YamlError::Twice { line, key });
            }
            all.insert(key, value);
        }
    }
}

/// Returns what a word stands for: itself where it is quoted, or said to be text.
fn scalar(text: String, style: TScalarStyle, tag: Option<Tag>) -> Value {
    let is_own = |tag: &Tag| {
        let known = ["bool", "int", "float", "null"];
        tag.handle == OWN_TAGS && known.contains(&tag.suffix.as_str())
    };
    if style != TScalarStyle::Plain || tag.is_some_and(|tag| !is_own(&tag)) {
        return Value::String(text);
    }
    match Yaml::from_str(&text) {
        Yaml::Integer(number) => Value::Number(Number::from(number)),
        Yaml::Boolean(truth) => Value::Bool(truth),
        Yaml::Null => Value::Null,
        _ => Value::String(text),
    }
}

/// Returns a key as JSON has it.
fn key_text(key: Value) -> Option<String> {
    match key {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_become_values() {
        let text =
            "a: [1, yes, \"0\", 0x10, ~, !!str 7, !!int 8]\nb: {c: 1.0}\n1: x\ntrue:\n- - y\n";
        let expected = json!({
            "a": [1, "yes", "0", 16, null, "7", 8], "b": {"c": "1.0"}, "1": "x", "true": [["y"]],
        });
        assert_eq!(value(text).unwrap(), expected);
        for nothing in ["", "---\n...\n", "# a remark\n"] {
            assert_eq!(value(nothing).unwrap(), Value::Null, "{nothing:?}");
        }
        assert_eq!(value("a: 1\n---\nb: 2\n").unwrap(), json!({"a": 1}));
    }

    #[test]
    fn what_is_no_document_is_refused() {
        for bad in [
            "a: [",
            "a: 1\n---\nb: [",
            "a: 1\na: 2",
            "? [a]\n: b",
            "~: b",
            "*a",
        ] {
            assert!(value(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_small_text_does_not_grow() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let before = format!("*a{}", level - 1);
            let copies = [before.as_str(); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{copies}]\n"));
        }
        let error = value(&text).unwrap_err();
        assert!(matches!(error, YamlError::Alias { line: 1 }), "{error}");
        let error = value("a: 1\nb: *a\n").unwrap_err();
        assert!(!error.to_string().is_empty(), "{error}");
    }

    #[test]
    fn nesting_ends_somewhere() {
        let deep = |levels: usize| format!("{}x\n", "- ".repeat(levels));
        assert!(value(&deep(100)).is_ok());
        let error = value(&deep(100_000)).unwrap_err();
        assert!(matches!(error, YamlError::Deep { line: 1 }), "{error}");
        assert!(value(&"[".repeat(200_000)).is_err());
    }
}
