//! Text in columns.

use std::fmt;

const MIN_WIDTH: usize = 10;
const GAP: usize = 3;

/// Rows whose cells stand below each other, padded as docker pads them.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Adds a row.
    pub(crate) fn row<C: Into<String>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Adds rows of text whose cells are divided by tabs.
    pub(crate) fn tabbed(&mut self, text: &str) {
        for line in text.split('\n') {
            self.row(line.split('\t'));
        }
    }

    /// Returns the width of each column but a row's last, which nothing follows.
    fn widths(&self) -> Vec<usize> {
        let mut widths = Vec::new();
        for row in &self.rows {
            for (index, cell) in row.iter().enumerate().take(row.len().saturating_sub(1)) {
                let width = (cell.chars().count() + GAP).max(MIN_WIDTH);
                match widths.get_mut(index) {
                    Some(known) => width.max(*known).clone_into(known),
                    None => widths.push(width),
                }
            }
        }
        widths
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for row in &self.rows {
            for (index, cell) in row.iter().enumerate() {
                if index + 1 == row.len() {
                    f.write_str(cell)?;
                } else {
                    let width = widths.get(index).copied().unwrap_or(MIN_WIDTH);
                    write!(f, "{cell:width$}")?;
                }
            }
            f.write_str("\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_ten_wide_or_three_more_than_their_widest_cell() {
        let mut table = Table::default();
        table.row(["IMAGE", "COMMAND", "NAMES"]);
        table.tabbed("alpine\t\"sleep 1000000\"\tweb");
        let expected = "IMAGE     COMMAND           NAMES\nalpine    \"sleep 1000000\"   web\n";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn a_single_column_is_not_padded() {
        let mut table = Table::default();
        table.row(["a"]);
        assert_eq!(table.to_string(), "a\n");
    }
}
