//! Reads the truth from an HDF5 file: `/truth/photoelectrons` and `/truth/events`, one dataset per column, or events only
//! from arrays at the root whose names begin with `truth_`, as other simulations write them.

use std::path::Path;

use hdf5_pure::File;

use crate::error::{Error, Result};
use crate::io::hdf5_file::{self, StoredRows, open_file, shape_text};
use crate::io::limits;
use crate::model::{Photoelectron, TrueEvent, Truth};

/// Maximum number of rows of truth, which are held in memory.
const MAX_ROWS: u64 = 1 << 32;

/// Returns true if the file has photoelectrons.
pub(crate) fn is_in(file: &File) -> bool {
    file.dataset("truth/photoelectrons/time_ns").is_ok()
}

/// Reads the truth; `None` if the file has none.
pub(crate) fn read_truth(path: &Path) -> Result<Option<Truth>> {
    let file = open_file(path)?.file;
    let n_bytes = file.file_size();
    if !is_in(&file) {
        return Ok(read_arrays(&file, path, n_bytes)?.map(|events| Truth {
            photoelectrons: Vec::new(),
            events,
        }));
    }
    let table = |name| Table {
        file: &file,
        path,
        name,
        n_bytes,
    };
    let pes = table("truth/photoelectrons");
    let event_id = pes.integers("event_id")?;
    let channel_id = pes.integers("channel_id")?;
    let time_ns = pes.floats("time_ns")?;
    let charge_pe = pes.floats("charge_pe")?;
    let lengths = [
        event_id.len(),
        channel_id.len(),
        time_ns.len(),
        charge_pe.len(),
    ];
    pes.check_lengths(&lengths)?;
    let photoelectrons = event_id
        .into_iter()
        .zip(channel_id)
        .zip(time_ns.into_iter().zip(charge_pe))
        .map(|((event_id, channel_id), (time_ns, charge_pe))| {
            Ok(Photoelectron {
                event_id: pes.id(event_id)?,
                channel_id: pes.id(channel_id)?,
                time_ns,
                charge_pe: charge_pe as f32,
            })
        })
        .collect::<Result<_>>()?;
    let events = if file.dataset("truth/events/event_id").is_ok() {
        read_events(&table("truth/events"))?
    } else {
        Vec::new()
    };
    Ok(Some(Truth {
        photoelectrons,
        events,
    }))
}

fn read_events(table: &Table<'_>) -> Result<Vec<TrueEvent>> {
    let event_id = table.integers("event_id")?;
    let columns = ["x_mm", "y_mm", "z_mm", "time_ns", "energy_mev"]
        .into_iter()
        .map(|name| table.floats(name))
        .collect::<Result<Vec<_>>>()?;
    events(table, &event_id, &columns)
}

/// Roles of the arrays at the root, and the ends of their names (after `truth`, in lower case, without `_`).
const ARRAYS: [(&str, &[&str]); 6] = [
    ("event_id", &["eventid", "event"]),
    ("x_mm", &["xmm"]),
    ("y_mm", &["ymm"]),
    ("z_mm", &["zmm"]),
    ("time_ns", &["timens", "tns", "time", "t"]),
    ("energy_mev", &["energymev", "emev"]),
];

/// Reads the events in `truth_EventID`, `truth_x_mm` and so on; `None` if the file has no such arrays.
fn read_arrays(file: &File, path: &Path, n_bytes: u64) -> Result<Option<Vec<TrueEvent>>> {
    let Ok(datasets) = file.root().iter_datasets() else {
        return Ok(None);
    };
    let names: Vec<String> = datasets.into_iter().map(|(name, _)| name).collect();
    let array = |endings: &[&str]| {
        endings.iter().find_map(|ending| {
            let is_it = |name: &&String| {
                let plain = name.replace('_', "").to_ascii_lowercase();
                plain.strip_prefix("truth") == Some(ending)
            };
            names.iter().find(is_it)
        })
    };
    let [(_, event_id), columns @ ..] = ARRAYS;
    // A file with true energies but without event numbers is of another kind.
    let (Some(event_id), Some(_)) = (array(event_id), array(&["xmm"])) else {
        return Ok(None);
    };
    let table = Table {
        file,
        path,
        name: "",
        n_bytes,
    };
    let event_id = table.whole_numbers(event_id)?;
    let mut found = Vec::with_capacity(columns.len());
    for (role, endings) in columns {
        found.push(match array(endings) {
            Some(name) => table.floats(name)?,
            // A file that does not state the time of the deposit counts times from it.
            None if role == "time_ns" => vec![0.0; event_id.len()],
            None => return Err(table.error(format!("there is no `truth_{role}`"))),
        });
    }
    events(&table, &event_id, &found).map(Some)
}

