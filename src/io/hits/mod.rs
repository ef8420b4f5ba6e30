//! Reads hits as an input: the output folder of `reconstruct`, Parquet tables, arrays in HDF5 files.
//!
//! A source is read twice. [`open`] reads the event numbers alone, to find out whether the hits are sorted by event.
//! [`HitSource::hits`] then reads all columns. If the hits are sorted, memory use does not depend on the size of the table.

mod hdf5;
mod names;
mod parquet;
mod raw;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use names::Role;
use raw::RawRows;

use crate::error::{Error, Result};
use crate::io::catch_panic::guarded;
use crate::io::tables;
use crate::io::tables::read::{part_files, read_report};
use crate::io::waveforms::{FORMATS, HDF5, PARQUET, detect};
use crate::io::waveforms::{Loss, ReadOptions, SourceInfo};
use crate::model::ChannelHit;

/// Maximum number of inputs in a table; each becomes a part of the output.
const MAX_INPUTS: usize = 10_000;

/// An event of a table: the index of its input, and its number.
pub type EventKey = (u32, u64);

/// One hit of a table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HitRow {
    /// Its event.
    pub event: EventKey,
    /// The hit.
    pub hit: ChannelHit,
}

/// An open table of hits.
pub struct HitSource {
    /// The description of the file.
    pub info: SourceInfo,
    /// The inputs that the rows come from, ascending; 0 if the table does not state them.
    pub inputs: Vec<u32>,
    /// Number of hits of each of them.
    pub hits_of: Vec<u64>,
    /// Rows that belong to no event.
    pub losses: Vec<Loss>,
    hits: Table,
    /// All events including those without a hit, if they are known.
    events: Option<Table>,
}

/// Rows of hits or waveforms, and the results of the first pass over them.
struct Table {
    content: Content,
    /// Rows with an event.
    rows: u64,
    is_sorted: bool,
    /// Where the event number falls for the first time: `row 12: event 0 after event 5`.
    falls_at: Option<String>,
}

enum Content {
    Parquet(parquet::Files),
    Hdf5(hdf5::HitArrays),
}

/// Opens a table of hits: a folder that `reconstruct` made, a Parquet file or a folder of them, or an HDF5 file.
///
/// # Errors
/// If it cannot be read, or lacks a column.
pub fn open(path: &Path, options: &ReadOptions) -> Result<HitSource> {
    if path.is_dir() && (path.join("report.json").exists() || path.join("hits").is_dir()) {
        read_report(path)?;
        let table = |name: &str| path.join(name);
        if !table("hits").is_dir() {
            return Err(Error::input(
                path,
                "is a folder of `nuwave reconstruct` without a table of hits",
            )
            .with_hint("it was made from hits; name these hits instead"));
        }
        return open_tables(path, &table("hits"), Some(&table("waveforms")));
    }
    if path.is_dir() {
        return HitSource::from_parquet(path, part_files(path)?, options);
    }
    let (format, n_bytes) = detect::detect(FORMATS, path, Some(crate::model::MIN_SAMPLES))?;
    if *format == PARQUET {
        return HitSource::from_parquet(path, vec![path.to_owned()], options);
    }
    if *format == HDF5 {
        let arrays = guarded(path, || hdf5::find_hits(path, options))?;
        let mut info = SourceInfo::new(path.to_owned(), "HDF5 hits", n_bytes);
        info.layout.clone_from(&arrays.layout);
        info.remarks.extend(arrays.remark.clone());
        return HitSource::first_pass(info, Content::Hdf5(arrays), None);
    }
    Err(Error::input(path, "is not a table of hits").with_hint(
        "hits are read from Parquet and HDF5 files, and from folders that `nuwave reconstruct` made",
    ))
}

