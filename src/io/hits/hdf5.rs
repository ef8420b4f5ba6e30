//! Hits in an HDF5 file: arrays of equal length in one group, one entry per hit.

use std::path::{Path, PathBuf};

use super::names::{Role, find, other_charges, without_charge};
use super::raw::RawRows;
use crate::error::{Error, Hint, Result};
use crate::io::catch_panic::guarded;
use crate::io::hdf5_file::{self, Entry, Listing, StoredRows, open_file, shape_text};
use crate::io::waveforms::scalar::ScalarType;
use crate::io::{ReadOptions, Remark};

/// Rows read at a time if chunks have fewer.
const WINDOW_ROWS: u64 = 65_536;
/// Rows of the largest chunk that is read at once. Larger chunks are decompressed several times.
const MAX_WINDOW_ROWS: u64 = 1 << 23;
const NEEDED: [Role; 3] = [Role::Event, Role::Channel, Role::Time];
const HINT: Hint = Hint::NameColumns {
    table: true,
    roles: &["event", "channel", "time", "charge"],
};

/// The arrays with the hits of a file.
pub(crate) struct HitArrays {
    path: PathBuf,
    arrays: Vec<Array>,
    rows: u64,
    /// Description of the layout, for messages.
    pub layout: String,
    /// A remark for the user on how the arrays are read.
    pub remark: Option<Remark>,
}

#[derive(Clone)]
struct Array {
    role: Role,
    name: String,
    stored: StoredRows,
    kind: ScalarType,
}

/// Finds the hits.
pub(crate) fn find_hits(path: &Path, options: &ReadOptions) -> Result<HitArrays> {
    let file = open_file(path)?;
    let listing = hdf5_file::datasets(&file, path)?;
    let entries = &listing.entries;
    let wanted = options.table.as_deref().map(|table| listing.resolve(table));
    let mut groups: Vec<&str> = entries.iter().map(Entry::group).collect();
    groups.sort_unstable();
    groups.dedup();
    groups.retain(|group| wanted.as_deref().is_none_or(|wanted| wanted == *group));
    let found: Vec<_> = groups
        .iter()
        .map(|group| in_group(group, entries, options))
        .filter(|columns| {
            NEEDED
                .iter()
                .all(|role| columns.iter().any(|it| it.0 == *role))
        })
        .collect();
    let columns = match found.as_slice() {
        [columns] => columns,
        [] => return Err(none_found(path, &listing, wanted.as_deref(), options)),
        [first, second, ..] => {
            let path_of = |columns: &[(Role, &Entry)]| {
                columns
                    .first()
                    .map_or_else(String::new, |it| it.1.path.clone())
            };
            return Err(Error::input(
                path,
                format!(
                    "both `/{}` and `/{}` could belong to the hits",
                    path_of(first),
                    path_of(second)
                ),
            )
            .with_hint(Hint::ChooseTable { example: None }));
        }
    };
    for &role in Role::HIT_ROLES {
        if columns.iter().any(|(found, _)| *found == role) {
            continue;
        }
        if let Some(name) = role.required(options) {
            return Err(
                Error::input(path, format!("has no array `{name}` next to the hits"))
                    .with_hint(HINT),
            );
        }
        let group = columns.first().map_or("", |(_, entry)| entry.group());
        check_links(path, &listing, group, role, options)?;
    }
    let mut arrays = checked(path, file.file.file_size(), columns)?;
    let others = others(columns, entries);
    let charge = columns.iter().find(|(role, _)| *role == Role::Charge);
    arrays.remark = match charge {
        Some((_, charge)) => other_charges(path, charge.name(), &others, options)?,
        None => Some(without_charge(path, &others, options)?),
    };
    Ok(arrays)
}

