//! Finds the waveforms in an HDF5 file.

use std::ops::Range;
use std::path::Path;

use hdf5_pure::{Dataset, Datatype, File};

use crate::error::{Error, Hint, Result};
use crate::io::ReadOptions;
use crate::io::hdf5_file::{self, Entry, Numbers};
use crate::io::limits::hdf5::{MAX_COMPRESSION, oversized_chunks};
use crate::io::waveforms::blocks::check_fixed_length;
use crate::io::waveforms::channel::common_pattern;
use crate::io::waveforms::scalar::ScalarType;

// Names in lower case without `_`, `-` and blanks.
const EVENT_NAMES: [&str; 12] = [
    "eventid",
    "event",
    "events",
    "eventno",
    "eventnumber",
    "triggerno",
    "triggerid",
    "trigger",
    "triggernumber",
    "evt",
    "evtid",
    "evid",
];
const CHANNEL_NAMES: [&str; 8] = [
    "channelid",
    "channel",
    "channels",
    "channelno",
    "ch",
    "chid",
    "pmtid",
    "pmt",
];
const SAMPLES_NAMES: [&str; 10] = [
    "samples",
    "waveform",
    "waveforms",
    "wf",
    "wfs",
    "wave",
    "waves",
    "trace",
    "traces",
    "adc",
];
const START_NAMES: [&str; 1] = ["startns"];
const N_SAMPLES_NAMES: [&str; 1] = ["nsamples"];

/// A column of numbers that is a dataset.
pub(super) struct Column {
    pub dataset: Dataset,
    /// Rows of chunks that must not be read.
    pub oversized: Vec<Range<u64>>,
    pub kind: ScalarType,
}

/// A column of numbers inside the records of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub offset: usize,
    pub kind: ScalarType,
}

/// The storage of the numbers that belong to the waveforms.
pub(super) enum Columns {
    /// Arrays with one entry per waveform.
    Arrays(Box<Arrays>),
    /// Fields of the same record.
    Fields(Fields),
}

/// Datasets next to the samples; `None` for those that the file lacks.
pub(super) struct Arrays {
    pub event_id: Option<Column>,
    pub channel_id: Option<Column>,
    pub start_ns: Option<Column>,
    pub n_samples: Option<Column>,
}

/// Fields of a table's records.
pub(super) struct Fields {
    pub event_id: Field,
    pub channel_id: Field,
    pub start_ns: Option<Field>,
    pub n_samples: Option<Field>,
}

/// The waveforms of a file.
pub(super) struct Found {
    /// Dataset with the samples.
    pub dataset: Dataset,
    /// Rows of its chunks that must not be read.
    pub oversized: Vec<Range<u64>>,
    /// The path of its group, empty for the root.
    pub group: String,
    pub n_rows: u64,
    pub row_bytes: usize,
    /// Offset of the samples in a row.
    pub samples_offset: usize,
    pub row_samples: usize,
    pub kind: ScalarType,
    pub columns: Columns,
    /// Description of the layout, for messages.
    pub layout: String,
}

/// A dataset that may hold waveforms, before its columns are examined.
struct Candidate<'a> {
    entry: &'a Entry,
    /// The field with the samples, if it is a table.
    field: Option<String>,
}

/// Returns the paths of the datasets that may hold waveforms.
pub(super) fn candidate_paths(
    file: &File,
    path: &Path,
    options: &ReadOptions,
) -> Result<Vec<String>> {
    let entries = hdf5_file::datasets(file, path)?;
    let candidates = entries
        .iter()
        .filter_map(|entry| candidate(entry, false, options));
    Ok(candidates
        .map(|candidate| candidate.entry.path.clone())
        .collect())
}

/// Finds the waveforms.
pub(super) fn find(file: &File, path: &Path, n_bytes: u64, options: &ReadOptions) -> Result<Found> {
    let entries = hdf5_file::datasets(file, path)?;
    let wanted = options
        .table
        .as_deref()
        .map(|table| table.trim_matches('/'));
    let candidates: Vec<_> = entries
        .iter()
        .filter(|entry| wanted.is_none_or(|wanted| entry.path == wanted || entry.group() == wanted))
        .filter_map(|entry| candidate(entry, wanted == Some(entry.path.as_str()), options))
        .collect();
    let candidate = match candidates.as_slice() {
        [candidate] => candidate,
        [] => return Err(none_found(path, &entries, options)),
        [first, second, ..] => {
            return Err(Error::input(
                path,
                format!(
                    "both `/{}` and `/{}` could be the waveforms",
                    first.entry.path, second.entry.path
                ),
            )
            .with_hint(Hint::ChooseTable {
                example: Some(first.entry.path.clone()),
            })
            .and_hint(Hint::ChannelPattern {
                pattern: common_pattern(
                    &candidates
                        .iter()
                        .map(|candidate| Path::new(candidate.entry.path.as_str()))
                        .collect::<Vec<_>>(),
                ),
            }));
        }
    };
    let found = match &candidate.field {
        Some(field) => table(candidate.entry, field, path, n_bytes, options)?,
        None => arrays(candidate.entry, &entries, path, n_bytes, options)?,
    };
    check_fixed_length(path, &found.layout, found.row_samples)?;
    let n_stored = found.n_rows.saturating_mul(found.row_bytes as u64);
    if n_stored > n_bytes.saturating_mul(MAX_COMPRESSION) {
        return Err(Error::input(
            path,
            format!(
                "{} claims {} waveforms ({n_stored} bytes), more than a file of {n_bytes} bytes can hold",
                found.layout, found.n_rows
            ),
        )
        .with_hint("the file is damaged, or was cut off"));
    }
    Ok(found)
}

