//! Reads the output of `nuwave reconstruct`: the tables `DIR/hits` and `DIR/waveforms`, and `DIR/report.json`.
//!
//! [`read`] holds a whole folder in memory, column by column: about 28 bytes per hit and 40 per waveform.
//! [`stream_hits`] and [`stream_waveforms`] read a table part by part and need less.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int32Type, Int64Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use parquet::arrow::ProjectionMask;

use crate::error::{Error, Hint, Result};
use crate::io::catch_panic::guarded;
use crate::io::parquet_file::open_file;
use crate::model::{Flags, HitTable, Reconstruction, WaveformTable};

/// The ending of the folder with the unfinished units of an output, and what it holds: a manifest and a folder of records.
pub(crate) const PARTIAL: &str = ".partial";
pub(crate) const MANIFEST: &str = "manifest.json";
pub(crate) const UNITS: &str = "units";
/// The tables of an output.
const TABLES: [&str; 3] = ["hits", "waveforms", "events"];
/// The number of output folders that an error names.
const MAX_NAMED: usize = 3;

/// Reads a whole output folder: the report, all hits and all waveforms.
///
/// # Errors
/// If the folder holds no `report.json` (the run is not finished), or a table is missing, unreadable, or lacks a column.
pub fn read(dir: &Path) -> Result<Reconstruction> {
    let report = read_report(dir)?;
    let mut hits = HitTable::default();
    stream_hits(&dir.join("hits"), |part| {
        hits.append(part);
        Ok(())
    })?;
    let mut waveforms = WaveformTable::default();
    stream_waveforms(&dir.join("waveforms"), |part| {
        waveforms.append(part);
        Ok(())
    })?;
    Ok(Reconstruction {
        dir: dir.to_owned(),
        report,
        hits,
        waveforms,
    })
}

/// Reads `DIR/report.json`. It is written last, so its presence means that the run finished.
///
/// # Errors
/// If `dir` is not a folder, the report is absent, or it is not JSON.
pub fn read_report(dir: &Path) -> Result<serde_json::Value> {
    if !dir.is_dir() {
        let partial = partial_of(dir);
        if !dir.exists() && is_staging(&partial) {
            let reason = format!(
                "no such folder; its reconstruction is unfinished: `{}`",
                partial.display()
            );
            return Err(Error::input(dir, reason).with_hint(Hint::CompleteOutput));
        }
        let reason = if dir.exists() {
            "not a folder, expected the output folder of `nuwave reconstruct`"
        } else {
            "no such folder"
        };
        return Err(Error::input(dir, reason)
            .with_hint("run `nuwave reconstruct INPUT -o DIR` and give its DIR"));
    }
    let path = dir.join("report.json");
    if !path.exists() {
        return Err(no_report(dir));
    }
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Error::input(&path, "cannot be read").with_source(error))?;
    serde_json::from_str(&text)
        .map_err(|error| Error::input(&path, "is not valid JSON").with_source(error))
}

/// Returns the folder with the unfinished units of the output `dir`.
pub(crate) fn partial_of(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(PARTIAL);
    dir.with_file_name(name)
}

/// Returns true for a folder with unfinished units.
fn is_staging(dir: &Path) -> bool {
    dir.join(MANIFEST).is_file() && dir.join(UNITS).is_dir()
}

/// Returns the error for a folder without a report: what the folder is, and what to name instead.
fn no_report(dir: &Path) -> Error {
    // `.` has no name, and its parent is found by its full path only.
    let full = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let name = full.file_name().unwrap_or_default().to_string_lossy();
    if is_staging(dir) {
        return Error::input(dir, "is the unfinished output of a reconstruction")
            .with_hint(Hint::CompleteOutput);
    }
    let parent = full
        .parent()
        .filter(|parent| parent.join("report.json").is_file());
    if let Some(parent) = parent.filter(|_| TABLES.contains(&&*name)) {
        let shown = dir.parent().filter(|shown| !shown.as_os_str().is_empty());
        return Error::input(
            dir,
            format!("is the table `{name}` of an output folder, not the output folder itself"),
        )
        .with_hint(format!("give `{}`", shown.unwrap_or(parent).display()));
    }
    if TABLES.iter().any(|table| dir.join(table).is_dir()) {
        return Error::input(
            dir,
            "has tables but no `report.json`, which every output has",
        )
        .with_hint("copy the whole output folder, or make it again with `nuwave reconstruct`");
    }
    let error = Error::input(
        dir,
        "is not an output folder of `nuwave reconstruct`: it has no `report.json`",
    );
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut outputs: Vec<String> = entries
        .map(|entry| entry.path())
        .filter(|path| path.join("report.json").is_file())
        .map(|path| format!("`{}`", path.display()))
        .collect();
    outputs.sort();
    let more = if outputs.len() > MAX_NAMED {
        ", .."
    } else {
        ""
    };
    outputs.truncate(MAX_NAMED);
    if outputs.is_empty() {
        error.with_hint("run `nuwave reconstruct INPUT -o DIR` and give its DIR")
    } else {
        error.with_hint(format!(
            "output folders in it: {}{more}",
            outputs.join(", ")
        ))
    }
}

