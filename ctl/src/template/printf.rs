//! `printf` as Go has it: `%s %v %d %q %x %t %f`, with width and precision.

use serde_json::Value;

use super::TemplateError;
use super::functions::{kind, show};

/// Returns `format` with its verbs replaced by `values`.
pub(super) fn format(format: &str, values: &[Value]) -> Result<String, TemplateError> {
    let mut text = String::new();
    let mut values = values.iter();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let (verb, after) = Verb::parse(after)?;
        rest = after;
        if verb.letter == '%' {
            text.push('%');
            continue;
        }
        let value = values.next().ok_or_else(|| unfit(verb.letter, "nothing"))?;
        text.push_str(&verb.apply(value)?);
    }
    text.push_str(rest);
    match values.next() {
        Some(extra) => Err(TemplateError::Argument {
            name: "printf".into(),
            found: format!("{} too many", kind(extra)),
        }),
        None => Ok(text),
    }
}

fn unfit(letter: char, found: &str) -> TemplateError {
    TemplateError::Argument {
        name: format!("printf's %{letter}"),
        found: found.into(),
    }
}

struct Verb {
    left: bool,
    zeros: bool,
    width: usize,
    precision: Option<usize>,
    letter: char,
}

/// More than any terminal has; a larger number is a slip that would eat memory.
const MAX_WIDTH: usize = 1000;

impl Verb {
    /// Reads a verb behind its `%`, and returns what follows.
    fn parse(text: &str) -> Result<(Self, &str), TemplateError> {
        let flags = text.len() - text.trim_start_matches(['-', '0', '+', ' ', '#']).len();
        let (width, rest) = digits(&text[flags..]);
        let (precision, rest) = match rest.strip_prefix('.') {
            Some(rest) => {
                let (precision, rest) = digits(rest);
                (Some(precision.unwrap_or(0)), rest)
            }
            None => (None, rest),
        };
        let Some(letter) = rest.chars().next() else {
            return Err(unfit(' ', "its format"));
        };
        let flags = &text[..flags];
        let verb = Self {
            left: flags.contains('-'),
            zeros: flags.contains('0') && !flags.contains('-'),
            width: width.unwrap_or(0).min(MAX_WIDTH),
            precision: precision.map(|precision| precision.min(MAX_WIDTH)),
            letter,
        };
        Ok((verb, &rest[letter.len_utf8()..]))
    }

    fn apply(&self, value: &Value) -> Result<String, TemplateError> {
        let misfit = || unfit(self.letter, &kind(value));
        let text = match self.letter {
            'v' => show(value),
            's' => match (value, self.precision) {
                (Value::Number(_) | Value::Bool(_), _) => return Err(misfit()),
                (_, Some(precision)) => show(value).chars().take(precision).collect(),
                (_, None) => show(value),
            },
            'q' => format!("{:?}", value.as_str().ok_or_else(misfit)?),
            't' => value.as_bool().ok_or_else(misfit)?.to_string(),
            'd' if !value.is_f64() && value.is_number() => show(value),
            'x' => match value {
                Value::String(text) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
                _ => format!("{:x}", value.as_i64().ok_or_else(misfit)?),
            },
            'f' => format!(
                "{:.*}",
                self.precision.unwrap_or(6),
                value.as_f64().ok_or_else(misfit)?
            ),
            _ => return Err(misfit()),
        };
        let width = self.width;
        Ok(match (self.left, self.zeros && value.is_number()) {
            (true, _) => format!("{text:<width$}"),
            (_, true) => format!("{text:0>width$}"),
            _ => format!("{text:>width$}"),
        })
    }
}

fn digits(text: &str) -> (Option<usize>, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    (text[..end].parse().ok(), &text[end..])
}
