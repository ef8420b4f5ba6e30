//! Waveforms in a table of compound records.

use std::path::Path;

use hdf5_pure::{CompoundMember, Datatype};

use super::{Columns, Context, Field, Fields, Found, two_dimensional};
use crate::error::{Error, Hint, Result};
use crate::io::hdf5_file::{self, Entry, StoredRows, describe_type};
use crate::io::waveforms::names::{self, Role};

const HINT: Hint = Hint::NameColumns {
    table: false,
    roles: &["event", "channel", "samples"],
};

/// Returns the waveforms of a table whose field `samples` has the samples.
pub(super) fn table(entry: &Entry, samples: &str, context: &Context<'_>) -> Result<Found> {
    let Context {
        path,
        n_bytes,
        options,
        ..
    } = *context;
    let layout = format!("table `/{}`", entry.path);
    let Datatype::Compound { members, size } = &entry.datatype else {
        return Err(Error::internal("a table of waveforms that is no compound"));
    };
    let record_bytes = *size as usize;
    let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
    // A field is accepted only if all of it lies within the record.
    let within = |index: usize| {
        let member = members.get(index)?;
        let numbers = hdf5_file::numbers(&member.datatype)?;
        let offset = usize::try_from(member.byte_offset).ok()?;
        let length = usize::try_from(numbers.length()?).ok()?;
        let end = offset.checked_add(length.checked_mul(numbers.kind.size())?)?;
        (end <= record_bytes).then_some((member.name.as_str(), offset, length, numbers))
    };
    let id = |role: Role, wanted: Option<&str>| {
        let index = names::find(&names, role, wanted);
        index
            .and_then(within)
            .filter(|(.., numbers)| !numbers.is_array() && numbers.kind.scalar.is_integer())
            .map(|(name, offset, _, numbers)| {
                let kind = numbers.kind;
                (name, Field { offset, kind })
            })
            .ok_or_else(|| {
                let there = index.and_then(|index| members.get(index));
                no_integers(path, &layout, role, there, &names)
            })
    };
    let plain = |role: Role, wanted: Option<&str>| {
        names::find(&names, role, wanted)
            .and_then(within)
            .filter(|(.., numbers)| !numbers.is_array())
            .map(|(_, offset, _, numbers)| Field {
                offset,
                kind: numbers.kind,
            })
    };
    let start = options.start_column.as_deref();
    let start_ns = plain(Role::Start, start);
    if let Some(start) = start.filter(|_| start_ns.is_none()) {
        return Err(Error::input(
            path,
            format!("{layout} has no field of numbers `{start}`"),
        ));
    }
    let (event_name, event_id) = id(Role::Event, options.event_column.as_deref())?;
    let (channel_name, channel_id) = id(Role::Channel, options.channel_column.as_deref())?;
    let (_, samples_offset, row_samples, numbers) = names
        .iter()
        .position(|name| *name == samples)
        .and_then(within)
        .ok_or_else(|| {
            Error::input(
                path,
                format!("{layout}: the field `{samples}` reaches beyond the record"),
            )
        })?;
    if numbers.shape.len() > 1 {
        let what = format!("{layout}: the field `{samples}`");
        let expression = format!("a[\"{samples}\"]");
        return Err(two_dimensional(path, &what, &numbers.shape, &expression));
    }
    let guessed: Vec<_> = [
        (Role::Event, event_name, &options.event_column),
        (Role::Channel, channel_name, &options.channel_column),
        (Role::Samples, samples, &options.samples_column),
    ]
    .into_iter()
    .filter(|(.., wanted)| wanted.is_none())
    .map(|(role, name, _)| (role, name))
    .collect();
    Ok(Found {
        rows: StoredRows::open(path, n_bytes, &entry.path, &entry.dataset)?,
        entry: entry.clone(),
        n_rows: entry.shape.first().copied().unwrap_or(1),
        n_channels: 1,
        waveform_bytes: record_bytes,
        samples_offset,
        row_samples,
        kind: numbers.kind,
        columns: Columns::Fields(Fields {
            event_id,
            channel_id,
            start_ns,
            n_samples: plain(Role::Length, None),
        }),
        remarks: names::guessed(&guessed)
            .into_iter()
            .chain(names::possible_start(start, names.iter().copied()))
            .collect(),
        layout: format!("{layout} with the fields {event_name}, {channel_name}, {samples}"),
    })
}

/// Returns the error of a table without a field of integers for a role; `there` is the field that has its name.
fn no_integers(
    path: &Path,
    layout: &str,
    role: Role,
    there: Option<&CompoundMember>,
    names: &[&str],
) -> Error {
    let what = role.name();
    let text = match there {
        Some(member) => format!(
            "{layout}: the field `{}` of the {what} holds {}, not integers",
            member.name,
            describe_type(&member.datatype)
        ),
        None => format!(
            "{layout} has no integer field of the {what}; its fields are `{}`",
            names.join("`, `")
        ),
    };
    Error::input(path, text).with_hint(HINT)
}
