//! A table of text with aligned columns.

use std::fmt::Write as _;

/// A line of a table: a name and one cell per column; a heading has no cells.
pub(crate) type Row = (String, Option<Vec<String>>);

/// Appends `rows` below a line with `labels`; the column of names is at least `name_width` wide.
pub(crate) fn append_table(text: &mut String, name_width: usize, labels: &[&str], rows: &[Row]) {
    let widths: Vec<usize> = labels
        .iter()
        .enumerate()
        .map(|(column, label)| {
            let cells = rows
                .iter()
                .filter_map(|(_, cells)| cells.as_ref()?.get(column));
            let widest = cells.map(|cell| cell.chars().count()).max();
            widest.unwrap_or(0).max(label.chars().count())
        })
        .collect();
    let longest = rows
        .iter()
        .filter(|(_, cells)| cells.is_some())
        .map(|(name, _)| name.chars().count() + 2)
        .max();
    let name_width = longest.unwrap_or(0).max(name_width);
    let _ = write!(text, "{:name_width$}", "");
    for (label, width) in labels.iter().zip(&widths) {
        let _ = write!(text, "  {label:>width$}");
    }
    text.push('\n');
    for (name, cells) in rows {
        let Some(cells) = cells else {
            let _ = writeln!(text, "\n{name}");
            continue;
        };
        let _ = write!(text, "  {name:width$}", width = name_width - 2);
        for (cell, width) in cells.iter().zip(&widths) {
            let _ = write!(text, "  {cell:>width$}");
        }
        text.push('\n');
    }
}
