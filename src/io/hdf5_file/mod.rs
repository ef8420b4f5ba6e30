//! HDF5 files of any content: opens them without reading them, lists their datasets, and reads rows.

mod checksum;
mod codecs;
mod links;
mod numbers;
mod rows;
mod source;
mod storage;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use hdf5_pure::{
    ChunkCacheConfig, Dataset, Datatype, File, FileAccessProperties, Group, Layout, ReadSeekSource,
};

use crate::error::{Error, Hint, Result};
use crate::io::system_errors::NotingReader;
use links::Links;
pub(crate) use links::Target;
pub(crate) use numbers::{Numbers, describe as describe_type, fields, numbers, shape_text};
pub(crate) use rows::StoredRows;
use source::{AdaptedSource, LinkLog};

/// Bytes of decompressed chunks that a dataset may cache. A row of chunks is read at once, so the cache serves the small
/// columns, whose chunks span more rows than a block of samples.
const CHUNK_CACHE_BYTES: usize = 4 << 20;
/// Maximum nesting of groups; hard links can form cycles.
const MAX_DEPTH: usize = 8;
/// Maximum number of datasets that are examined.
const MAX_DATASETS: usize = 100_000;
/// Maximum number of datasets that an error lists.
const MAX_LISTED: usize = 20;
/// The hint for files that make no sense.
const CUT_OFF: &str = "a file that was cut off while it was written or copied looks like this";

/// An open file.
pub(crate) struct Hdf5File {
    pub file: File,
    log: Arc<Mutex<LinkLog>>,
}

/// Opens the file without reading more than its first page.
pub(crate) fn open_file(path: &Path) -> Result<Hdf5File> {
    let access = FileAccessProperties::new()
        .with_chunk_cache(ChunkCacheConfig::from_h5p_cache(521, CHUNK_CACHE_BYTES));
    let log = Arc::new(Mutex::new(LinkLog::default()));
    let open = || {
        let file = NotingReader(std::fs::File::open(path)?);
        let inner = ReadSeekSource::new(file).map_err(hdf5_pure::Error::Format)?;
        let source = AdaptedSource::new(inner, Arc::clone(&log));
        File::from_source_with_options(source, access)
    };
    let file = open().map_err(|error| match error {
        hdf5_pure::Error::FileMarkedInUse(_) => Error::input(
            path,
            "is an HDF5 file that a program has open for writing, or did not close because it was killed",
        )
        .with_hint(format!(
            "wait until the program that writes it has closed it; if it was killed, `h5clear -s {}` removes the mark, and what \
             the program had flushed can be read",
            path.display()
        )),
        error => Error::input(path, "is an HDF5 file that cannot be opened")
            .with_source(error)
            .with_hint(CUT_OFF),
    })?;
    Ok(Hdf5File { file, log })
}

/// A dataset and its path.
#[derive(Clone)]
pub(crate) struct Entry {
    /// Path from the root, without the leading slash.
    pub path: String,
    pub dataset: Dataset,
    pub shape: Vec<u64>,
    pub datatype: Datatype,
    /// The path that a soft link at `path` leads to.
    pub target: Option<String>,
}

/// The datasets of a file, and its links that lead to none of them.
pub(crate) struct Listing {
    /// Sorted by path. Datasets that soft links lead to are there under the link's path as well.
    pub entries: Vec<Entry>,
    links: Links,
    groups: BTreeSet<String>,
}

impl Entry {
    /// Returns the name within its group.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Returns the path of its group, empty for the root.
    pub fn group(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(group, _)| group)
    }

    /// Returns the path of the dataset itself.
    pub fn own_path(&self) -> &str {
        self.target.as_deref().unwrap_or(&self.path)
    }

    /// Returns true if both are one dataset under two names: links of either kind.
    pub fn is_same_object(&self, other: &Self) -> bool {
        if self.own_path() == other.own_path() {
            return true;
        }
        let is_alike = self.shape == other.shape && self.datatype == other.datatype;
        let place = place_of_data(&self.dataset);
        is_alike && place.is_some() && place == place_of_data(&other.dataset)
    }

    fn describe(&self) -> String {
        let leads_to = self
            .target
            .as_ref()
            .map_or_else(String::new, |target| format!(" -> `/{target}`"));
        let shape = shape_text(&self.shape);
        let what = describe_type(&self.datatype);
        format!("`/{}`{leads_to} ({shape} x {what})", self.path)
    }
}

impl Listing {
    /// Returns the path that a path of the user leads to, links followed.
    pub fn resolve(&self, path: &str) -> String {
        self.links
            .follow(path)
            .unwrap_or_else(|_| path.trim_matches('/').to_owned())
    }

    /// Returns the links that lead to no dataset and no group of this file, with their targets.
    pub fn broken(&self) -> impl Iterator<Item = (&str, &Target)> {
        self.links.iter().filter(|(path, _)| {
            self.links.follow(path).is_ok_and(|end| {
                end == *path
                    || (!self.groups.contains(&end)
                        && !self.entries.iter().any(|entry| entry.path == end))
            }) || self.links.follow(path).is_err()
        })
    }

