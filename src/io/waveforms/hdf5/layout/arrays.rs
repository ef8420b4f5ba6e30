//! Waveforms in an array: waveforms x samples, or events x channels x samples, with their numbers in arrays next to it.

use std::path::Path;

use super::{Arrays, Column, Columns, Context, Found, two_dimensional};
use crate::error::{Error, Hint, Result};
use crate::io::hdf5_file::{self, Entry, StoredRows, broken_link, describe_type, shape_text};
use crate::io::waveforms::axes;
use crate::io::waveforms::blocks::check_fixed_length;
use crate::io::waveforms::names::{self, Role};

/// Returns the numbers of rows and channels, if there is an axis of channels, and of samples; `of_element` are the axes of an element.
fn lengths(
    entry: &Entry,
    of_element: &[u64],
    path: &Path,
    what: &str,
) -> Result<(u64, Option<u64>, usize)> {
    let mut axes_of_all = entry.shape.clone();
    axes_of_all.extend(of_element);
    let (n_rows, n_channels, row_samples) = match *axes_of_all.as_slice() {
        [n_rows, n_samples] => (n_rows, None, n_samples),
        [n_rows, n_channels, n_samples] => (n_rows, Some(n_channels), n_samples),
        _ => return Err(Error::internal("waveforms of an unknown shape")),
    };
    let row_samples = usize::try_from(row_samples).unwrap_or(usize::MAX);
    check_fixed_length(path, what, row_samples).map_err(|error| match n_channels {
        Some(_) => error.with_hint(axes::TRANSPOSE),
        None => error,
    })?;
    Ok((n_rows, n_channels, row_samples))
}

/// Returns the waveforms of the array `entry`.
pub(super) fn arrays(entry: &Entry, context: &Context<'_>) -> Result<Found> {
    let Context { path, options, .. } = *context;
    let what = format!("`/{}`", entry.path);
    let numbers = hdf5_file::numbers(&entry.datatype)
        .ok_or_else(|| Error::internal("waveforms that are no numbers"))?;
    if numbers.shape.len() > 1 {
        return Err(two_dimensional(path, &what, &numbers.shape, "a"));
    }
    let (n_rows, n_channels, row_samples) = lengths(entry, &numbers.shape, path, &what)?;
    let siblings: Vec<&Entry> = context
        .listing
        .entries
        .iter()
        .filter(|other| other.group() == entry.group() && other.own_path() != entry.own_path())
        .collect();
    let side = Side {
        context,
        entry,
        siblings,
        n_rows,
        n_channels,
    };
    let mut guessed = vec![];
    if options.samples_column.is_none() && options.table.is_none() {
        guessed.push((Role::Samples, entry.name().to_owned()));
    }
    let mut taken: Vec<String> = Vec::new();
    let mut column = |role: Role, wanted: Option<&str>| {
        let Some(other) = side.find(role, wanted)? else {
            return Ok(None);
        };
        taken.push(other.own_path().to_owned());
        if wanted.is_none() && matches!(role, Role::Event | Role::Channel) {
            guessed.push((role, other.name().to_owned()));
        }
        side.column(role, other).map(Some)
    };
    let event_id = column(Role::Event, options.event_column.as_deref())?;
    let channel_id = column(Role::Channel, options.channel_column.as_deref())?;
    let start_ns = column(Role::Start, options.start_column.as_deref())?;
    let n_samples = column(Role::Length, None)?;
    let (channels, channel_id) = side.channels(channel_id)?;
    let mut missing = Vec::new();
    let mut layout = format!("arrays next to {what}");
    if event_id.is_none() {
        missing.push(Role::Event);
        let is_axis = n_channels.is_some();
        layout.push_str(if is_axis {
            ", event = first axis"
        } else {
            ", event = row number"
        });
    }
    if channel_id.is_none() && channels.is_none() {
        if n_channels.is_none() && options.channel_id.is_none() {
            missing.push(Role::Channel);
        }
        if n_channels.is_some() {
            layout.push_str(", channel = second axis");
        }
    }
    let mut remarks = Vec::new();
    if let Some(n_channels) = n_channels {
        remarks.push(axes::remark(&what, n_rows, n_channels, row_samples));
    }
    let guessed: Vec<(Role, &str)> = guessed
        .iter()
        .map(|(role, name)| (*role, name.as_str()))
        .collect();
    remarks.extend(names::guessed(&guessed));
    remarks.extend(names::unused(&missing, &side.unused(&taken)));
    remarks.extend(names::possible_start(
        options.start_column.as_deref(),
        side.names(),
    ));
    Ok(Found {
        rows: StoredRows::open(path, context.n_bytes, &entry.path, &entry.dataset)?,
        entry: entry.clone(),
        n_rows,
        n_channels: n_channels.unwrap_or(1),
        waveform_bytes: row_samples.saturating_mul(numbers.kind.size()),
        samples_offset: 0,
        row_samples,
        kind: numbers.kind,
        columns: Columns::Arrays(Box::new(Arrays {
            event_id,
            channel_id,
            start_ns,
            n_samples,
            channels,
            has_channel_axis: n_channels.is_some(),
        })),
        layout,
        remarks,
    })
}

/// The arrays next to the samples.
struct Side<'a> {
    context: &'a Context<'a>,
    entry: &'a Entry,
    siblings: Vec<&'a Entry>,
    n_rows: u64,
    n_channels: Option<u64>,
}

