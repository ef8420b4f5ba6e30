//! Parquet files of any columns: opens them with their declared sizes checked, writes them under a temporary name.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;

use arrow_schema::Schema;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::{KeyValue, ParquetMetaData, RowGroupMetaData};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use super::atomic::{AtomicFile, write_error};
use super::limits::parquet::Pages;
use crate::error::{Error, Result};
use crate::io::catch_panic::guarded;

/// Magic word of Parquet files whose footer is encrypted.
pub(crate) const ENCRYPTED: [u8; 4] = *b"PARE";

/// Opens a Parquet file and reads its footer.
pub(crate) fn open_file(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<Pages>> {
    let cannot = |error| Error::input(path, "cannot be opened").with_source(error);
    let mut file = File::open(path).map_err(cannot)?;
    let mut magic = [0; 4];
    if file.read_exact(&mut magic).is_ok() && magic == ENCRYPTED {
        return Err(Error::input(
            path,
            "is an encrypted Parquet file, which nuwave does not read",
        )
        .with_hint("write it again without encryption"));
    }
    file.rewind().map_err(cannot)?;
    let unreadable = || {
        Error::input(path, "cannot be read as a Parquet file")
            .with_hint("a file that was cut off while it was written or copied looks like this")
    };
    let pages = Pages::new(file).map_err(|error| unreadable().with_source(error))?;
    guarded(path, || {
        ParquetRecordBatchReaderBuilder::try_new(pages)
            .map_err(|error| unreadable().with_source(error))
    })
}

/// Checks that the pages of the columns of these `names` are compressed by a codec that can be read.
///
/// # Errors
/// If not: the file is not damaged, but nothing of it can be read.
pub(crate) fn check_codecs(path: &Path, metadata: &ParquetMetaData, names: &[&str]) -> Result<()> {
    let columns = metadata
        .row_groups()
        .iter()
        .flat_map(RowGroupMetaData::columns);
    for column in columns {
        let codec = match column.compression() {
            Compression::BROTLI(_) => "Brotli",
            Compression::LZO => "LZO",
            _ => continue,
        };
        let parts = column.column_path().parts();
        let Some(name) = parts.first().filter(|name| names.contains(&name.as_str())) else {
            continue;
        };
        return Err(Error::input(
            path,
            format!("column `{name}` is compressed with {codec}, which nuwave does not read"),
        )
        .with_hint(format!(
            "write it again, in Python `import pyarrow.parquet as pq; pq.write_table(pq.read_table(\"{}\"), \"repacked.parquet\", \
             compression=\"zstd\")`",
            path.display()
        )));
    }
    Ok(())
}

/// Returns the properties of the Parquet files that are written, with `metadata` in the footer.
pub(crate) fn properties(metadata: Vec<KeyValue>) -> WriterProperties {
    builder()
        .set_key_value_metadata((!metadata.is_empty()).then_some(metadata))
        .build()
}

/// Stores the floats of a table byte by byte, without a dictionary: times, charges and densities hardly ever repeat, but their upper bytes do.
pub(crate) fn split_floats(
    builder: WriterPropertiesBuilder,
    schema: &Schema,
) -> WriterPropertiesBuilder {
    let floats = schema.fields().iter();
    floats
        .filter(|field| field.data_type().is_floating())
        .fold(builder, |builder, field| {
            let column = ColumnPath::from(field.name().as_str());
            builder
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, Encoding::BYTE_STREAM_SPLIT)
        })
}

fn builder() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        // Noise repeats too little for a dictionary to be useful.
        .set_dictionary_enabled(false)
}

/// Writes one table as a file.
pub(crate) fn write_table(path: &Path, records: &arrow_array::RecordBatch) -> Result<()> {
    let target = AtomicFile::create(path)?;
    let schema = records.schema();
    let properties = split_floats(builder(), &schema).build();
    let mut writer = ArrowWriter::try_new(target, schema, Some(properties))
        .map_err(|error| write_error(path, error))?;
    writer
        .write(records)
        .map_err(|error| write_error(path, error))?;
    writer
        .into_inner()
        .map_err(|error| write_error(path, error))?
        .commit()
}