/// Refuses hits of which a column, known by its name, is a link that leads to no array of this file.
fn check_links(
    path: &Path,
    listing: &Listing,
    group: &str,
    role: Role,
    options: &ReadOptions,
) -> Result<()> {
    if role.wanted(options).is_some() {
        return Ok(());
    }
    let broken = listing.broken().find(|(link, _)| {
        let (of_group, name) = link.rsplit_once('/').unwrap_or(("", link));
        of_group == group && find(&[name], role, options).is_some()
    });
    match broken {
        None => Ok(()),
        Some((link, target)) => {
            let what = format!("by its name the {} of the hits", role.column());
            Err(hdf5_file::broken_link(path, link, target, &what, HINT))
        }
    }
}

/// Returns the error of a file without arrays of hits, in the group `wanted` if the user named one.
fn none_found(
    path: &Path,
    listing: &Listing,
    wanted: Option<&str>,
    options: &ReadOptions,
) -> Error {
    const NEEDED_ARRAYS: &str = "has no arrays with the events, channels and times of hits";
    let table = listing.entries.iter().find(|entry| {
        let fields = hdf5_file::fields(&entry.datatype);
        let is_it = NEEDED
            .iter()
            .all(|&role| find(&fields, role, options).is_some());
        let is_wanted = wanted == Some(entry.own_path()) || wanted == Some(entry.path.as_str());
        !fields.is_empty() && (is_wanted || (wanted.is_none() && is_it))
    });
    if let Some(table) = table {
        let name = &table.path;
        return Error::input(
            path,
            format!(
                "{NEEDED_ARRAYS}: `/{name}` is a table of records, and hits are read from one array per column"
            ),
        )
        .with_hint(format!(
            "write its fields as arrays of one group: in Python, with `a = f[\"{name}\"][:]`, `for n in a.dtype.names: \
             g[n] = a[n]`; or write the table as Parquet"
        ));
    }
    let error = Error::input(
        path,
        format!("{NEEDED_ARRAYS}; it holds {}", listing.describe()),
    );
    match listing.advice_on_files() {
        Some(advice) => error.with_hint(advice),
        None => error.with_hint(HINT),
    }
}

/// Returns the names of the arrays of numbers next to `columns`, one entry per hit.
fn others<'a>(columns: &[(Role, &Entry)], entries: &'a [Entry]) -> Vec<&'a str> {
    let Some((_, first)) = columns.first() else {
        return Vec::new();
    };
    let is_other = |entry: &&Entry| {
        entry.group() == first.group()
            && entry.shape == first.shape
            && hdf5_file::numbers(&entry.datatype).is_some()
            && columns
                .iter()
                .all(|(_, known)| known.own_path() != entry.own_path())
    };
    entries.iter().filter(is_other).map(Entry::name).collect()
}

/// Finds the columns among the arrays of a group. An array that has not as many entries as that of the events, or no numbers,
/// is not taken as the charges without being asked for.
fn in_group<'a>(
    group: &str,
    entries: &'a [Entry],
    options: &ReadOptions,
) -> Vec<(Role, &'a Entry)> {
    let members: Vec<&'a Entry> = entries.iter().filter(|it| it.group() == group).collect();
    let found = |members: &[&'a Entry], role: Role| {
        let names: Vec<&str> = members.iter().map(|it| it.name()).collect();
        members.get(find(&names, role, options)?).copied()
    };
    let event = found(&members, Role::Event);
    let per_hit: Vec<&'a Entry> = members
        .iter()
        .copied()
        .filter(|it| {
            hdf5_file::numbers(&it.datatype).is_some()
                && event.is_none_or(|event| event.shape == it.shape)
        })
        .collect();
    Role::HIT_ROLES
        .iter()
        .filter_map(|&role| {
            let first = (role == Role::Charge)
                .then(|| found(&per_hit, role))
                .flatten();
            Some((role, first.or_else(|| found(&members, role))?))
        })
        .collect()
}

