//! HDF5 files of any content: opens them without reading them, and lists their datasets.

use std::fmt::Write as _;
use std::path::Path;

use hdf5_pure::{
    ChunkCacheConfig, Dataset, Datatype, DatatypeByteOrder, File, FileAccessProperties, Group,
    ReadSeekSource,
};

use crate::error::{Error, Result};
use crate::io::system_errors::NotingReader;
use crate::io::waveforms::scalar::{Scalar, ScalarType};

/// Bytes of decompressed chunks that a dataset may cache. A row of chunks is read at once, so the cache serves the small
/// columns, whose chunks span more rows than a block of samples.
const CHUNK_CACHE_BYTES: usize = 4 << 20;
/// Maximum nesting of groups; hard links can form cycles.
const MAX_DEPTH: usize = 8;
/// Maximum number of datasets that are examined.
const MAX_DATASETS: usize = 2000;
/// Maximum number of datasets that an error lists.
const MAX_LISTED: usize = 20;

/// Opens the file without reading more than its first page.
pub(crate) fn open_file(path: &Path) -> Result<File> {
    let access = FileAccessProperties::new()
        .with_chunk_cache(ChunkCacheConfig::from_h5p_cache(521, CHUNK_CACHE_BYTES));
    let open = || {
        let file = NotingReader(std::fs::File::open(path)?);
        let source = ReadSeekSource::new(file).map_err(hdf5_pure::Error::Format)?;
        File::from_source_with_options(source, access)
    };
    open().map_err(|error| {
        Error::input(path, "is an HDF5 file that cannot be opened")
            .with_source(error)
            .with_hint("a file that was cut off while it was written or copied looks like this")
    })
}

/// A dataset and its path.
pub(crate) struct Entry {
    /// Path from the root, without the leading slash.
    pub path: String,
    pub dataset: Dataset,
    pub shape: Vec<u64>,
    pub datatype: Datatype,
}

/// The element type of a dataset or field: numbers, or arrays of numbers of a fixed length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    pub kind: ScalarType,
    /// Numbers per element.
    pub length: u64,
    pub is_array: bool,
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

    fn describe(&self) -> String {
        let shape: Vec<_> = self.shape.iter().map(u64::to_string).collect();
        let what = match &self.datatype {
            Datatype::Compound { members, .. } => {
                let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
                format!("table {{{}}}", names.join(", "))
            }
            other => numbers(other).map_or_else(
                || "no numbers".to_owned(),
                |numbers| {
                    let name = numbers.kind.scalar.name();
                    if numbers.is_array {
                        format!("{name}[{}]", numbers.length)
                    } else {
                        name.to_owned()
                    }
                },
            ),
        };
        format!("`/{}` ({} x {what})", self.path, shape.join(" x "))
    }
}

/// Lists all datasets, groups in alphabetical order. `path` names the file in messages.
pub(crate) fn datasets(file: &File, path: &Path) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    walk(&file.root(), "", 0, &mut entries).map_err(|error| {
        Error::input(path, "is an HDF5 file whose contents cannot be listed")
            .with_source(error)
            .with_hint("a file that was cut off while it was written or copied looks like this")
    })?;
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

fn walk(
    group: &Group,
    prefix: &str,
    depth: usize,
    entries: &mut Vec<Entry>,
) -> std::result::Result<(), hdf5_pure::Error> {
    for (name, dataset) in group.iter_datasets()? {
        if entries.len() >= MAX_DATASETS {
            return Ok(());
        }
        // A dataset of a type that the library does not support does not hide the others.
        if let (Ok(shape), Ok(datatype)) = (dataset.shape(), dataset.datatype()) {
            entries.push(Entry {
                path: format!("{prefix}{name}"),
                dataset,
                shape,
                datatype,
            });
        }
    }
    if depth < MAX_DEPTH {
        for (name, child) in group.iter_groups()? {
            if entries.len() >= MAX_DATASETS {
                return Ok(());
            }
            walk(&child, &format!("{prefix}{name}/"), depth + 1, entries)?;
        }
    }
    Ok(())
}

/// Describes the contents of a file, for an error message.
pub(crate) fn describe(entries: &[Entry]) -> String {
    if entries.is_empty() {
        return "nothing".to_owned();
    }
    let listed: Vec<_> = entries
        .iter()
        .take(MAX_LISTED)
        .map(Entry::describe)
        .collect();
    let mut text = listed.join(", ");
    if entries.len() > MAX_LISTED {
        let _ = write!(text, " and {} more", entries.len() - MAX_LISTED);
    }
    text
}

/// Returns the numbers of a datatype, if it can be decoded.
pub(crate) fn numbers(datatype: &Datatype) -> Option<Numbers> {
    if let Datatype::Array {
        base_type,
        dimensions,
    } = datatype
    {
        let base = numbers(base_type).filter(|base| !base.is_array)?;
        let length = dimensions
            .iter()
            .try_fold(1_u64, |all, &length| all.checked_mul(u64::from(length)))?;
        return Some(Numbers {
            length,
            is_array: true,
            ..base
        });
    }
    let (scalar, order, full_width) = match datatype {
        Datatype::FixedPoint {
            size,
            byte_order,
            layout,
        } => (
            Scalar::integer(u64::from(*size), layout.signed)?,
            byte_order,
            layout.bit_offset == 0 && u32::from(layout.bit_precision) == 8 * size,
        ),
        Datatype::FloatingPoint {
            size,
            byte_order,
            layout,
        } => (
            Scalar::float(u64::from(*size))?,
            byte_order,
            layout.bit_offset == 0 && u32::from(layout.bit_precision) == 8 * size,
        ),
        _ => return None,
    };
    let big_endian = match order {
        DatatypeByteOrder::LittleEndian => false,
        DatatypeByteOrder::BigEndian => true,
        DatatypeByteOrder::Vax => return None,
    };
    full_width.then_some(Numbers {
        kind: ScalarType { scalar, big_endian },
        length: 1,
        is_array: false,
    })
}
