//! A table of text with aligned columns.

use std::fmt::Write as _;

/// A line of a table: a name and one cell per column; a heading has no cells.
pub(crate) type Row = (String, Option<Vec<String>>);

/// Cells wider than this do not widen their column: they push the rest of their own line aside.
const MAX_CELL_WIDTH: usize = 40;

/// Appends `rows` below a line with `labels`; the column of names is at least `name_width` wide. Cells begin at the left edge of
/// their column, next to the names.
pub(crate) fn append_table(text: &mut String, name_width: usize, labels: &[&str], rows: &[Row]) {
    let widths: Vec<usize> = labels
        .iter()
        .enumerate()
        .map(|(column, label)| {
            let cells = rows
                .iter()
                .filter_map(|(_, cells)| cells.as_ref()?.get(column));
            let usual = cells
                .map(|cell| cell.chars().count())
                .filter(|width| *width <= MAX_CELL_WIDTH);
            usual.max().unwrap_or(0).max(label.chars().count())
        })
        .collect();
    let longest = rows
        .iter()
        .filter(|(_, cells)| cells.is_some())
        .map(|(name, _)| name.chars().count() + 2)
        .max();
    let name_width = longest.unwrap_or(0).max(name_width);
    let mut append = |name: &str, cells: &[&str]| {
        let mut line = format!("{name:name_width$}");
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(line, "  {cell:width$}");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    append("", labels);
    for (name, cells) in rows {
        match cells {
            Some(cells) => {
                let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
                append(&format!("  {name}"), &cells);
            }
            None => append(&format!("\n{name}"), &[]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_next_to_their_names_whatever_a_long_cell_says() {
        let row = |name: &str, cells: [&str; 2]| {
            let cells = cells.map(str::to_owned).to_vec();
            (name.to_owned(), Some(cells))
        };
        let long = "no fit: one group of energy with a resolution, and a fit needs four";
        let rows = [
            ("Heading".to_owned(), None),
            row("events", ["120", "7"]),
            row("chi2", [long, "3.1 / 4"]),
        ];
        let mut text = String::new();
        append_table(&mut text, 10, &["first", "second"], &rows);
        let expected = format!(
            "            first  second\n\nHeading\n  events    120    7\n  chi2      {long}  3.1 / 4\n"
        );
        assert_eq!(text, expected);
    }
}