/// Passes the hits at `path` (a Parquet file, or a folder of them in the order of their names) to `each`, part by part.
///
/// # Errors
/// If a file cannot be read or lacks a column, and any error of `each`.
pub fn stream_hits(path: &Path, mut each: impl FnMut(HitTable) -> Result<()>) -> Result<()> {
    stream(path, HitTable::COLUMNS, |part| {
        each(HitTable {
            input_id: part.unsigned("input_id")?,
            event_id: part.unsigned("event_id")?,
            channel_id: part.unsigned("channel_id")?,
            time_ns: part.filled_doubles("time_ns")?,
            charge_pe: part.floats("charge_pe")?,
            flags: part.flags("flags")?,
        })
    })
}

/// Passes the waveform summaries at `path` to `each`, as [`stream_hits`] does with hits.
///
/// # Errors
/// As [`stream_hits`].
pub fn stream_waveforms(
    path: &Path,
    mut each: impl FnMut(WaveformTable) -> Result<()>,
) -> Result<()> {
    stream(path, WaveformTable::COLUMNS, |part| {
        each(WaveformTable {
            input_id: part.unsigned("input_id")?,
            event_id: part.unsigned("event_id")?,
            channel_id: part.unsigned("channel_id")?,
            charge_pe: part.floats("charge_pe")?,
            first_time_ns: part.optional_doubles("first_time_ns")?,
            n_hits: part.unsigned("n_hits")?,
            baseline_adc: part.floats("baseline_adc")?,
            noise_adc: part.floats("noise_adc")?,
            flags: part.flags("flags")?,
        })
    })
}

/// Lists the Parquet files of the table at `path`: the file itself, or those in the folder by ascending name.
///
/// # Errors
/// If there is no such file or folder, or the folder holds no Parquet file.
pub fn part_files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| {
        Error::input(path, "the table's folder cannot be read")
            .with_source(error)
            .with_hint("expected a folder of Parquet parts, as `nuwave reconstruct` writes it")
    })?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| {
            Error::input(path, "the table's folder cannot be read").with_source(error)
        })?;
        let file = entry.path();
        let hidden = entry.file_name().to_string_lossy().starts_with(['.', '_']);
        if !hidden && file.extension().is_some_and(|ending| ending == "parquet") {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(Error::input(
            path,
            "the folder holds no `*.parquet` file, expected at least one part",
        ));
    }
    files.sort();
    Ok(files)
}

/// Returns the number of rows of the table at `path`, from the files' footers alone.
///
/// # Errors
/// If there is no such table or a file cannot be read.
pub fn count_rows(path: &Path) -> Result<u64> {
    let mut rows = 0_u64;
    for file in part_files(path)? {
        let of_file = open_file(&file)?.metadata().file_metadata().num_rows();
        rows = rows.saturating_add(u64::try_from(of_file).unwrap_or(0));
    }
    Ok(rows)
}

/// Returns the names of the columns of a Parquet file, or `None` if `path` is a file of another format.
///
/// # Errors
/// If the file cannot be opened, or begins as a Parquet file and cannot be read as one.
pub fn parquet_columns(path: &Path) -> Result<Option<Vec<String>>> {
    let mut magic = Vec::new();
    File::open(path)
        .and_then(|file| file.take(4).read_to_end(&mut magic))
        .map_err(|error| Error::input(path, "cannot be opened").with_source(error))?;
    if magic != b"PAR1" {
        return Ok(None);
    }
    let names = open_file(path)?;
    let names = names.schema().fields().iter();
    Ok(Some(names.map(|field| field.name().clone()).collect()))
}

fn unreadable(file: &Path, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::input(file, "cannot be read as a Parquet file").with_source(error)
}

