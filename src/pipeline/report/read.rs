//! Reads the report of a finished output and checks what other code relies on.

use std::path::Path;

use super::Report;
use crate::error::{Error, Result};
use crate::io::tables::Part;
use crate::io::tables::read::read_report as read_any_report;
use crate::pipeline::output::REPORT;
use crate::pipeline::plan::MAX_UNITS;

/// The tables of an output.
const TABLES: [&str; 3] = ["hits", "waveforms", "events"];

impl Report {
    /// Reads the report of a finished output.
    ///
    /// # Errors
    /// If there is none, or this version did not write it.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(REPORT);
        let value = read_any_report(dir)?;
        let report: Self = serde_json::from_value(value).map_err(|error| {
            Error::input(&path, "is not a report of this version of nuwave")
                .with_source(error)
                .with_hint("an earlier version may have written it; make the output again")
        })?;
        let damaged =
            |what: String| Err(Error::input(&path, what).with_hint("the report is damaged"));
        if let Some(input) = report.inputs.iter().find(|input| input.units > MAX_UNITS) {
            return damaged(format!(
                "says that `{}` has {} units",
                input.path, input.units
            ));
        }
        // Files are read, and copied, under these names.
        let is_good = |part: &&Part| {
            let name = part
                .path
                .split_once('/')
                .map(|(table, name)| (TABLES.contains(&table), name));
            name.is_some_and(|(known, name)| {
                known && !name.contains(['/', '\\']) && !name.starts_with('.')
            })
        };
        let parts = report.units.iter().flat_map(|unit| &unit.parts);
        match parts.chain(&report.outputs).find(|part| !is_good(part)) {
            Some(part) => damaged(format!("names a part `{}`", part.path)),
            None => Ok(report),
        }
    }
}