fn none_found(path: &Path, entries: &[Entry], options: &ReadOptions) -> Error {
    let wanted = options
        .table
        .as_deref()
        .map_or_else(String::new, |table| format!(" in `{table}`"));
    let content = hdf5_file::describe(entries);
    Error::input(
        path,
        format!("has no table of waveforms{wanted}; it holds {content}"),
    )
    .with_hint(Hint::NameColumns {
        table: true,
        roles: &["event", "channel", "samples"],
    })
}

/// Returns true if `name` is the one that the user named, or one of the usual names if the user named none.
fn is_named(name: &str, wanted: Option<&str>, usual: &[&str]) -> bool {
    wanted.map_or_else(
        || {
            let plain: String = name
                .chars()
                .filter(|character| !matches!(character, '_' | '-' | ' '))
                .collect();
            usual.contains(&plain.to_ascii_lowercase().as_str())
        },
        |wanted| name == wanted,
    )
}

/// Returns `entry` as a candidate, if it can hold waveforms. `chosen` is true if the user named this dataset.
fn candidate<'a>(entry: &'a Entry, chosen: bool, options: &ReadOptions) -> Option<Candidate<'a>> {
    let samples = options.samples_column.as_deref();
    if let Datatype::Compound { members, .. } = &entry.datatype {
        let arrays: Vec<_> = members
            .iter()
            .filter(|member| hdf5_file::numbers(&member.datatype).is_some_and(|it| it.is_array))
            .map(|member| member.name.as_str())
            .collect();
        let field = arrays
            .iter()
            .find(|name| is_named(name, samples, &SAMPLES_NAMES))
            .or(match arrays.as_slice() {
                [only] if samples.is_none() => Some(only),
                _ => None,
            })?;
        let has = |wanted: Option<&str>, usual: &[&str]| {
            members
                .iter()
                .any(|member| is_named(&member.name, wanted, usual))
        };
        let complete = entry.shape.len() == 1
            && has(options.event_column.as_deref(), &EVENT_NAMES)
            && has(options.channel_column.as_deref(), &CHANNEL_NAMES);
        return (complete || chosen).then(|| Candidate {
            entry,
            field: Some((*field).to_owned()),
        });
    }
    let numbers = hdf5_file::numbers(&entry.datatype)?;
    let two_dimensional = entry.shape.len() == if numbers.is_array { 1 } else { 2 };
    let named = is_named(entry.name(), samples, &SAMPLES_NAMES) || chosen;
    (two_dimensional && named).then_some(Candidate { entry, field: None })
}

