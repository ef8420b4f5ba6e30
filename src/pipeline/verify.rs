//! Checks a finished output against its report and its inputs.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use super::output::REPORT;
use super::plan::Unit;
use super::record::{RangeChecksum, UnitRecord, UnitReport};
use super::report::Report;
use crate::error::{Error, Result};
use crate::io;
use crate::io::tables::checksum;
use crate::io::tables::read::{stream_hits, stream_waveforms};
use crate::model::Flags;

/// A failed check.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The file, the unit or the input.
    pub place: String,
    /// The description.
    pub what: String,
}

/// Checks the output in `dir`: the files are those of the report, byte for byte; every unit is there once; rows and sums are those
/// reported; every waveform and every event is there once; and, `with_inputs`, the inputs are unchanged. Returns the report and the
/// failed checks.
///
/// # Errors
/// If there is no report, or a file cannot be read.
pub fn verify(dir: &Path, with_inputs: bool) -> Result<(Report, Vec<Finding>)> {
    let report = Report::read(dir)?;
    let mut check = Check {
        dir,
        report: &report,
        findings: Vec::new(),
    };
    check.files()?;
    check.units();
    check.totals();
    // Rows are checked only if the files are unchanged.
    if check.findings.is_empty() {
        check.rows()?;
    }
    if with_inputs {
        check.inputs();
    }
    let findings = check.findings;
    Ok((report, findings))
}

struct Check<'a> {
    dir: &'a Path,
    report: &'a Report,
    findings: Vec<Finding>,
}

