//! The figures, as an aligned table and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::peer::Peer;

/// Which way a figure is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Better {
    Lower,
    Higher,
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure<'a> {
    group: &'a str,
    label: &'a str,
    unit: &'static str,
    better: Better,
}

impl<'a> Figure<'a> {
    /// Returns a figure that is better the lower it is.
    pub(crate) fn lower(group: &'a str, label: &'a str, unit: &'static str) -> Self {
        Self {
            group,
            label,
            unit,
            better: Better::Lower,
        }
    }

    /// Returns a figure that is better the higher it is.
    pub(crate) fn higher(group: &'a str, label: &'a str, unit: &'static str) -> Self {
        Self {
            group,
            label,
            unit,
            better: Better::Higher,
        }
    }
}

#[derive(Debug)]
struct Row {
    title: String,
    label: String,
    unit: &'static str,
    better: Better,
    values: Vec<Option<f64>>,
}

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Report {
    baseline: String,
    peers: Vec<(String, Vec<String>)>,
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Report {
    /// Returns a report without figures.
    pub(crate) fn new(baseline: String, peers: &[Peer]) -> Self {
        let peers = peers
            .iter()
            .map(|peer| (peer.name.clone(), peer.versions.clone()))
            .collect();
        Self {
            baseline,
            peers,
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds one figure of one peer.
    pub(crate) fn add(&mut self, figure: &Figure<'_>, peer: &str, value: f64) {
        let Some(column) = self.peers.iter().position(|(name, _)| name == peer) else {
            return;
        };
        let known = self
            .rows
            .iter()
            .position(|row| row.title == figure.group && row.label == figure.label);
        let index = known.unwrap_or_else(|| {
            let values = vec![None; self.peers.len()];
            self.rows.push(Row {
                title: figure.group.to_owned(),
                label: figure.label.to_owned(),
                unit: figure.unit,
                better: figure.better,
                values,
            });
            self.rows.len() - 1
        });
        if let Some(slot) = self
            .rows
            .get_mut(index)
            .and_then(|row| row.values.get_mut(column))
        {
            *slot = Some(value);
        }
    }

    /// Adds a line below the table.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Returns the table. A figure is followed by how many times better it is than the baseline's.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        for (name, versions) in &self.peers {
            let _ = writeln!(text, "{name}: {}", versions.join(", "));
        }
        let _ = writeln!(
            text,
            "In brackets: how many times better than {}.",
            self.baseline
        );
        let mut title = "";
        for row in &self.rows {
            if row.title != title {
                title = &row.title;
                let _ = write!(text, "\n{title:<46}");
                for (name, _) in &self.peers {
                    let _ = write!(text, " {name:>20}");
                }
                text.push('\n');
            }
            let _ = write!(text, "  {:<38} {:<5}", row.label, row.unit);
            for (column, value) in row.values.iter().enumerate() {
                let _ = write!(text, " {:>20}", self.cell(row, column, *value));
            }
            text.push('\n');
        }
        for note in &self.notes {
            let _ = writeln!(text, "\n{note}");
        }
        text
    }

    /// Returns the figures as JSON.
    pub(crate) fn json(&self) -> String {
        let versions: Value = self
            .peers
            .iter()
            .map(|(name, versions)| (name.clone(), json!(versions)))
            .collect();
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let values: Value = self
                    .peers
                    .iter()
                    .zip(&row.values)
                    .filter_map(|((name, _), value)| Some((name.clone(), json!((*value)?))))
                    .collect();
                json!({"group": row.title, "measure": row.label, "unit": row.unit, "values": values})
            })
            .collect();
        let all = json!({"baseline": self.baseline, "versions": versions, "figures": rows, "notes": self.notes});
        format!("{all:#}\n")
    }

    fn cell(&self, row: &Row, column: usize, value: Option<f64>) -> String {
        let Some(value) = value else {
            return "-".to_owned();
        };
        let digits = if value < 10.0 { 2 } else { 1 };
        let base = self
            .peers
            .iter()
            .position(|(name, _)| *name == self.baseline);
        let Some(base) = base
            .filter(|base| *base != column)
            .and_then(|base| row.values.get(base).copied().flatten())
        else {
            return format!("{value:.digits$}        ");
        };
        let ratio = match row.better {
            Better::Lower => base / value,
            Better::Higher => value / base,
        };
        if ratio.is_finite() {
            format!("{value:.digits$} ({ratio:>5.1})")
        } else {
            format!("{value:.digits$}        ")
        }
    }
}
