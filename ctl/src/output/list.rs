//! Lists of things: as a table, as JSON, or by a template.

use serde_json::{Map, Value};

use super::{Output, Table};
use crate::error::CommandError;
use crate::template::{Methods, Template};

/// A field that a list can show, and its heading.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) field: &'static str,
    pub(crate) heading: &'static str,
}

/// One thing of a list: its fields, all of them, and its labels.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) fields: Value,
    pub(crate) labels: std::collections::HashMap<String, String>,
}

impl Methods for Row {
    fn call(&self, name: &str, argument: &str) -> Option<Value> {
        (name == "Label").then(|| {
            self.labels
                .get(argument)
                .cloned()
                .unwrap_or_default()
                .into()
        })
    }
}

/// The headings, over which a template goes for a table's first line.
struct Headings;

impl Methods for Headings {
    fn call(&self, name: &str, argument: &str) -> Option<Value> {
        (name == "Label").then(|| argument.into())
    }
}

/// How a list is shown.
#[derive(Debug)]
pub(crate) enum Format {
    Table,
    Json,
    Template(Template),
    TableOf(Template),
}

impl Format {
    /// Reads what `--format` was given: `table`, `json`, `table TEMPLATE` or a template.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, CommandError> {
        let template = |text: &str| {
            // In a shell's quotes these stay two characters.
            Template::parse(&text.trim().replace("\\t", "\t").replace("\\n", "\n"))
        };
        match text.map(str::trim) {
            None | Some("" | "table") => Ok(Self::Table),
            Some("json") => Ok(Self::Json),
            Some(text) => match text.strip_prefix("table") {
                Some(text) if text.starts_with([' ', '{']) => Ok(Self::TableOf(template(text)?)),
                _ => Ok(Self::Template(template(text)?)),
            },
        }
    }
}

impl Output {
    /// Writes a list. `columns` are those of the plain table, `all` those a template may name.
    pub(crate) fn list(
        &mut self,
        format: &Format,
        columns: &[Column],
        all: &[Column],
        rows: &[Row],
    ) -> Result<(), CommandError> {
        match format {
            Format::Table => {
                let mut table = Table::default();
                table.row(columns.iter().map(|column| column.heading));
                for row in rows {
                    table.row(columns.iter().map(|column| text(&row.fields, column.field)));
                }
                self.table(&table)?;
            }
            Format::TableOf(template) => {
                let mut table = Table::default();
                table.tabbed(&template.render(&headings(all), &Headings)?);
                for row in rows {
                    table.tabbed(&template.render(&row.fields, row)?);
                }
                self.table(&table)?;
            }
            Format::Json => {
                for row in rows {
                    self.line(row.fields.to_string())?;
                }
            }
            Format::Template(template) => {
                for row in rows {
                    self.line(template.render(&row.fields, row)?)?;
                }
            }
        }
        Ok(())
    }
}

fn headings(all: &[Column]) -> Value {
    let headings = all
        .iter()
        .map(|column| (column.field.to_owned(), column.heading.into()));
    Value::Object(headings.collect::<Map<_, _>>())
}

fn text(fields: &Value, field: &str) -> String {
    fields
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}
