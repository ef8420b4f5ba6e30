//! Whether the elements of an HDF5 dataset can be read: by the library, by our own decoders, or not at all.

use std::path::Path;

use hdf5_pure::{ChunkIndex, Dataset, FormatError, Layout};

use super::codecs;
use crate::error::{Error, Result};

/// Filters that the library inverts: deflate, shuffle, Fletcher32, scale-offset, LZF.
const OF_LIBRARY: [u16; 5] = [1, 2, 3, 6, 32000];
/// Filters beyond this number are plugins, which other programs need as well.
const FIRST_PLUGIN: u16 = 256;

/// The decoder of the chunks of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoder {
    Library,
    /// [`codecs`].
    Own,
}

/// Returns what decodes the dataset `name`.
///
/// # Errors
/// If nothing does: the file is not damaged, but of a kind that nuwave does not read.
pub(super) fn decoder(path: &Path, name: &str, dataset: &Dataset) -> Result<Decoder> {
    let refuse = |what: &str, advice: String| {
        Err(Error::input(path, format!("`/{name}` {what}")).with_hint(advice))
    };
    let repack = |arguments: &str| {
        let shown = path.display();
        format!("`h5repack {arguments}{shown} repacked.h5` makes a file that nuwave reads")
    };
    let in_one_file = || {
        "write the numbers into one file: in Python, `g.create_dataset(\"samples\", data=f[\"NAME\"][:])`"
            .to_owned()
    };
    match dataset.layout() {
        Ok(Layout::Virtual) => {
            return refuse(
                "is a virtual dataset: its numbers are in other datasets or files, which nuwave does not follow",
                format!("name the files that hold them, or {}", in_one_file()),
            );
        }
        Err(hdf5_pure::Error::Format(FormatError::InvalidLayoutVersion(version))) => {
            return refuse(
                &format!(
                    "is stored with version {version} of the layout message, which nuwave does not read"
                ),
                repack(""),
            );
        }
        _ => {}
    }
    // Reading no rows asks for nothing but where the elements are.
    if let Err(hdf5_pure::Error::Format(FormatError::UnsupportedExternalStorage)) =
        dataset.read_raw_rows(0, 0)
    {
        return refuse(
            "has external storage: its numbers are in other files (H5Pset_external), which nuwave does not follow",
            in_one_file(),
        );
    }
    let filters = dataset.filter_pipeline();
    let foreign = filters
        .iter()
        .find(|filter| !OF_LIBRARY.contains(&filter.id) && !codecs::DECODED.contains(&filter.id));
    if let Some(filter) = foreign {
        let plugin = if filter.id < FIRST_PLUGIN {
            ""
        } else {
            " (with the plugin of the filter in HDF5_PLUGIN_PATH)"
        };
        return refuse(
            &format!(
                "is compressed with {}, which nuwave does not read",
                filter_name(filter.id, filter.name.as_deref())
            ),
            repack("-f GZIP=1 ") + plugin,
        );
    }
    if filters.iter().all(|it| OF_LIBRARY.contains(&it.id)) {
        if let Ok(Some(ChunkIndex::BTreeV2)) = dataset.chunk_index() {
            return refuse(
                "is stored in chunks with an index (version 2 B-tree) that nuwave does not read",
                repack(""),
            );
        }
        return Ok(Decoder::Library);
    }
    if let Some(other) = filters.iter().find(|it| !codecs::DECODED.contains(&it.id)) {
        let name = filter_name(other.id, other.name.as_deref());
        return refuse(
            &format!(
                "is compressed with {name} and another filter, a combination that nuwave does not read"
            ),
            repack("-f GZIP=1 "),
        );
    }
    Ok(Decoder::Own)
}

/// Returns the name of a filter and its number.
fn filter_name(id: u16, stated: Option<&str>) -> String {
    let known = match id {
        1 => "deflate (gzip)",
        2 => "shuffle",
        3 => "Fletcher32",
        4 => "szip",
        5 => "n-bit",
        6 => "scale-offset",
        305 => "LZO",
        307 => "bzip2",
        32000 => "LZF",
        32001 => "Blosc",
        32002 => "MAFISC",
        32003 => "Snappy",
        32004 => "LZ4",
        32006 => "CBF",
        32007 => "JPEG-XR",
        32008 => "bitshuffle",
        32010 => "LPC-Rice",
        32012 => "JPEG-LS",
        32013 => "ZFP",
        32014 => "FPZIP",
        32015 => "Zstandard",
        32016 => "B3D",
        32017 => "SZ",
        32018 => "FCIDECOMP",
        32020 => "VBZ",
        32022 => "BitGroom",
        32024 => "SZ3",
        32026 => "Blosc2",
        32027 => "FLAC",
        32028 => "SPERR",
        _ => match stated.map(str::trim).filter(|name| !name.is_empty()) {
            Some(stated) => return format!("the filter {id} (`{}`)", stated.escape_debug()),
            None => return format!("the filter {id}"),
        },
    };
    format!("{known} (filter {id})")
}
