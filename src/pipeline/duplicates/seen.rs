//! A set of waveforms, in bounded memory.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fs::File;
use std::hash::{Hash, Hasher};
use std::io::{BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Bytes of an entry on disk: the key and its channels.
const ENTRY_BYTES: usize = 16;
/// Entries on disk between two keys that are kept in memory.
const PAGE_ENTRIES: usize = 256;

/// A set of waveforms: event, channel, start of the window. One entry has 64 neighbouring channels as bits, under a hash of 64 bits:
/// among 100 million entries the chance that two have the same hash is 0.03 %.
#[derive(Debug)]
pub(super) struct SeenSet {
    capacity: usize,
    entries: HashMap<u64, u64>,
    /// Without a folder, the entries before `entries`: what is forgotten is older than half of the capacity.
    older: HashMap<u64, u64>,
    /// The folder for entries that do not fit; without one the oldest are forgotten.
    folder: Option<PathBuf>,
    spilled: Vec<Spilled>,
}

impl SeenSet {
    /// Returns an empty set of at most `capacity` entries in memory.
    pub fn new(capacity: usize, folder: Option<PathBuf>) -> Self {
        Self {
            capacity: if folder.is_some() {
                capacity
            } else {
                capacity.div_ceil(2)
            },
            entries: HashMap::new(),
            older: HashMap::new(),
            folder,
            spilled: Vec::new(),
        }
    }

    /// Forgets all waveforms.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.older.clear();
        self.spilled.clear();
    }

    /// Inserts a waveform; `start` are the bits of its window's start. Returns false if it is in the set.
    ///
    /// # Errors
    /// If entries cannot be written to, or read from, the disk.
    pub fn insert(&mut self, event: u64, channel: u32, start: u64) -> Result<bool> {
        let (key, bit) = entry_of(event, channel, start);
        if self.has(key, bit)? {
            return Ok(false);
        }
        if self.entries.len() >= self.capacity && !self.entries.contains_key(&key) {
            let full = std::mem::take(&mut self.entries);
            match &self.folder {
                Some(folder) => self.spilled.push(Spilled::write(folder, &full)?),
                None => self.older = full,
            }
        }
        *self.entries.entry(key).or_default() |= bit;
        Ok(true)
    }

    /// Returns true if a waveform is in the set.
    ///
    /// # Errors
    /// If entries cannot be read from the disk.
    pub fn contains(&mut self, event: u64, channel: u32, start: u64) -> Result<bool> {
        let (key, bit) = entry_of(event, channel, start);
        self.has(key, bit)
    }

    fn has(&mut self, key: u64, bit: u64) -> Result<bool> {
        let in_memory = [&self.entries, &self.older];
        let channels = in_memory.iter().filter_map(|entries| entries.get(&key));
        if channels.into_iter().any(|channels| channels & bit != 0) {
            return Ok(true);
        }
        self.is_spilled(key, bit)
    }

    fn is_spilled(&mut self, key: u64, bit: u64) -> Result<bool> {
        for spilled in &mut self.spilled {
            if spilled.channels_of(key)? & bit != 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Returns the key of the entry of a waveform, and the bit of its channel.
fn entry_of(event: u64, channel: u32, start: u64) -> (u64, u64) {
    let mut hasher = DefaultHasher::new();
    (event, channel >> 6, start).hash(&mut hasher);
    (hasher.finish(), 1 << (channel & 63))
}

/// Entries on disk, sorted by key, in a file without a name.
#[derive(Debug)]
struct Spilled {
    folder: PathBuf,
    file: File,
    /// The first key of each page.
    fences: Vec<u64>,
    page: Vec<u8>,
}

impl Spilled {
    fn write(folder: &Path, entries: &HashMap<u64, u64>) -> Result<Self> {
        let failed = |error| failed(folder, error);
        let mut sorted: Vec<(u64, u64)> = entries.iter().map(|(&key, &it)| (key, it)).collect();
        sorted.sort_unstable();
        let file = tempfile::tempfile_in(folder).map_err(failed)?;
        let mut writer = BufWriter::new(file);
        for (key, channels) in &sorted {
            writer.write_all(&key.to_le_bytes()).map_err(failed)?;
            writer.write_all(&channels.to_le_bytes()).map_err(failed)?;
        }
        let file = writer
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        let fences = sorted.iter().step_by(PAGE_ENTRIES).map(|entry| entry.0);
        Ok(Self {
            folder: folder.to_owned(),
            file,
            fences: fences.collect(),
            page: Vec::new(),
        })
    }

    /// Returns the channels under `key`.
    fn channels_of(&mut self, key: u64) -> Result<u64> {
        let after = self.fences.partition_point(|&fence| fence <= key);
        let Some(page) = after.checked_sub(1) else {
            return Ok(0);
        };
        let bytes = (PAGE_ENTRIES * ENTRY_BYTES) as u64;
        self.page.clear();
        self.file
            .seek(SeekFrom::Start(page as u64 * bytes))
            .and_then(|_| (&self.file).take(bytes).read_to_end(&mut self.page))
            .map_err(|error| failed(&self.folder, error))?;
        let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        let mut entries = self.page.chunks_exact(ENTRY_BYTES);
        let found = entries.find(|entry| word(&entry[..8]) == key);
        Ok(found.map_or(0, |entry| word(&entry[8..])))
    }
}

fn failed(folder: &Path, error: std::io::Error) -> Error {
    Error::output(folder, "the list of waveforms so far cannot be kept here").with_source(error)
}
