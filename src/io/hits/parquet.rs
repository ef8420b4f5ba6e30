//! Rows of hits in Parquet files, one file after the other.

use std::path::PathBuf;
use std::sync::Arc;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReader;

use super::names::{Role, find, other_charges, without_charge};
use super::raw::RawRows;
use crate::error::{Error, Hint, Result};
use crate::io::catch_panic::guarded;
use crate::io::waveforms::{arrow_values, columns};
use crate::io::{ReadOptions, Remark, parquet_file};

/// Rows decoded at a time.
const BLOCK_ROWS: usize = 65_536;

/// The files of a table with the roles of their columns.
pub(super) struct Files(Vec<OneFile>);

#[derive(Clone)]
struct OneFile {
    path: PathBuf,
    /// Its name, if there are several files.
    name: Option<String>,
    columns: Vec<(Role, usize)>,
    names: Arc<Vec<String>>,
    remark: Option<Remark>,
}

impl Files {
    /// Opens all files and finds their columns. Those of `needed` are required.
    pub fn open(paths: Vec<PathBuf>, needed: &[Role], options: &ReadOptions) -> Result<Self> {
        let several = paths.len() > 1;
        let files = paths
            .into_iter()
            .map(|path| OneFile::open(path, several, needed, options));
        files.collect::<Result<_>>().map(Self)
    }

    /// Describes the columns that are read, for messages.
    pub fn layout(&self) -> String {
        let files = match self.0.len() {
            1 => String::new(),
            several => format!(" of {several} files"),
        };
        let names = self.0.first().map_or_else(Vec::new, |file| {
            let named = |(_, index): &(Role, usize)| file.names.get(*index).cloned();
            file.columns.iter().filter_map(named).collect()
        });
        format!("the columns {}{files}", names.join(", "))
    }

    /// Returns what a user should know about how the columns are read.
    pub fn remark(&self) -> Option<Remark> {
        self.0.iter().find_map(|file| file.remark.clone())
    }

    /// Reads the columns of those `roles` that the files have.
    pub fn rows(&self, roles: &'static [Role]) -> Reader {
        Reader {
            files: self.0.clone().into_iter(),
            roles,
            current: None,
        }
    }
}

impl OneFile {
    fn open(path: PathBuf, several: bool, needed: &[Role], options: &ReadOptions) -> Result<Self> {
        let builder = parquet_file::open_file(&path)?;
        let schema = builder.schema();
        let names: Vec<String> = schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        let plain: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut columns = Vec::new();
        for &role in Role::HIT_ROLES {
            let Some(index) = find(&plain, role, options) else {
                if needed.contains(&role) || role.required(options).is_some() {
                    let name = role.required(options).unwrap_or(role.name());
                    return Err(Error::input(
                        &path,
                        format!("has no column `{name}`; it has `{}`", plain.join("`, `")),
                    )
                    .with_hint(HINT));
                }
                continue;
            };
            let field = schema.field(index);
            let kind = arrow_values::name_of(field.data_type());
            let expected = if role.is_integer() {
                "integers"
            } else {
                "numbers"
            };
            if kind.is_none_or(|kind| role.is_integer() && kind.starts_with('f')) {
                return Err(columns::wrong_type(&path, field, expected).with_hint(HINT));
            }
            columns.push((role, index));
        }
        let remark = if needed.contains(&Role::Time) {
            let is_other = |index: &usize| {
                let kind = arrow_values::name_of(schema.field(*index).data_type());
                kind.is_some() && columns.iter().all(|(_, known)| known != index)
            };
            let others = (0..plain.len()).filter(is_other);
            let others: Vec<&str> = others.filter_map(|it| plain.get(it).copied()).collect();
            let charge = columns.iter().find(|(role, _)| *role == Role::Charge);
            match charge.and_then(|(_, index)| plain.get(*index)) {
                Some(charge) => other_charges(&path, charge, &others, options)?,
                None => Some(without_charge(&path, &others, options)?),
            }
        } else {
            None
        };
        let read: Vec<&str> = columns
            .iter()
            .filter_map(|(_, index)| plain.get(*index).copied())
            .collect();
        parquet_file::check_codecs(&path, builder.metadata(), &read)?;
        let name = path.file_name().filter(|_| several);
        let name = name.map(|name| name.to_string_lossy().into_owned());
        Ok(Self {
            path,
            name,
            columns,
            names: Arc::new(names),
            remark,
        })
    }
}

/// The hint for a column that is missing or of the wrong type.
pub(super) const HINT: Hint = Hint::NameColumns {
    table: false,
    roles: &["event", "channel", "time", "charge"],
};

/// Rows of the files.
pub(super) struct Reader {
    files: std::vec::IntoIter<OneFile>,
    roles: &'static [Role],
    current: Option<Current>,
}

/// The file that is being read.
struct Current {
    file: OneFile,
    reader: ParquetRecordBatchReader,
    /// The columns that are read, in the order of the file.
    columns: Vec<(Role, usize)>,
    next_row: u64,
    rows: u64,
}

impl Reader {
    /// Reads the next rows; `None` after the last file.
    pub fn next(&mut self) -> Result<Option<RawRows>> {
        loop {
            if let Some(current) = &mut self.current {
                if let Some(rows) = current.next()? {
                    return Ok(Some(rows));
                }
                self.current = None;
            }
            let Some(file) = self.files.next() else {
                return Ok(None);
            };
            self.current = Some(Current::open(file, self.roles)?);
        }
    }
}

impl Current {
    fn open(file: OneFile, roles: &[Role]) -> Result<Self> {
        let builder = parquet_file::open_file(&file.path)?;
        let rows = builder.metadata().file_metadata().num_rows();
        let mut columns = file.columns.clone();
        columns.retain(|(role, _)| roles.contains(role));
        columns.sort_by_key(|(_, index)| *index);
        let mask = ProjectionMask::roots(
            builder.parquet_schema(),
            columns.iter().map(|(_, index)| *index),
        );
        let reader = builder
            .with_projection(mask)
            .with_batch_size(BLOCK_ROWS)
            .build()
            .map_err(|error| Error::input(&file.path, "cannot be read").with_source(error))?;
        Ok(Self {
            file,
            reader,
            columns,
            next_row: 0,
            rows: u64::try_from(rows).unwrap_or(0),
        })
    }

    fn next(&mut self) -> Result<Option<RawRows>> {
        let path = &self.file.path;
        let first_row = self.next_row;
        let records = guarded(path, || {
            self.reader.next().transpose().map_err(|error| {
                Error::input(path, format!("cannot be read from row {first_row} on"))
                    .with_source(error)
            })
        })?;
        let Some(records) = records else {
            if first_row == self.rows {
                return Ok(None);
            }
            return Err(Error::input(
                path,
                format!(
                    "ends after row {first_row}, but its footer says {} rows",
                    self.rows
                ),
            ));
        };
        let mut block = RawRows {
            file: self.file.name.clone(),
            first_row,
            rows: records.num_rows(),
            ..RawRows::default()
        };
        let differs = || Error::input(path, "the columns differ from the schema");
        // Arrow returns the columns in the order of the file, not in the requested order.
        for ((role, _), values) in self.columns.iter().zip(records.columns()) {
            if role.is_integer() {
                block.set_integers(*role, arrow_values::integers(values).ok_or_else(differs)?);
            } else {
                block.set_floats(*role, arrow_values::floats(values).ok_or_else(differs)?);
            }
        }
        self.next_row += records.num_rows() as u64;
        Ok(Some(block))
    }
}
