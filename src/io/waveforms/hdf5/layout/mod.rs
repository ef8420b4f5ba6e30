//! Finds the waveforms in an HDF5 file.

mod arrays;
mod refusal;
mod table;

use std::path::Path;

use hdf5_pure::Datatype;

use crate::error::{Error, Hint, Result};
use crate::io::hdf5_file::{self, Entry, Listing, StoredRows};
use crate::io::waveforms::blocks::check_fixed_length;
use crate::io::waveforms::channel::common_pattern;
use crate::io::waveforms::names::{Role, is_named};
use crate::io::waveforms::scalar::ScalarType;
use crate::io::{NamePattern, ReadOptions, Remark};
use refusal::{none_found, two_dimensional};

/// Maximum size of a row of the dataset, which is read at once: all channels of an event.
const MAX_ROW_BYTES: u64 = 1 << 30;

/// Maximum number of datasets that are compared with each other: are they one, under several names?
const MAX_COMPARED: usize = 16;

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
    wanted_entries(listing, options)
        .filter_map(|entry| candidate(entry, false, options))
        .map(|candidate| candidate.entry.path.clone())
        .collect()
}

/// Returns the channels and paths of the datasets of any name that may hold the waveforms of one channel: those of two axes whose
/// paths fit the pattern, of all or of those in the group that `options` names.
pub(super) fn channel_paths(
    listing: &Listing,
    pattern: &NamePattern,
    options: &ReadOptions,
) -> Vec<(u32, String)> {
    wanted_entries(listing, options)
        .filter(|entry| has_two_axes(entry))
        .filter_map(|entry| Some((pattern.number(&entry.path)?, entry.path.clone())))
        .collect()
}

/// Returns the datasets, without links to them, in the group that `options` names.
fn wanted_entries<'a>(
    listing: &'a Listing,
    options: &ReadOptions,
) -> impl Iterator<Item = &'a Entry> + use<'a> {
    let wanted = options.table.as_deref().map(|table| listing.resolve(table));
    let is_wanted = move |path: &str| {
        wanted.as_deref().is_none_or(|wanted| {
            let rest = path.strip_prefix(wanted);
            wanted.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    listing
        .entries
        .iter()
        .filter(move |entry| entry.target.is_none() && is_wanted(&entry.path))
}

/// Returns true for a dataset of waveforms x samples, or of one array per waveform.
fn has_two_axes(entry: &Entry) -> bool {
    hdf5_file::numbers(&entry.datatype)
        .is_some_and(|numbers| entry.shape.len() + numbers.shape.len() == 2)
        && !entry.shape.is_empty()
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

/// Leaves one path of each dataset, of which links of either kind make several: the dataset's own, unless only the group of a
/// link to it has the events too.
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
    let are_few = candidates.len() <= MAX_COMPARED;
    let is_same = |one: &Entry, other: &Entry| {
        one.own_path() == other.own_path() || (are_few && one.is_same_object(other))
    };
    let mut kept: Vec<(&Entry, Option<String>)> = Vec::new();
    for Candidate { entry, field } in candidates {
        let known = kept.iter_mut().find(|(kept, _)| is_same(kept, entry));
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
