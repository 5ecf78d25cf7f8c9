//! Templates in the language of Go's `text/template`, as `--format` takes them.
//!
//! Owns: the part of the language that people use with docker, over JSON values:
//! fields, variables, pipelines, `if`, `range`, `with`, and docker's functions.
//! Does not: know what is shown. Unlike Go, a field that does not exist is
//! always an error, and it says which ones do.
//! Start reading at [`Template`]; `lexer` -> `parser` -> `eval`.

mod eval;
mod functions;
mod lexer;
mod parser;
mod printf;
#[cfg(test)]
mod tests;

use serde_json::Value;

use self::parser::Node;

/// Why a template cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum TemplateError {
    #[error("`{{{{` at column {column} has no `}}}}`")]
    Unclosed { column: usize },
    #[error("{found} at column {column} is not understood here")]
    Syntax { found: String, column: usize },
    #[error("{word} is not closed by `{{{{end}}}}`")]
    MissingEnd { word: &'static str },
    #[error("there is no function {name}")]
    UnknownFunction { name: String },
    #[error("there is no variable ${name}")]
    UnknownVariable { name: String },
    #[error("there is no field {name} in {place}")]
    UnknownField {
        name: String,
        place: String,
        known: Vec<String>,
    },
    #[error("{name} does not take {found}")]
    Argument { name: String, found: String },
    #[error("index {index} is outside of a list of {length}")]
    OutOfRange { index: String, length: usize },
}

impl TemplateError {
    /// Returns what would have been understood.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::UnknownField { known, .. } if !known.is_empty() => {
                format!("fields here: {}", known.join(" "))
            }
            Self::UnknownFunction { .. } => {
                format!("functions: {}", functions::NAMES.join(" "))
            }
            _ => "a template is as in '{{.Names}}'; `--format json` shows every field".into(),
        }
    }
}

/// A template, ready to be filled.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    nodes: Vec<Node>,
}

/// What a template can call on the value it is given, as in `{{.Label "role"}}`.
pub(crate) trait Methods {
    /// Returns the result of the method, or nothing if there is none of that name.
    fn call(&self, name: &str, argument: &str) -> Option<Value>;
}

/// No methods.
impl Methods for () {
    fn call(&self, _: &str, _: &str) -> Option<Value> {
        None
    }
}

impl Template {
    /// Reads a template.
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        Ok(Self {
            nodes: parser::parse(lexer::lex(text)?)?,
        })
    }

    /// Returns the template filled with `value`.
    pub(crate) fn render(
        &self,
        value: &Value,
        methods: &dyn Methods,
    ) -> Result<String, TemplateError> {
        eval::render(&self.nodes, value, methods)
    }
}
