//! Finds the waveforms in an HDF5 file.

mod arrays;
mod table;

use std::path::Path;

use hdf5_pure::Datatype;

use crate::error::{Error, Hint, Result};
use crate::io::hdf5_file::{self, Entry, Listing, StoredRows, Target, describe_type, shape_text};
use crate::io::waveforms::blocks::check_fixed_length;
use crate::io::waveforms::channel::common_pattern;
use crate::io::waveforms::names::{Role, is_named};
use crate::io::waveforms::scalar::ScalarType;
use crate::io::{ReadOptions, Remark};

/// Maximum size of a row of the dataset, which is read at once: all channels of an event.
const MAX_ROW_BYTES: u64 = 1 << 30;

/// A column of numbers that is a dataset.
pub(super) struct Column {
    pub rows: StoredRows,
    pub kind: ScalarType,
    /// True if there is a number for each channel of an event, false if there is one for each row of the samples.
    pub is_per_channel: bool,
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
    /// The channels along the second axis of the samples, if an array states them.
    pub channels: Option<Vec<i128>>,
    /// True if the samples have an axis of channels.
    pub has_channel_axis: bool,
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
    pub entry: Entry,
    pub rows: StoredRows,
    /// Rows of the dataset.
    pub n_rows: u64,
    /// Waveforms per row: channels, if the samples have an axis for them, else 1.
    pub n_channels: u64,
    /// Bytes of a row's waveform, or of the record that has it.
    pub waveform_bytes: usize,
    /// Offset of the samples in a record.
    pub samples_offset: usize,
    pub row_samples: usize,
    pub kind: ScalarType,
    pub columns: Columns,
    /// Description of the layout, for messages.
    pub layout: String,
    pub remarks: Vec<Remark>,
}

/// A dataset that may hold waveforms, before its columns are examined.
struct Candidate<'a> {
    entry: &'a Entry,
    /// The field with the samples, if it is a table.
    field: Option<String>,
}

/// The facts about the file that the layouts need.
struct Context<'a> {
    path: &'a Path,
    n_bytes: u64,
    listing: &'a Listing,
    options: &'a ReadOptions,
}