/// Makes events of their numbers and the columns x, y, z, time, energy.
fn events(table: &Table<'_>, event_id: &[i128], columns: &[Vec<f64>]) -> Result<Vec<TrueEvent>> {
    let mut lengths: Vec<_> = columns.iter().map(Vec::len).collect();
    lengths.push(event_id.len());
    table.check_lengths(&lengths)?;
    event_id
        .iter()
        .enumerate()
        .map(|(row, &event_id)| {
            let at = |column: usize| {
                columns
                    .get(column)
                    .and_then(|column| column.get(row))
                    .copied()
                    .unwrap_or(f64::NAN)
            };
            Ok(TrueEvent {
                event_id: table.id(event_id)?,
                x_mm: at(0),
                y_mm: at(1),
                z_mm: at(2),
                time_ns: at(3),
                energy_mev: at(4),
            })
        })
        .collect()
}

/// A group whose datasets are the columns of a table.
struct Table<'a> {
    file: &'a File,
    path: &'a Path,
    name: &'static str,
    n_bytes: u64,
}

impl Table<'_> {
    fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::input(self.path, format!("`/{}`: {message}", self.name))
    }

    /// Returns the bytes of a column and their type.
    fn column(&self, name: &str) -> Result<(Vec<u8>, crate::io::waveforms::scalar::ScalarType)> {
        let unreadable = |error: hdf5_pure::Error| {
            self.error(format!("`{name}` cannot be read"))
                .with_source(error)
        };
        let dataset = self
            .file
            .dataset(format!("{}/{name}", self.name).trim_start_matches('/'))
            .map_err(unreadable)?;
        let datatype = dataset.datatype().map_err(unreadable)?;
        let shape = dataset.shape().map_err(unreadable)?;
        limits::hdf5::check_whole(&dataset, self.n_bytes)
            .map_err(|reason| self.error(format!("`{name}` cannot be read: {reason}")))?;
        let numbers = hdf5_file::numbers(&datatype)
            .filter(|numbers| !numbers.is_array())
            .ok_or_else(|| self.error(format!("`{name}` does not hold numbers")))?;
        let n_rows = match shape.as_slice() {
            [n_rows] if *n_rows <= MAX_ROWS => *n_rows,
            _ => {
                let shape = shape_text(&shape);
                return Err(self.error(format!("`{name}` has the impossible shape {shape}")));
            }
        };
        let place = format!("{}/{name}", self.name);
        let place = place.trim_start_matches('/');
        let stored = StoredRows::open(self.path, self.n_bytes, place, &dataset)?;
        let bytes = stored.read(&(0..n_rows)).map_err(|reason| {
            self.error(format!("`{name}` cannot be read"))
                .with_source(reason)
        })?;
        Ok((bytes, numbers.kind))
    }

    fn integers(&self, name: &str) -> Result<Vec<i128>> {
        let (bytes, kind) = self.column(name)?;
        if kind.scalar.is_integer() {
            Ok(kind.integers(&bytes))
        } else {
            Err(self.error(format!("`{name}` does not hold integers")))
        }
    }

    fn floats(&self, name: &str) -> Result<Vec<f64>> {
        let (bytes, kind) = self.column(name)?;
        Ok(kind.floats(&bytes))
    }

    /// Returns integers, or floating-point numbers that are whole.
    fn whole_numbers(&self, name: &str) -> Result<Vec<i128>> {
        let (bytes, kind) = self.column(name)?;
        if kind.scalar.is_integer() {
            return Ok(kind.integers(&bytes));
        }
        let numbers = kind.floats(&bytes);
        if let Some(other) = numbers.iter().find(|number| number.fract() != 0.0) {
            return Err(self.error(format!(
                "`{name}` holds {other}, which is not an event number"
            )));
        }
        Ok(numbers.into_iter().map(|number| number as i128).collect())
    }

    fn id<T: TryFrom<i128>>(&self, id: i128) -> Result<T> {
        T::try_from(id).map_err(|_| self.error(format!("{id} is no event or channel number")))
    }

    fn check_lengths(&self, lengths: &[usize]) -> Result<()> {
        match lengths {
            [first, rest @ ..] if rest.iter().any(|length| length != first) => {
                Err(self.error(format!("the columns have different lengths {lengths:?}")))
            }
            _ => Ok(()),
        }
    }
}