/// Opens the tables that `reconstruct` writes, `hits` and perhaps `waveforms`, each a file or a folder of parts.
///
/// # Errors
/// As [`open`].
pub fn open_tables(path: &Path, hits_at: &Path, waveforms_at: Option<&Path>) -> Result<HitSource> {
    let options = ReadOptions::default();
    let mut info = SourceInfo::new(path.to_owned(), "Parquet hits", 0);
    "the tables `hits` and `waveforms`".clone_into(&mut info.layout);
    let files = |at: &Path, roles: &[Role]| {
        parquet::Files::open(part_files(at)?, roles, &options).map(Content::Parquet)
    };
    let events = waveforms_at
        .filter(|at| at.exists())
        .map(|at| files(at, &[Role::Event]))
        .transpose()?;
    HitSource::first_pass(
        info,
        files(hits_at, &[Role::Event, Role::Channel, Role::Time])?,
        events,
    )
}

impl HitSource {
    fn from_parquet(path: &Path, files: Vec<PathBuf>, options: &ReadOptions) -> Result<Self> {
        let mut info = SourceInfo::new(path.to_owned(), "Parquet hits", 0);
        let needed = [Role::Event, Role::Channel, Role::Time];
        let files = parquet::Files::open(files, &needed, options)?;
        info.layout = files.layout();
        info.remarks.extend(files.remark());
        Self::first_pass(info, Content::Parquet(files), None)
    }

    /// Runs the first pass, over event numbers alone.
    fn first_pass(info: SourceInfo, hits: Content, events: Option<Content>) -> Result<Self> {
        let mut inputs = BTreeMap::new();
        let mut losses = Vec::new();
        let hits = Table::first_pass(hits, &info.path, &mut inputs, &mut losses)?;
        let mut of_events = BTreeMap::new();
        let events = events
            .map(|events| Table::first_pass(events, &info.path, &mut of_events, &mut losses))
            .transpose()?;
        for input in of_events.into_keys() {
            inputs.entry(input).or_default();
        }
        // A table without rows is an input as well.
        if inputs.is_empty() {
            inputs.insert(0, 0);
        }
        Ok(Self {
            info,
            hits_of: inputs.values().copied().collect(),
            inputs: inputs.into_keys().collect(),
            losses,
            hits,
            events,
        })
    }

    /// Returns the number of hits that belong to an event.
    #[must_use]
    pub fn n_hits(&self) -> u64 {
        self.hits.rows
    }

    /// Returns true if the hits are sorted by event.
    #[must_use]
    pub fn is_sorted(&self) -> bool {
        self.hits.is_sorted
    }

    /// Returns where the event number falls for the first time, with both numbers; empty if the hits are sorted.
    #[must_use]
    pub fn falls_at(&self) -> &str {
        self.hits.falls_at.as_deref().unwrap_or_default()
    }

    /// Reads the hits sorted by event. The hits of one event keep their order.
    ///
    /// # Errors
    /// If the hits are not sorted, and cannot be read to be sorted.
    pub fn hits(&self) -> Result<HitRows> {
        let mut rows = self.hits.rows(Role::HIT_ROLES);
        if self.hits.is_sorted {
            return Ok(HitRows(Rows::Streamed(Box::new(rows))));
        }
        let mut all = Vec::new();
        while let Some(block) = rows.next()? {
            all.extend(block.hits());
        }
        all.sort_by_key(|row| row.event);
        Ok(HitRows(Rows::Sorted(Some(all))))
    }

    /// Reads the events in ascending order, each once. Returns `None` if there is no table of them.
    ///
    /// # Errors
    /// As [`hits`](Self::hits).
    pub fn events(&self) -> Result<Option<EventKeys>> {
        let Some(table) = &self.events else {
            return Ok(None);
        };
        let mut keys = EventKeys {
            rows: Some(table.rows(Role::EVENT_ROLES)),
            block: Vec::new().into_iter(),
            last: None,
        };
        if !table.is_sorted {
            let mut all = Vec::new();
            while let Some(key) = keys.next_key()? {
                all.push(key);
            }
            all.sort_unstable();
            keys = EventKeys {
                rows: None,
                block: all.into_iter(),
                last: None,
            };
        }
        Ok(Some(keys))
    }