impl Check<'_> {
    fn find(&mut self, place: impl Into<String>, what: impl Into<String>) {
        self.findings.push(Finding {
            place: place.into(),
            what: what.into(),
        });
    }

    /// Checks that the files in the folder are those of the report.
    fn files(&mut self) -> Result<()> {
        let mut expected: BTreeSet<String> = BTreeSet::from([REPORT.to_owned()]);
        for part in &self.report.outputs {
            if !expected.insert(part.path.clone()) {
                self.find(part.path.clone(), "is listed twice in the report");
            }
            match checksum(&self.dir.join(&part.path)) {
                Err(error) => self.find(part.path.clone(), format!("cannot be read: {error}")),
                Ok(found) if found != (part.bytes, part.crc32c.clone()) => self.find(
                    part.path.clone(),
                    format!(
                        "has {} bytes with CRC32C {}, the report says {} and {}",
                        found.0, found.1, part.bytes, part.crc32c
                    ),
                ),
                Ok(_) => {}
            }
        }
        for entry in walkdir::WalkDir::new(self.dir).sort_by_file_name() {
            let entry = entry
                .map_err(|error| Error::input(self.dir, "cannot be read").with_source(error))?;
            let name = entry.path().strip_prefix(self.dir).unwrap_or(entry.path());
            let name = name.to_string_lossy().replace('\\', "/");
            if !entry.file_type().is_dir() && !expected.contains(&name) {
                self.find(name, "is not in the report");
            }
        }
        Ok(())
    }

    /// Checks that every unit of the selection is there once, and no other.
    fn units(&mut self) {
        let expected = match self.report.manifest().units() {
            Ok(units) => units,
            Err(error) => return self.find(REPORT, error.reason()),
        };
        let found: Vec<Unit> = self.report.records().iter().map(UnitRecord::unit).collect();
        if found != expected {
            let missing = expected.iter().find(|unit| !found.contains(unit));
            let what = missing.map_or_else(
                || "there are duplicate units, or units that do not belong there".to_owned(),
                |unit| format!("unit {unit} is missing"),
            );
            self.find(REPORT, what);
        }
        let of_units: Vec<_> = self
            .report
            .units
            .iter()
            .flat_map(|unit| &unit.parts)
            .collect();
        if of_units != self.report.outputs.iter().collect::<Vec<_>>() {
            self.find(REPORT, "the parts of the units are not those of the output");
        }
    }

    /// Checks that the sums are those of the units, and that every waveform of an input is in the output or lost.
    fn totals(&mut self) {
        let report = self.report;
        let sum = |of: fn(&UnitReport) -> u64| report.units.iter().map(of).sum::<u64>();
        let unusable = report
            .inputs
            .iter()
            .filter(|input| input.cut.is_some())
            .count() as u64;
        for (what, said, is) in [
            (
                "waveforms",
                report.totals.waveforms,
                sum(|unit| unit.waveforms),
            ),
            ("hits", report.totals.hits, sum(|unit| unit.hits)),
            ("lost", report.totals.lost, sum(|unit| unit.lost) + unusable),
            ("empty", report.totals.empty, sum(|unit| unit.empty)),
        ] {
            if said != is {
                self.find(REPORT, format!("says {said} {what}, the units have {is}"));
            }
        }
        for input in &report.inputs {
            let here = report
                .units
                .iter()
                .filter(|unit| unit.input_id == input.input_id);
            let whole = here.count() as u64 == u64::from(input.units);
            let accounted = if report.from == "hits" {
                input.hits
            } else {
                input.waveforms + input.lost
            };
            let is_counted = whole && input.cut.is_none() && input.lost_unknown == 0;
            if let Some(rows) = input.rows.filter(|&rows| is_counted && rows > accounted) {
                self.find(
                    input.path.clone(),
                    format!("has {rows} rows, of which {accounted} are in the output or lost"),
                );
            }
        }
    }

    /// Checks that tables have the reported number of rows, and that every waveform and event is there once.
    fn rows(&mut self) -> Result<()> {
        let report = self.report;
        for unit in &report.units {
            let name = format!("unit {:05}-{:05}", unit.input_id, unit.block);
            let part = |table: &str| {
                let path = unit.parts.iter().map(|part| &part.path);
                path.filter(|path| path.starts_with(table))
                    .map(|path| self.dir.join(path))
                    .next()
            };
            let mut found: Vec<String> = Vec::new();
            let mut of_waveforms: BTreeSet<u64> = BTreeSet::new();
            if let (Some(hits), Some(waveforms)) = (part("hits/"), part("waveforms/")) {
                let mut seen: HashSet<(u64, u32)> = HashSet::new();
                let (mut n_rows, mut n_hits, mut n_again, mut n_flagged) =
                    (0_u64, 0_u64, 0_u64, 0_u64);
                stream_waveforms(&waveforms, |rows| {
                    n_rows += rows.len() as u64;
                    n_hits += rows.n_hits.iter().map(|&n| u64::from(n)).sum::<u64>();
                    for ((&event, &channel), flags) in
                        rows.event_id.iter().zip(&rows.channel_id).zip(&rows.flags)
                    {
                        of_waveforms.insert(event);
                        n_again += u64::from(!seen.insert((event, channel)));
                        n_flagged += u64::from(flags.contains(Flags::REPEATED));
                    }
                    if rows.input_id.iter().any(|&id| id != unit.input_id) {
                        found.push("has rows of another input".to_owned());
                    }
                    Ok(())
                })?;
                let mut n_rows_of_hits = 0_u64;
                stream_hits(&hits, |rows| {
                    n_rows_of_hits += rows.len() as u64;
                    Ok(())
                })?;
                for (what, said, is) in [
                    ("waveforms", unit.waveforms, n_rows),
                    ("hits", unit.hits, n_hits),
                    ("rows of hits", unit.hits, n_rows_of_hits),
                ] {
                    if said != is {
                        found.push(format!("has {is} {what}, the report says {said}"));
                    }
                }
                if n_flagged > n_again {
                    found.push(format!(
                        "{n_flagged} waveforms are flagged as repeated, {n_again} are"
                    ));
                }
            }
            if let (Some(events), Some(said)) = (part("events/"), &unit.events) {
                let rows = io::tables::events::read(&events)?;
                let ids: BTreeSet<u64> = rows.iter().map(|(_, event)| event.event_id).collect();
                if rows.len() as u64 != said.events || ids.len() != rows.len() {
                    found.push(format!(
                        "has {} rows of {} events, the report says {}",
                        rows.len(),
                        ids.len(),
                        said.events
                    ));
                }
                if report.from == "waveforms" && ids != of_waveforms {
                    found.push("has other events than those of its waveforms".to_owned());
                }
            }
            for what in found {
                self.find(name.clone(), what);
            }
        }
        self.events_once();
        Ok(())
    }

    /// Checks that no event is in two units.
    fn events_once(&mut self) {
        let mut before: BTreeMap<u32, u64> = BTreeMap::new();
        for unit in self
            .report
            .units
            .iter()
            .filter(|unit| unit.events.is_some())
        {
            let Some((least, greatest)) = unit.event_ids else {
                continue;
            };
            if before.insert(unit.input_id, greatest) >= Some(least) {
                let place = format!("unit {:05}-{:05}", unit.input_id, unit.block);
                self.find(
                    place,
                    format!("event {least} or a later one is in an earlier unit as well"),
                );
            }
        }
    }

    /// Checks that the inputs are unchanged.
    fn inputs(&mut self) {
        let mut findings = Vec::new();
        for input in &self.report.inputs {
            let mut find = |what: String| findings.push((input.path.clone(), what));
            if input.cut.is_some() {
                continue;
            }
            let path = Path::new(&input.path);
            let metadata = match std::fs::metadata(path) {
                Ok(metadata) => metadata,
                Err(error) => {
                    find(format!("the input cannot be read: {error}"));
                    continue;
                }
            };
            if !metadata.is_dir() && metadata.len() != input.bytes {
                find(format!(
                    "the input has {} bytes, it had {}",
                    metadata.len(),
                    input.bytes
                ));
                continue;
            }
            let of_input = self
                .report
                .units
                .iter()
                .filter(|unit| unit.input_id == input.input_id);
            for sum in of_input.filter_map(|unit| unit.read.as_ref()) {
                match RangeChecksum::from_file(path, sum.first..sum.end) {
                    Ok(now) if now == *sum => {}
                    Ok(_) => find(format!(
                        "the input has changed: bytes {} to {} differ",
                        sum.first, sum.end
                    )),
                    Err(error) => find(error.reason()),
                }
            }
            if self.report.from == "hits"
                && let Some(said) = &input.crc32c
            {
                match io::tables::path_checksum(path) {
                    Ok((_, now)) if now == *said => {}
                    Ok(_) => find("the input has changed: its checksum differs".to_owned()),
                    Err(error) => find(format!("the input cannot be read: {error}")),
                }
            }
        }
        for (place, what) in findings {
            self.find(place, what);
        }
    }
}
