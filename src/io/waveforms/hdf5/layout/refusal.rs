//! Refusals of HDF5 files in which no waveforms are found, with what the user can do about it.

use std::collections::BTreeMap;
use std::path::Path;

use hdf5_pure::Datatype;

use super::{Context, has_two_axes};
use crate::error::{Error, Hint};
use crate::io::hdf5_file::{self, describe_type, shape_text};
use crate::io::waveforms::channel::common_pattern;
use crate::io::waveforms::names::{self, Role, is_named};

/// Returns the error of a file without waveforms.
pub(super) fn none_found(context: &Context<'_>) -> Error {
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
    let is_absent = |name: &&str| {
        !listing.entries.iter().any(|entry| {
            let fields = hdf5_file::fields(&entry.datatype);
            entry.name() == *name || entry.path == *name || fields.contains(name)
        })
    };
    let what = match options.samples_column.as_deref().filter(is_absent) {
        Some(name) => format!("dataset or field `{name}`"),
        None => "table of waveforms".to_owned(),
    };
    let error = Error::input(path, format!("has no {what}{wanted}; it holds {found}"));
    let mut hints = Vec::new();
    hints.extend(listing.advice_on_files().map(Hint::from));
    if listing.entries.is_empty() && !hints.is_empty() {
        return with_hints(error, hints);
    }
    if let Some(suggested) = of_table(context) {
        hints.push(Hint::UseColumns(suggested));
    } else if let Some(pattern) = pattern_of_datasets(context) {
        hints.push(Hint::ChannelPattern {
            pattern: Some(pattern),
        });
    }
    hints.push(Hint::NameColumns {
        table: true,
        roles: &["event", "channel", "samples"],
    });
    with_hints(error, hints)
}

fn with_hints(error: Error, hints: Vec<Hint>) -> Error {
    hints.into_iter().fold(error, Error::and_hint)
}

/// Returns the fields that may be the event and channel of a table of records with samples, as far as they have other names than
/// the usual ones; `None` if there is no such table, or the names say nothing.
fn of_table(context: &Context<'_>) -> Option<Vec<(&'static str, String)>> {
    let options = context.options;
    context.listing.entries.iter().find_map(|entry| {
        let Datatype::Compound { members, .. } = &entry.datatype else {
            return None;
        };
        let names_of = |is_it: &dyn Fn(&hdf5_file::Numbers) -> bool| -> Vec<&str> {
            let fields = members.iter().filter(|member| {
                hdf5_file::numbers(&member.datatype).is_some_and(|numbers| is_it(&numbers))
            });
            fields.map(|member| member.name.as_str()).collect()
        };
        let arrays = names_of(&hdf5_file::Numbers::is_array);
        let samples = arrays
            .iter()
            .find(|name| is_named(name, Role::Samples, options.samples_column.as_deref()))
            .or(match arrays.as_slice() {
                [only] => Some(only),
                _ => None,
            });
        samples.filter(|_| entry.shape.len() == 1)?;
        let integers = names_of(&|it| !it.is_array() && it.kind.scalar.is_integer());
        let missing: Vec<Role> = [
            (Role::Event, options.event_column.as_deref()),
            (Role::Channel, options.channel_column.as_deref()),
        ]
        .into_iter()
        .filter(|(role, wanted)| names::find(&integers, *role, *wanted).is_none())
        .map(|(role, _)| role)
        .collect();
        let suggested = names::suggested(&missing, &integers);
        (!suggested.is_empty()).then_some(suggested)
    })
}

/// Returns the pattern of the paths of datasets that may hold the waveforms of a channel each: at least two with two axes, whose
/// paths differ by one number only.
fn pattern_of_datasets(context: &Context<'_>) -> Option<String> {
    let mut alike: BTreeMap<String, Vec<&Path>> = BTreeMap::new();
    for entry in &context.listing.entries {
        if entry.target.is_none() && has_two_axes(entry) {
            let letters = entry.path.chars().filter(|it| !it.is_ascii_digit());
            let path = Path::new(entry.path.as_str());
            alike.entry(letters.collect()).or_default().push(path);
        }
    }
    alike
        .values()
        .filter(|paths| paths.len() > 1)
        .find_map(|paths| common_pattern(paths))
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

/// Returns the error of samples of several rows per waveform, as for the gains of an amplifier or the pixels of a module.
pub(super) fn two_dimensional(path: &Path, what: &str, shape: &[u64], expression: &str) -> Error {
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