/// Passes the rows of the table at `path` to `each`, with `columns` alone, part by part.
pub(crate) fn stream(
    path: &Path,
    columns: &[&str],
    mut each: impl FnMut(Rows<'_>) -> Result<()>,
) -> Result<()> {
    for file in part_files(path)? {
        let builder = open_file(&file)?;
        let schema = builder.schema();
        for column in columns {
            if schema.column_with_name(column).is_none() {
                let present: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
                return Err(Error::input(
                    &file,
                    format!(
                        "no column `{column}`; the columns are `{}`",
                        present.join("`, `")
                    ),
                ));
            }
        }
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        let builder = builder.with_projection(mask).with_batch_size(65_536);
        let mut reader = guarded(&file, || {
            builder.build().map_err(|error| unreadable(&file, error))
        })?;
        // Only the decoder is guarded: a panic in `each` is not the file's fault.
        let mut next = || {
            guarded(&file, || {
                let rows = reader.next().transpose();
                rows.map_err(|error| unreadable(&file, error))
            })
        };
        while let Some(rows) = next()? {
            each(Rows {
                file: &file,
                rows: &rows,
            })?;
        }
    }
    Ok(())
}

/// A record batch and its file, for error messages.
pub(crate) struct Rows<'a> {
    file: &'a Path,
    rows: &'a RecordBatch,
}

impl Rows<'_> {
    /// Returns the number of rows, which all columns have.
    pub(crate) fn len(&self) -> usize {
        self.rows.num_rows()
    }

    fn column(&self, name: &str) -> Result<&dyn Array> {
        let column = self.rows.column_by_name(name);
        column
            .map(AsRef::as_ref)
            .ok_or_else(|| Error::input(self.file, format!("no column `{name}`")))
    }

    fn wrong_type(&self, name: &str, found: &DataType, expected: &str) -> Error {
        Error::input(
            self.file,
            format!("column `{name}` is of type {found}, expected {expected}"),
        )
    }

    fn filled(&self, name: &str) -> Result<&dyn Array> {
        let column = self.column(name)?;
        if column.null_count() > 0 {
            return Err(Error::input(
                self.file,
                format!(
                    "column `{name}` has {} nulls, expected none",
                    column.null_count()
                ),
            ));
        }
        Ok(column)
    }

    /// Returns a column of non-negative integers of any width that fit into `T`.
    pub(crate) fn unsigned<T: TryFrom<i128>>(&self, name: &str) -> Result<Vec<T>> {
        let column = self.filled(name)?;
        let wide = match column.data_type() {
            DataType::UInt32 => widened::<UInt32Type>(column),
            DataType::UInt64 => widened::<UInt64Type>(column),
            DataType::Int32 => widened::<Int32Type>(column),
            DataType::Int64 => widened::<Int64Type>(column),
            other => return Err(self.wrong_type(name, other, "an integer of 32 or 64 bits")),
        };
        wide.map(|value| {
            T::try_from(value).map_err(|_| {
                Error::input(
                    self.file,
                    format!("column `{name}` holds {value}, which is out of range"),
                )
            })
        })
        .collect()
    }

    pub(crate) fn flags(&self, name: &str) -> Result<Vec<Flags>> {
        Ok(self.unsigned::<u32>(name)?.into_iter().map(Flags).collect())
    }

    fn floats(&self, name: &str) -> Result<Vec<f32>> {
        self.filled(name)?;
        Ok(self.optional_floats(name)?.into_iter().flatten().collect())
    }

    fn optional_floats(&self, name: &str) -> Result<Vec<Option<f32>>> {
        let column = self.column(name)?;
        match column.data_type() {
            DataType::Float32 => Ok(column.as_primitive::<Float32Type>().iter().collect()),
            DataType::Float64 => Ok(column
                .as_primitive::<Float64Type>()
                .iter()
                .map(|value| value.map(|value| value as f32))
                .collect()),
            other => Err(self.wrong_type(name, other, "a float of 32 or 64 bits")),
        }
    }

    fn filled_doubles(&self, name: &str) -> Result<Vec<f64>> {
        self.filled(name)?;
        self.doubles(name)
    }

    fn optional_doubles(&self, name: &str) -> Result<Vec<Option<f64>>> {
        let column = self.column(name)?;
        match column.data_type() {
            DataType::Float32 => Ok(column
                .as_primitive::<Float32Type>()
                .iter()
                .map(|value| value.map(f64::from))
                .collect()),
            DataType::Float64 => Ok(column.as_primitive::<Float64Type>().iter().collect()),
            other => Err(self.wrong_type(name, other, "a float of 32 or 64 bits")),
        }
    }

    /// Returns a column of floats in full precision. A null, which some programs write for NaN, is read as NaN.
    pub(crate) fn doubles(&self, name: &str) -> Result<Vec<f64>> {
        let values = self.optional_doubles(name)?.into_iter();
        Ok(values.map(|value| value.unwrap_or(f64::NAN)).collect())
    }
}

fn widened<T>(column: &dyn Array) -> Box<dyn Iterator<Item = i128> + '_>
where
    T: ArrowPrimitiveType,
    i128: From<T::Native>,
{
    Box::new(
        column
            .as_primitive::<T>()
            .values()
            .iter()
            .map(|&value| i128::from(value)),
    )
}