/// Checks the arrays: numbers, one per hit, of a length that the file can hold.
fn checked(path: &Path, n_bytes: u64, columns: &[(Role, &Entry)]) -> Result<HitArrays> {
    let mut arrays = Vec::with_capacity(columns.len());
    let mut length = None;
    for (role, entry) in columns {
        let bad =
            |what: String| Error::input(path, format!("`/{}` {what}", entry.path)).with_hint(HINT);
        let expected = if role.is_integer() {
            "integers"
        } else {
            "numbers"
        };
        let kind = hdf5_file::numbers(&entry.datatype)
            .filter(|numbers| !numbers.is_array())
            .map(|numbers| numbers.kind)
            .ok_or_else(|| bad(format!("does not hold plain {expected}")))?;
        if role.is_integer() && !kind.scalar.is_integer() {
            return Err(bad(format!(
                "is of type {}, not {expected}",
                kind.scalar.name()
            )));
        }
        let [rows] = entry.shape.as_slice() else {
            return Err(bad(format!(
                "has the shape {}, expected one entry per hit",
                shape_text(&entry.shape)
            )));
        };
        if *length.get_or_insert(*rows) != *rows {
            return Err(bad(format!(
                "has {rows} entries, but there are {} hits",
                length.unwrap_or(0)
            )));
        }
        let stored = StoredRows::open(path, n_bytes, &entry.path, &entry.dataset)?;
        let max_bytes = n_bytes.saturating_mul(stored.max_compression());
        if rows.saturating_mul(kind.size() as u64) > max_bytes {
            return Err(bad(format!(
                "claims {rows} entries, more than a file of {n_bytes} bytes can hold"
            )));
        }
        arrays.push(Array {
            role: *role,
            name: entry.path.clone(),
            stored,
            kind,
        });
    }
    let names: Vec<_> = arrays.iter().map(|it| format!("/{}", it.name)).collect();
    Ok(HitArrays {
        path: path.to_owned(),
        rows: length.unwrap_or(0),
        remark: None,
        layout: format!("the arrays {}", names.join(", ")),
        arrays,
    })
}

impl HitArrays {
    /// Reads the arrays of those `roles` that the file has.
    pub fn rows(&self, roles: &[Role]) -> HitArrayRows {
        let mut arrays = self.arrays.clone();
        arrays.retain(|array| roles.contains(&array.role));
        let mut window_rows = WINDOW_ROWS;
        for array in &arrays {
            window_rows = window_rows.max(array.stored.chunk_rows().min(MAX_WINDOW_ROWS));
        }
        HitArrayRows {
            path: self.path.clone(),
            arrays,
            rows: self.rows,
            window_rows,
            next_row: 0,
        }
    }
}

/// Rows of the arrays.
pub(crate) struct HitArrayRows {
    path: PathBuf,
    arrays: Vec<Array>,
    rows: u64,
    window_rows: u64,
    next_row: u64,
}

impl HitArrayRows {
    /// Reads the next rows; `None` at the end.
    pub fn next(&mut self) -> Result<Option<RawRows>> {
        let rows = self.window_rows.min(self.rows - self.next_row);
        if rows == 0 {
            return Ok(None);
        }
        let mut block = RawRows {
            first_row: self.next_row,
            rows: rows as usize,
            ..RawRows::default()
        };
        for array in &self.arrays {
            let bytes = guarded(&self.path, || self.read(array, rows))?;
            if array.role.is_integer() {
                let values = array.kind.integers(&bytes);
                block.set_integers(array.role, values.into_iter().map(Some).collect());
            } else {
                let values = array.kind.floats(&bytes);
                block.set_floats(array.role, values.into_iter().map(Some).collect());
            }
        }
        self.next_row += rows;
        Ok(Some(block))
    }

    fn read(&self, array: &Array, rows: u64) -> Result<Vec<u8>> {
        let bad = |what: &str| {
            let last = self.next_row + rows - 1;
            let place = format!("`/{}`, rows {} to {last}", array.name, self.next_row);
            Error::input(&self.path, format!("{place}: {what}"))
        };
        let bytes = array
            .stored
            .read(&(self.next_row..self.next_row + rows))
            .map_err(|reason| bad("cannot be read").with_source(reason))?;
        if bytes.len() as u64 == rows.saturating_mul(array.kind.size() as u64) {
            Ok(bytes)
        } else {
            Err(bad("not as many bytes as there should be"))
        }
    }
}