    /// Returns size and CRC32C of the files that are read.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn checksum(&self) -> Result<(u64, String)> {
        let path = &self.info.path;
        tables::path_checksum(path)
            .map_err(|error| Error::input(path, "cannot be read").with_source(error))
    }
}

impl Table {
    /// Counts the rows of each input, and finds out whether the rows are sorted by event.
    fn first_pass(
        content: Content,
        path: &Path,
        inputs: &mut BTreeMap<u32, u64>,
        losses: &mut Vec<Loss>,
    ) -> Result<Self> {
        let mut table = Self {
            content,
            rows: 0,
            is_sorted: true,
            falls_at: None,
        };
        let mut last = None;
        let mut without_event: Option<Loss> = None;
        let mut reader = table.rows(Role::EVENT_ROLES);
        while let Some(block) = reader.next()? {
            for (row, key) in block.keys().enumerate() {
                let Some(key) = key else {
                    let loss = without_event.get_or_insert_with(|| Loss {
                        place: format!("{} and later", block.place(row)),
                        event_id: None,
                        channel_id: None,
                        n_waveforms: Some(0),
                        reason: "the hits' event number is null or out of range".to_owned(),
                        position: 0,
                    });
                    loss.n_waveforms = loss.n_waveforms.map(|n| n + 1);
                    continue;
                };
                table.rows += 1;
                *inputs.entry(key.0).or_default() += 1;
                if last != Some(key) {
                    if let Some(after) = last.filter(|&before| before > key) {
                        table.is_sorted = false;
                        table.falls_at.get_or_insert_with(|| {
                            format!(
                                "{}: event {} after event {}",
                                block.place(row),
                                key.1,
                                after.1
                            )
                        });
                    }
                    last = Some(key);
                }
            }
            if inputs.len() > MAX_INPUTS {
                return Err(Error::input(
                    path,
                    format!("the column of inputs holds more than {MAX_INPUTS} different numbers"),
                )
                .with_hint("`input_id` says which file of a run a row came from"));
            }
        }
        losses.extend(without_event);
        Ok(table)
    }

    fn rows(&self, roles: &'static [Role]) -> RawReader {
        match &self.content {
            Content::Parquet(files) => RawReader::Parquet(Box::new(files.rows(roles))),
            Content::Hdf5(arrays) => RawReader::Hdf5(arrays.rows(roles)),
        }
    }
}

enum RawReader {
    Parquet(Box<parquet::Reader>),
    Hdf5(hdf5::HitArrayRows),
}

impl RawReader {
    fn next(&mut self) -> Result<Option<RawRows>> {
        match self {
            Self::Parquet(rows) => rows.next(),
            Self::Hdf5(rows) => rows.next(),
        }
    }
}

/// The hits of a table, sorted by event.
pub struct HitRows(Rows);

enum Rows {
    Streamed(Box<RawReader>),
    Sorted(Option<Vec<HitRow>>),
}

impl HitRows {
    /// Reads the next hits; `None` at the end.
    ///
    /// # Errors
    /// If the table cannot be read any further.
    pub fn next_block(&mut self) -> Result<Option<Vec<HitRow>>> {
        match &mut self.0 {
            Rows::Streamed(reader) => Ok(reader.next()?.map(|block| block.hits().collect())),
            Rows::Sorted(all) => Ok(all.take()),
        }
    }
}

/// The events of a table.
pub struct EventKeys {
    rows: Option<RawReader>,
    block: std::vec::IntoIter<EventKey>,
    last: Option<EventKey>,
}

impl EventKeys {
    /// Reads the next event; `None` at the end.
    ///
    /// # Errors
    /// If the table cannot be read any further.
    pub fn next_key(&mut self) -> Result<Option<EventKey>> {
        loop {
            for key in self.block.by_ref() {
                if self.last != Some(key) {
                    self.last = Some(key);
                    return Ok(Some(key));
                }
            }
            let Some(rows) = &mut self.rows else {
                return Ok(None);
            };
            let Some(block) = rows.next()? else {
                return Ok(None);
            };
            self.block = block.keys().flatten().collect::<Vec<_>>().into_iter();
        }
    }
}