    /// Returns the advice to open the files that links lead to; `None` if none leads to another file.
    pub fn advice_on_files(&self) -> Option<String> {
        let mut files: Vec<&str> = self
            .broken()
            .filter_map(|(_, target)| match target {
                Target::External { file, .. } => Some(file.as_str()),
                Target::Path(_) => None,
            })
            .collect();
        files.sort_unstable();
        files.dedup();
        let more = match files.len().checked_sub(MAX_LISTED) {
            Some(more @ 1..) => format!(" and {more} more"),
            _ => String::new(),
        };
        files.truncate(MAX_LISTED);
        let pronoun = if files.len() == 1 {
            "itself"
        } else {
            "themselves"
        };
        (!files.is_empty()).then(|| {
            format!(
                "nuwave does not follow links to other files; give `{}`{more} {pronoun}",
                files.join("`, `")
            )
        })
    }

    /// Describes the contents, for an error message.
    pub fn describe(&self) -> String {
        let listed: Vec<_> = self
            .entries
            .iter()
            .take(MAX_LISTED)
            .map(Entry::describe)
            .collect();
        let mut text = if listed.is_empty() {
            "nothing".to_owned()
        } else {
            listed.join(", ")
        };
        if self.entries.len() > MAX_LISTED {
            let _ = write!(text, " and {} more", self.entries.len() - MAX_LISTED);
        }
        let broken: Vec<_> = self
            .broken()
            .take(MAX_LISTED)
            .map(|(path, target)| format!("`/{path}` to {target}"))
            .collect();
        if !broken.is_empty() {
            let _ = write!(
                text,
                "; links that lead out of the file or nowhere: {}",
                broken.join(", ")
            );
        }
        text
    }
}

/// Returns the address of a dataset's numbers in the file, or of the first chunk of them.
fn place_of_data(dataset: &Dataset) -> Option<u64> {
    match dataset.layout().ok()? {
        Layout::Contiguous { address, .. } => address,
        Layout::Chunked { .. } => dataset.chunks().ok()?.first().map(|it| it.address),
        _ => None,
    }
}

/// Returns the error of numbers that are needed, are `what` by their name, and are a `link` that leads to no array of the
/// file. `hint` is the advice if the link does not lead to another file.
pub(crate) fn broken_link(
    path: &Path,
    link: &str,
    target: &Target,
    what: &str,
    hint: Hint,
) -> Error {
    let text = |end: &str| format!("`/{link}`, {what}, is a link to {target}, {end}");
    match target {
        Target::Path(_) => {
            Error::input(path, text("which this file does not have")).with_hint(hint)
        }
        Target::External { .. } => {
            let text = text("and nuwave does not follow links to other files");
            Error::input(path, text).with_hint(format!(
                "copy the array into this file: in Python, `a = f[\"{link}\"][:]; del f[\"{link}\"]; f[\"{link}\"] = a`"
            ))
        }
    }
}

/// Lists all datasets. `path` names the file in messages.
pub(crate) fn datasets(file: &Hdf5File, path: &Path) -> Result<Listing> {
    let mut listing = Listing {
        entries: Vec::new(),
        links: Links::default(),
        groups: BTreeSet::new(),
    };
    walk(file, &file.file.root(), "", 0, &mut listing).map_err(|error| {
        Error::input(path, "is an HDF5 file whose contents cannot be listed")
            .with_source(error)
            .with_hint(CUT_OFF)
    })?;
    if listing.entries.len() >= MAX_DATASETS {
        return Err(Error::input(
            path,
            format!("holds {MAX_DATASETS} datasets or more, of which not all can be listed"),
        ));
    }
    let mut linked = Vec::new();
    for (link, _) in listing.links.iter() {
        let Ok(end) = listing.links.follow(link) else {
            continue;
        };
        if let Some(entry) = listing.entries.iter().find(|entry| entry.path == end) {
            linked.push(Entry {
                path: link.to_owned(),
                target: Some(end),
                ..entry.clone()
            });
        }
    }
    listing.entries.append(&mut linked);
    listing.entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(listing)
}

fn walk(
    file: &Hdf5File,
    group: &Group,
    prefix: &str,
    depth: usize,
    listing: &mut Listing,
) -> std::result::Result<(), hdf5_pure::Error> {
    let log = || file.log.lock().unwrap_or_else(PoisonError::into_inner);
    log().begin();
    let datasets = group.iter_datasets()?;
    for link in log().take() {
        listing.links.add(prefix, link);
    }
    for (name, dataset) in datasets {
        if listing.entries.len() >= MAX_DATASETS {
            return Ok(());
        }
        // A dataset of a type that the library does not support does not hide the others.
        if let (Ok(shape), Ok(datatype)) = (dataset.shape(), dataset.datatype()) {
            listing.entries.push(Entry {
                path: format!("{prefix}{name}"),
                dataset,
                shape,
                datatype,
                target: None,
            });
        }
    }
    if depth < MAX_DEPTH {
        for (name, child) in group.iter_groups()? {
            if listing.entries.len() >= MAX_DATASETS {
                return Ok(());
            }
            let path = format!("{prefix}{name}");
            walk(file, &child, &format!("{path}/"), depth + 1, listing)?;
            listing.groups.insert(path);
        }
    }
    Ok(())
}