impl Side<'_> {
    /// Returns the array with `role`; a link that leads to none is an error, because without it the numbers would be others.
    fn find(&self, role: Role, wanted: Option<&str>) -> Result<Option<&Entry>> {
        let Context { path, listing, .. } = *self.context;
        let found = match wanted {
            None => {
                let names: Vec<&str> = self.siblings.iter().map(|other| other.name()).collect();
                names::find(&names, role, None).and_then(|index| self.siblings.get(index).copied())
            }
            Some(wanted) => {
                let end = listing.resolve(wanted);
                let of_path = || {
                    let entries = listing.entries.iter();
                    entries
                        .filter(|other| other.own_path() != self.entry.own_path())
                        .find(|other| other.path == wanted.trim_matches('/') || other.path == end)
                };
                let of_name = self.siblings.iter().find(|other| other.name() == wanted);
                of_name.copied().or_else(of_path)
            }
        };
        if found.is_some() {
            return Ok(found);
        }
        if let Some(wanted) = wanted {
            return Err(Error::input(
                path,
                format!("has no array `{wanted}`; it holds {}", listing.describe()),
            ));
        }
        let group = self.entry.group();
        let broken = listing.broken().find(|(link, _)| {
            let (of_group, name) = link.rsplit_once('/').unwrap_or(("", link));
            of_group == group && names::is_named(name, role, None)
        });
        match broken {
            None => Ok(None),
            Some((link, target)) => {
                let what = format!("by its name the {} of the waveforms", role.name());
                let hint = Hint::NameColumns {
                    table: false,
                    roles: &["event", "channel", "samples"],
                };
                Err(broken_link(path, link, target, &what, hint))
            }
        }
    }

    /// Checks type and shape of an array: one number per row, or one per row and channel.
    fn column(&self, role: Role, other: &Entry) -> Result<Column> {
        let what = format!("`/{}`", other.path);
        let path = self.context.path;
        let integer = role != Role::Start;
        let kind = hdf5_file::numbers(&other.datatype)
            .filter(|numbers| !numbers.is_array())
            .map(|numbers| numbers.kind)
            .filter(|kind| kind.scalar.is_integer() || !integer)
            .ok_or_else(|| {
                let found = describe_type(&other.datatype);
                Error::input(path, format!("{what} holds {found}, not plain integers"))
            })?;
        let is_list = role == Role::Channel
            && self
                .n_channels
                .is_some_and(|n| other.shape == [n] && n != self.n_rows);
        let is_per_channel = self
            .n_channels
            .is_some_and(|n| other.shape == [self.n_rows, n]);
        if other.shape.is_empty() {
            return Err(names::single_number(path, &what, role, self.n_rows));
        }
        if !is_list && !is_per_channel && other.shape != [self.n_rows] {
            return Err(Error::input(
                path,
                format!(
                    "{what} has the shape {}, but `/{}` has {} waveforms",
                    shape_text(&other.shape),
                    self.entry.path,
                    self.n_rows.saturating_mul(self.n_channels.unwrap_or(1))
                ),
            ));
        }
        if role == Role::Channel && self.n_channels.is_some() && !is_list && !is_per_channel {
            return Err(axes::one_channel_per_row(
                path,
                &format!("`/{}`", self.entry.path),
                &self.entry.shape,
                &what,
            ));
        }
        Ok(Column {
            rows: StoredRows::open(path, self.context.n_bytes, &other.path, &other.dataset)?,
            kind,
            is_per_channel,
        })
    }

    /// Reads the channels of the second axis, if `column` lists them.
    fn channels(&self, column: Option<Column>) -> Result<(Option<Vec<i128>>, Option<Column>)> {
        let (n_channels, column) = match (self.n_channels, column) {
            (Some(n_channels), Some(column)) if !column.is_per_channel => (n_channels, column),
            (_, column) => return Ok((None, column)),
        };
        let path = self.context.path;
        if n_channels > self.context.n_bytes {
            let text = format!("claims {n_channels} channels, more than it can hold");
            return Err(Error::input(path, text));
        }
        let bytes = column.rows.read(&(0..n_channels)).map_err(|reason| {
            Error::input(path, "the list of channels cannot be read").with_source(reason)
        })?;
        let channels = column.kind.integers(&bytes);
        if channels.len() as u64 == n_channels {
            Ok((Some(channels), None))
        } else {
            Err(Error::input(path, "the list of channels is too short"))
        }
    }

    /// Returns the names of all arrays with a number for each row.
    fn names(&self) -> impl Iterator<Item = &str> {
        let lists = self.siblings.iter();
        lists
            .filter(|other| other.shape.first() == Some(&self.n_rows))
            .map(|other| other.name())
    }

    /// Returns the names of the arrays that could be numbers of the waveforms, without those that are `taken`.
    fn unused(&self, taken: &[String]) -> Vec<&str> {
        self.siblings
            .iter()
            .filter(|other| {
                other.shape == [self.n_rows]
                    && !taken.iter().any(|path| path == other.own_path())
                    && hdf5_file::numbers(&other.datatype)
                        .is_some_and(|it| !it.is_array() && it.kind.scalar.is_integer())
            })
            .map(|other| other.name())
            .collect()
    }
}
