//! The functions of templates: Go's own and docker's.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::Value;

use super::TemplateError;
use super::printf;

type Result<T> = std::result::Result<T, TemplateError>;

/// Names of all functions.
pub(super) const NAMES: [&str; 25] = [
    "and", "eq", "ge", "gt", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not",
    "or", "pad", "print", "printf", "println", "slice", "split", "title", "trim", "truncate",
    "upper", "default",
];

/// Calls function `name`. `and` and `or` are the evaluator's, as they stop early.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value> {
    if !NAMES.contains(&name) {
        return Err(TemplateError::UnknownFunction { name: name.into() });
    }
    match (name, arguments) {
        ("json", [value]) => Ok(json(value).into()),
        ("len", [value]) => length(value),
        ("index", [value, keys @ ..]) => keys
            .iter()
            .try_fold(value.clone(), |value, key| index(&value, key)),
        ("slice", [value, bounds @ ..]) => slice(value, bounds),
        ("not", [value]) => Ok((!truth(value)).into()),
        ("eq", [first, others @ ..]) if !others.is_empty() => {
            Ok(others.iter().any(|other| equal(first, other)).into())
        }
        ("ne", [a, b]) => Ok((!equal(a, b)).into()),
        ("lt" | "le" | "gt" | "ge", [a, b]) => compare(name, a, b),
        ("print", values) => Ok(values.iter().map(show).collect::<String>().into()),
        ("println", values) => Ok(format!("{}\n", spaced(values)).into()),
        ("printf", [Value::String(format), values @ ..]) => {
            printf::format(format, values).map(Into::into)
        }
        ("join", [Value::Array(items), Value::String(separator)]) => Ok(items
            .iter()
            .map(show)
            .collect::<Vec<_>>()
            .join(separator)
            .into()),
        // A list that is absent joins to nothing.
        ("join", [Value::Null, Value::String(_)]) => Ok("".into()),
        (_, [Value::String(text), rest @ ..]) => text_function(name, text, rest),
        _ => Err(unfit(name, arguments)),
    }
}

fn text_function(name: &str, text: &str, rest: &[Value]) -> Result<Value> {
    let number = |value: &Value| {
        value
            .as_u64()
            .and_then(|number| usize::try_from(number).ok())
    };
    match (name, rest) {
        ("upper", []) => Ok(text.to_uppercase().into()),
        ("lower", []) => Ok(text.to_lowercase().into()),
        ("title", []) => Ok(title(text).into()),
        ("trim", []) => Ok(text.trim().into()),
        ("default", [Value::String(value)]) => {
            Ok(if value.is_empty() { text } else { value }.into())
        }
        ("split", [Value::String(separator)]) => Ok(text.split(separator.as_str()).collect()),
        ("truncate", [length]) if number(length).is_some() => Ok(text
            .chars()
            .take(number(length).unwrap_or(0))
            .collect::<String>()
            .into()),
        ("pad", [before, after]) if number(before).is_some() && number(after).is_some() => {
            let blanks = |value| " ".repeat(number(value).unwrap_or(0));
            let text = if text.is_empty() {
                String::new()
            } else {
                blanks(before) + text + &blanks(after)
            };
            Ok(text.into())
        }
        _ => {
            let mut arguments = vec![text.into()];
            arguments.extend_from_slice(rest);
            Err(unfit(name, &arguments))
        }
    }
}

fn unfit(name: &str, arguments: &[Value]) -> TemplateError {
    let kinds: Vec<_> = arguments.iter().map(kind).collect();
    let found = if kinds.is_empty() {
        "nothing".to_owned()
    } else {
        kinds.join(" and ")
    };
    TemplateError::Argument {
        name: name.into(),
        found,
    }
}

/// Returns the word for the kind of a value.
pub(super) fn kind(value: &Value) -> String {
    let word = match value {
        Value::Null => "nil",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    };
    word.into()
}

/// Tells whether `if` takes the value for true: all do but the empty ones.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// Returns a value as Go prints it.
pub(super) fn show(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", spaced(items)),
        Value::Object(map) => {
            let map: BTreeMap<_, _> = map.iter().collect();
            let entries: Vec<_> = map
                .into_iter()
                .map(|(key, value)| format!("{key}:{}", show(value)))
                .collect();
            format!("map[{}]", entries.join(" "))
        }
    }
}

fn spaced(values: &[Value]) -> String {
    values.iter().map(show).collect::<Vec<_>>().join(" ")
}

fn json(value: &Value) -> String {
    value.to_string()
}

fn length(value: &Value) -> Result<Value> {
    match value {
        Value::Null => Ok(0.into()),
        Value::String(text) => Ok(text.len().into()),
        Value::Array(items) => Ok(items.len().into()),
        Value::Object(map) => Ok(map.len().into()),
        Value::Bool(_) | Value::Number(_) => Err(unfit("len", std::slice::from_ref(value))),
    }
}

fn index(value: &Value, key: &Value) -> Result<Value> {
    match (value, key) {
        (Value::Array(items), Value::Number(number)) => {
            let at = number.as_u64().and_then(|at| usize::try_from(at).ok());
            at.and_then(|at| items.get(at))
                .cloned()
                .ok_or_else(|| TemplateError::OutOfRange {
                    index: number.to_string(),
                    length: items.len(),
                })
        }
        // Labels and the like are maps of strings, in which Go finds an empty one.
        (Value::Object(map), Value::String(key)) => {
            Ok(map.get(key).cloned().unwrap_or_else(|| {
                if map.values().all(Value::is_string) {
                    "".into()
                } else {
                    Value::Null
                }
            }))
        }
        (Value::Null, Value::String(_)) => Ok("".into()),
        _ => Err(unfit("index", &[value.clone(), key.clone()])),
    }
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value> {
    let length = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        _ => return Err(unfit("slice", std::slice::from_ref(value))),
    };
    let bound = |at: usize, or: usize| match bounds.get(at) {
        None => Some(or),
        Some(bound) => bound.as_u64().and_then(|bound| usize::try_from(bound).ok()),
    };
    let cut = bound(0, 0)
        .zip(bound(1, length))
        .and_then(|(from, to)| match value {
            Value::String(text) => text.get(from..to).map(Into::into),
            Value::Array(items) => items
                .get(from..to)
                .map(|items| Value::Array(items.to_vec())),
            _ => None,
        });
    cut.ok_or_else(|| TemplateError::OutOfRange {
        index: spaced(bounds),
        length,
    })
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

fn compare(name: &str, a: &Value, b: &Value) -> Result<Value> {
    let order = match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64().partial_cmp(&b.as_f64()),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    };
    let order = order.ok_or_else(|| unfit(name, &[a.clone(), b.clone()]))?;
    let truth = match name {
        "lt" => order == Ordering::Less,
        "le" => order != Ordering::Greater,
        "gt" => order == Ordering::Greater,
        _ => order != Ordering::Less,
    };
    Ok(truth.into())
}

fn title(text: &str) -> String {
    let mut starts = true;
    let raise = |c: char| {
        let raised = if starts {
            c.to_uppercase().next().unwrap_or(c)
        } else {
            c
        };
        starts = !c.is_alphanumeric();
        raised
    };
    text.chars().map(raise).collect()
}
