//! YAML as the values that JSON has.

use serde_json::{Map, Number, Value};
use yaml_rust2::{ScanError, Yaml, YamlLoader};

/// Reads the first document; nothing is `null`, and so is what JSON has no word for.
pub(crate) fn value(text: &str) -> Result<Value, ScanError> {
    let documents = YamlLoader::load_from_str(text)?;
    Ok(documents.into_iter().next().map_or(Value::Null, of))
}

fn of(yaml: Yaml) -> Value {
    match yaml {
        Yaml::Real(text) => Value::String(text),
        Yaml::Integer(number) => Value::Number(Number::from(number)),
        Yaml::String(text) => Value::String(text),
        Yaml::Boolean(truth) => Value::Bool(truth),
        Yaml::Array(all) => Value::Array(all.into_iter().map(of).collect()),
        Yaml::Hash(all) => {
            let entry = |(key, value)| Some((key_text(key)?, of(value)));
            Value::Object(all.into_iter().filter_map(entry).collect::<Map<_, _>>())
        }
        Yaml::Alias(_) | Yaml::Null | Yaml::BadValue => Value::Null,
    }
}

/// Returns a key as JSON has it; `None` for lists and the like, which no specification has.
fn key_text(key: Yaml) -> Option<String> {
    match key {
        Yaml::String(text) | Yaml::Real(text) => Some(text),
        Yaml::Integer(number) => Some(number.to_string()),
        Yaml::Boolean(truth) => Some(truth.to_string()),
        Yaml::Array(_) | Yaml::Hash(_) | Yaml::Alias(_) | Yaml::Null | Yaml::BadValue => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn documents_become_values() {
        let text = "a: [1, yes, \"0\", 0x10, ~]\nb: {c: 1.0}\n1: x\n";
        let expected = json!({"a": [1, "yes", "0", 16, null], "b": {"c": "1.0"}, "1": "x"});
        assert_eq!(value(text).unwrap(), expected);
        assert_eq!(value("").unwrap(), Value::Null);
        assert!(value("a: [").is_err());
    }
}