/// Returns the paths of the datasets that may hold waveforms: all, or those in the group that `options` names.
pub(super) fn candidate_paths(listing: &Listing, options: &ReadOptions) -> Vec<String> {
    let wanted = options.table.as_deref().map(|table| listing.resolve(table));
    let is_wanted = |path: &str| {
        wanted.as_deref().is_none_or(|wanted| {
            let rest = path.strip_prefix(wanted);
            wanted.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    listing
        .entries
        .iter()
        .filter(|entry| entry.target.is_none() && is_wanted(&entry.path))
        .filter_map(|entry| candidate(entry, false, options))
        .map(|candidate| candidate.entry.path.clone())
        .collect()
}

/// Finds the waveforms.
pub(super) fn find(
    listing: &Listing,
    path: &Path,
    n_bytes: u64,
    options: &ReadOptions,
) -> Result<Found> {
    let context = Context {
        path,
        n_bytes,
        listing,
        options,
    };
    let wanted = options.table.as_deref().map(|table| listing.resolve(table));
    let wanted = wanted.as_deref();
    let candidates: Vec<_> = listing
        .entries
        .iter()
        .filter(|entry| {
            wanted.is_none_or(|wanted| entry.own_path() == wanted || entry.group() == wanted)
        })
        .filter_map(|entry| candidate(entry, wanted == Some(entry.own_path()), options))
        .collect();
    let candidates = without_links(candidates, &context);
    let candidate = match candidates.as_slice() {
        [(entry, field)] => (*entry, field.clone()),
        [] => return Err(none_found(&context)),
        [(first, _), (second, _), ..] => {
            return Err(Error::input(
                path,
                format!(
                    "both `/{}` and `/{}` could be the waveforms",
                    first.path, second.path
                ),
            )
            .with_hint(Hint::ChooseTable {
                example: Some(first.path.clone()),
            })
            .and_hint(Hint::ChannelPattern {
                pattern: common_pattern(
                    &candidates
                        .iter()
                        .map(|(entry, _)| Path::new(entry.path.as_str()))
                        .collect::<Vec<_>>(),
                ),
            }));
        }
    };
    let found = match candidate {
        (entry, Some(field)) => table::table(entry, &field, &context)?,
        (entry, None) => arrays::arrays(entry, &context)?,
    };
    check_fixed_length(path, &found.layout, found.row_samples)?;
    let n_waveforms = found.n_rows.saturating_mul(found.n_channels);
    let event_bytes = found.n_channels.saturating_mul(found.waveform_bytes as u64);
    if event_bytes > MAX_ROW_BYTES {
        return Err(Error::input(
            path,
            format!(
                "{}: one event has {} MiB, and nuwave's limit is {} MiB",
                found.layout,
                event_bytes >> 20,
                MAX_ROW_BYTES >> 20
            ),
        ));
    }
    let n_stored = n_waveforms.saturating_mul(found.waveform_bytes as u64);
    if n_stored > n_bytes.saturating_mul(found.rows.max_compression()) {
        return Err(Error::input(
            path,
            format!(
                "{} claims {n_waveforms} waveforms ({n_stored} bytes), more than a file of {n_bytes} bytes can hold",
                found.layout
            ),
        )
        .with_hint("the file is damaged, or was cut off"));
    }
    Ok(found)
}

/// Leaves one path of each dataset: the dataset's own, unless only the group of a link to it has the events too.
fn without_links<'a>(
    candidates: Vec<Candidate<'a>>,
    context: &Context<'_>,
) -> Vec<(&'a Entry, Option<String>)> {
    let has_event = |entry: &Entry| {
        context.listing.entries.iter().any(|other| {
            other.group() == entry.group()
                && is_named(
                    other.name(),
                    Role::Event,
                    context.options.event_column.as_deref(),
                )
        })
    };
    let mut kept: Vec<(&Entry, Option<String>)> = Vec::new();
    for Candidate { entry, field } in candidates {
        let known = kept
            .iter_mut()
            .find(|(kept, _)| kept.own_path() == entry.own_path());
        match known {
            None => kept.push((entry, field)),
            Some((kept, _)) => {
                let rank = |entry: &Entry| (has_event(entry), entry.target.is_none());
                if rank(entry) > rank(kept) {
                    *kept = entry;
                }
            }
        }
    }
    kept
}

fn none_found(context: &Context<'_>) -> Error {
    let Context {
        path,
        listing,
        options,
        ..
    } = context;
    if let Some(error) = not_numbers(context) {
        return error;
    }
    let wanted = options
        .table
        .as_deref()
        .map_or_else(String::new, |table| format!(" in `{table}`"));
    let found = listing.describe();
    let error = Error::input(
        path,
        format!("has no table of waveforms{wanted}; it holds {found}"),
    );
    let external = listing.broken().find_map(|(_, target)| match target {
        Target::External { file, .. } => Some(file),
        Target::Path(_) => None,
    });
    match external {
        Some(file) if listing.entries.is_empty() => error.with_hint(format!(
            "links into other files are not followed: name the file itself, `{file}`"
        )),
        _ => error.with_hint(Hint::NameColumns {
            table: true,
            roles: &["event", "channel", "samples"],
        }),
    }
}

/// Returns the error of samples that are there by name, but are no numbers that nuwave reads.
fn not_numbers(context: &Context<'_>) -> Option<Error> {
    let options = context.options;
    let wanted = options
        .table
        .as_deref()
        .map(|table| context.listing.resolve(table));
    let samples = options.samples_column.as_deref();
    let refuse = |what: String, datatype: &Datatype| {
        let hint = match datatype {
            Datatype::VariableLength {
                is_string: false, ..
            } => {
                "write waveforms of different lengths as Parquet or Arrow lists, or as rows of equal length with their `n_samples`"
            }
            _ => "write them as integers or floats",
        };
        let text = format!(
            "{what} holds {}, which nuwave does not read",
            describe_type(datatype)
        );
        Error::input(context.path, text).with_hint(hint)
    };
    context.listing.entries.iter().find_map(|entry| {
        let is_wanted = wanted
            .as_deref()
            .is_none_or(|wanted| entry.own_path() == wanted || entry.group() == wanted);
        if !is_wanted {
            return None;
        }
        if let Datatype::Compound { members, .. } = &entry.datatype {
            let member = members
                .iter()
                .find(|member| is_named(&member.name, Role::Samples, samples))?;
            return hdf5_file::numbers(&member.datatype).is_none().then(|| {
                let what = format!("the field `{}` of `/{}`", member.name, entry.path);
                refuse(what, &member.datatype)
            });
        }
        let is_it = is_named(entry.name(), Role::Samples, samples)
            || wanted.as_deref() == Some(entry.own_path());
        let is_foreign = is_it && hdf5_file::numbers(&entry.datatype).is_none();
        is_foreign.then(|| refuse(format!("`/{}`", entry.path), &entry.datatype))
    })
}

/// Returns `entry` as a candidate, if it can hold waveforms. `chosen` is true if the user named this dataset.
fn candidate<'a>(entry: &'a Entry, chosen: bool, options: &ReadOptions) -> Option<Candidate<'a>> {
    let samples = options.samples_column.as_deref();
    if let Datatype::Compound { members, .. } = &entry.datatype {
        let arrays: Vec<_> = members
            .iter()
            .filter(|member| hdf5_file::numbers(&member.datatype).is_some_and(|it| it.is_array()))
            .map(|member| member.name.as_str())
            .collect();
        let field = arrays
            .iter()
            .find(|name| is_named(name, Role::Samples, samples))
            .or(match arrays.as_slice() {
                [only] if samples.is_none() => Some(only),
                _ => None,
            })?;
        let has = |role, wanted: Option<&str>| {
            members
                .iter()
                .any(|member| is_named(&member.name, role, wanted))
        };
        let complete = entry.shape.len() == 1
            && has(Role::Event, options.event_column.as_deref())
            && has(Role::Channel, options.channel_column.as_deref());
        return (complete || chosen).then(|| Candidate {
            entry,
            field: Some((*field).to_owned()),
        });
    }
    let numbers = hdf5_file::numbers(&entry.datatype)?;
    let has_axes = match entry.shape.len() {
        1 => numbers.is_array(),
        2 => numbers.shape.len() < 2,
        3 => !numbers.is_array() && entry.shape[2] > 1,
        _ => false,
    };
    let named = is_named(entry.name(), Role::Samples, samples)
        || chosen
        || samples.is_some_and(|samples| samples == entry.path);
    (has_axes && named).then_some(Candidate { entry, field: None })
}

/// Returns the error of samples of several rows per waveform, as for the gains of an amplifier or the pixels of a module.
fn two_dimensional(path: &Path, what: &str, shape: &[u64], expression: &str) -> Error {
    let n_samples = shape.last().copied().unwrap_or(0);
    Error::input(
        path,
        format!(
            "{what} has the shape {} in every record: more than one waveform, and nothing tells whether they are gains, pixels \
             or channels",
            shape_text(shape)
        ),
    )
    .with_hint(format!(
        "write one record for each waveform, with its channel; in Python `{expression}.reshape(-1, {n_samples})` are the waveforms"
    ))
}