fn table(
    entry: &Entry,
    samples: &str,
    path: &Path,
    n_bytes: u64,
    options: &ReadOptions,
) -> Result<Found> {
    let layout = format!("table `/{}`", entry.path);
    let Datatype::Compound { members, size } = &entry.datatype else {
        return Err(Error::internal("a table of waveforms that is no compound"));
    };
    let row_bytes = *size as usize;
    let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
    // A field is accepted only if all of it lies within the record.
    let field = |wanted: Option<&str>, usual: &[&str]| {
        let member = members
            .iter()
            .find(|member| is_named(&member.name, wanted, usual))?;
        let numbers = hdf5_file::numbers(&member.datatype)?;
        let offset = usize::try_from(member.byte_offset).ok()?;
        let length = usize::try_from(numbers.length).ok()?;
        let end = offset.checked_add(length.checked_mul(numbers.kind.size())?)?;
        (end <= row_bytes).then_some((member.name.as_str(), offset, length, numbers))
    };
    let id = |wanted: Option<&str>, usual: &[&str], what: &str| {
        field(wanted, usual)
            .filter(|(.., numbers)| !numbers.is_array && numbers.kind.scalar.is_integer())
            .map(|(name, offset, _, numbers)| {
                let kind = numbers.kind;
                (name, Field { offset, kind })
            })
            .ok_or_else(|| {
                Error::input(
                    path,
                    format!(
                        "{layout} has no integer field of the {what}; its fields are `{}`",
                        names.join("`, `")
                    ),
                )
                .with_hint(Hint::NameColumns {
                    table: false,
                    roles: &["event", "channel", "samples"],
                })
            })
    };
    let plain = |usual: &[&str]| {
        field(None, usual)
            .filter(|(.., numbers)| !numbers.is_array)
            .map(|(_, offset, _, numbers)| Field {
                offset,
                kind: numbers.kind,
            })
    };
    let (event_name, event_id) = id(options.event_column.as_deref(), &EVENT_NAMES, "event")?;
    let (channel_name, channel_id) =
        id(options.channel_column.as_deref(), &CHANNEL_NAMES, "channel")?;
    let (_, samples_offset, row_samples, numbers) = field(Some(samples), &[]).ok_or_else(|| {
        Error::input(
            path,
            format!("{layout}: the field `{samples}` reaches beyond the record"),
        )
    })?;
    Ok(Found {
        dataset: entry.dataset.clone(),
        oversized: oversized_chunks(&entry.dataset, n_bytes),
        group: entry.group().to_owned(),
        n_rows: entry.shape.first().copied().unwrap_or(1),
        row_bytes,
        samples_offset,
        row_samples,
        kind: numbers.kind,
        columns: Columns::Fields(Fields {
            event_id,
            channel_id,
            start_ns: plain(&START_NAMES),
            n_samples: plain(&N_SAMPLES_NAMES),
        }),
        layout: format!("{layout} with the fields {event_name}, {channel_name}, {samples}"),
    })
}

fn arrays(
    entry: &Entry,
    entries: &[Entry],
    path: &Path,
    n_bytes: u64,
    options: &ReadOptions,
) -> Result<Found> {
    let mut layout = format!("arrays next to `/{}`", entry.path);
    let numbers = hdf5_file::numbers(&entry.datatype)
        .ok_or_else(|| Error::internal("waveforms that are no numbers"))?;
    let n_rows = entry.shape.first().copied().unwrap_or(0);
    let row_samples = if numbers.is_array {
        numbers.length
    } else {
        entry.shape.get(1).copied().unwrap_or(0)
    };
    let row_samples = usize::try_from(row_samples).unwrap_or(usize::MAX);
    check_fixed_length(path, &format!("`/{}`", entry.path), row_samples)?;
    let sibling = |wanted: Option<&str>, usual: &[&str]| {
        entries.iter().find(|other| {
            let other_name =
                other.group() == entry.group() && is_named(other.name(), wanted, usual);
            other.path != entry.path && (other_name || wanted == Some(other.path.as_str()))
        })
    };
    let column = |other: &Entry, integer: bool| {
        let what = format!("`/{}`", other.path);
        match hdf5_file::numbers(&other.datatype) {
            _ if other.shape != [n_rows] => Err(Error::input(
                path,
                format!(
                    "{what} has the shape {:?}, but `/{}` has {n_rows} waveforms",
                    other.shape, entry.path
                ),
            )),
            Some(Numbers {
                kind,
                is_array: false,
                ..
            }) if kind.scalar.is_integer() || !integer => Ok(Column {
                dataset: other.dataset.clone(),
                oversized: oversized_chunks(&other.dataset, n_bytes),
                kind,
            }),
            _ => Err(Error::input(
                path,
                format!("{what} does not hold plain integers"),
            )),
        }
    };
    let id = |wanted: Option<&str>, usual: &[&str]| match (sibling(wanted, usual), wanted) {
        (Some(other), _) => column(other, true).map(Some),
        (None, Some(wanted)) => Err(Error::input(
            path,
            format!(
                "has no array `{wanted}`; it holds {}",
                hdf5_file::describe(entries)
            ),
        )),
        (None, None) => Ok(None),
    };
    let event_id = id(options.event_column.as_deref(), &EVENT_NAMES)?;
    let channel_id = id(options.channel_column.as_deref(), &CHANNEL_NAMES)?;
    let optional = |usual: &[&str], integer: bool| {
        sibling(None, usual)
            .map(|other| column(other, integer))
            .transpose()
    };
    if event_id.is_none() {
        layout.push_str(", event = row number");
    }
    Ok(Found {
        dataset: entry.dataset.clone(),
        oversized: oversized_chunks(&entry.dataset, n_bytes),
        group: entry.group().to_owned(),
        n_rows,
        row_bytes: row_samples * numbers.kind.size(),
        samples_offset: 0,
        row_samples,
        kind: numbers.kind,
        columns: Columns::Arrays(Box::new(Arrays {
            event_id,
            channel_id,
            start_ns: optional(&START_NAMES, false)?,
            n_samples: optional(&N_SAMPLES_NAMES, true)?,
        })),
        layout,
    })
}
