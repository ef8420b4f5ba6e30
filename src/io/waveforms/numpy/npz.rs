//! The `.npz` archive: finds its members and streams them.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::{Crc, read::DeflateDecoder};
use zip::{CompressionMethod, ZipArchive, result::ZipError};

use super::npy::{Array, Element};
use super::{Numbers, Reader, Shape, boxed, check_order, read_small};
use crate::error::{Error, Hint, Result};
use crate::io::hdf5_file::shape_text;
use crate::io::waveforms::axes;
use crate::io::waveforms::format::Probe;
use crate::io::waveforms::names::{self, Role};
use crate::io::{ReadOptions, SourceInfo, metadata};
use crate::model::Polarity;

/// Returns the name of the array of samples, and true if it was guessed. `listing` names what is there.
fn samples_name(
    path: &Path,
    names: &[String],
    listing: &str,
    options: &ReadOptions,
) -> Result<(String, bool)> {
    match options
        .samples_column
        .as_deref()
        .or(options.table.as_deref())
    {
        Some(name) if names.iter().any(|found| found == name) => Ok((name.to_owned(), false)),
        Some(name) => Err(Error::input(
            path,
            format!("has no array `{name}`; it holds {listing}"),
        )),
        None => {
            let found: Vec<&String> = names
                .iter()
                .filter(|name| names::is_named(name, Role::Samples, None))
                .collect();
            match found.as_slice() {
                [name] => Ok(((*name).clone(), true)),
                [] => Err(Error::input(
                    path,
                    format!("has no array of waveforms such as `samples`; it holds {listing}"),
                )
                .with_hint(Hint::NameColumns {
                    table: false,
                    roles: &["samples"],
                })),
                [first, second, ..] => Err(Error::input(
                    path,
                    format!("both `{first}` and `{second}` could be the waveforms"),
                )
                .with_hint(Hint::ChooseTable {
                    example: Some((*first).to_owned()),
                })),
            }
        }
    }
}

/// Opens the archive and all arrays that belong to the waveforms.
pub(super) fn open(path: &Path, n_bytes: u64, options: &ReadOptions) -> Result<Reader> {
    let archive = Archive::open(path)?;
    let names = archive.array_names();
    let listing = if names.is_empty() {
        "no array".to_owned()
    } else {
        format!("`{}`", names.join("`, `"))
    };
    let (name, is_guessed) = samples_name(path, &names, &listing, options)?;
    let mut guessed = Vec::new();
    if is_guessed {
        guessed.push((Role::Samples, name.clone()));
    }
    let samples = archive.array(&name)?;
    let what = format!("`{name}`");
    let shape = Shape::from_array(&samples, path, &what)?;
    let shown = shape_text(&samples.shape);
    let mut info = SourceInfo::new(path.to_owned(), super::NPZ.name, n_bytes);
    info.sampling_ns = archive
        .number("sampling_ns")
        .and_then(metadata::sampling_ns);
    info.adc_bits = archive.number("adc_bits").and_then(metadata::adc_bits);
    info.polarity = archive.polarity();
    let (detector, origin) = (archive.text("detector"), archive.text("origin"));
    info.detector = metadata::detector(detector.as_deref(), origin.as_deref());
    let mut rows = Reader::new(info, options, samples, shape);
    let plain: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .filter(|other| *other != name)
        .collect();
    let mut taken = vec![];
    let mut column = |role: Role, wanted: Option<&String>| {
        let wanted = wanted.map(String::as_str);
        let found = names::find(&plain, role, wanted).and_then(|index| plain.get(index).copied());
        match (found, wanted) {
            (Some(found), _) => {
                taken.push(found);
                if wanted.is_none() && role != Role::Start {
                    guessed.push((role, found.to_owned()));
                }
                archive.column(found, role, &shape, &what).map(Some)
            }
            (None, Some(wanted)) => Err(Error::input(
                path,
                format!("has no array `{wanted}`; it holds {listing}"),
            )),
            (None, None) => Ok(None),
        }
    };
    rows.event_id = column(Role::Event, options.event_column.as_ref())?;
    rows.start_ns = column(Role::Start, options.start_column.as_ref())?;
    match column(Role::Channel, options.channel_column.as_ref())? {
        Some(numbers) if shape.n_channels.is_some() && numbers.per_number > 1 => {
            rows.channels = Some(archive.list(numbers, shape.per_event())?);
        }
        other => rows.channel_id = other,
    }
    let mut missing = Vec::new();
    let mut layout = format!("array {what} {shown}");
    if rows.event_id.is_none() {
        missing.push(Role::Event);
        layout.push_str(match shape.n_channels {
            None => ", event = row number",
            Some(_) => ", event = first axis",
        });
    }
    if rows.channel_id.is_none() && rows.channels.is_none() {
        if shape.n_channels.is_none() && options.channel_id.is_none() {
            missing.push(Role::Channel);
        }
        if shape.n_channels.is_some() {
            layout.push_str(", channel = second axis");
        }
    }
    let unused = if missing.is_empty() {
        Vec::new()
    } else {
        plain
            .iter()
            .copied()
            .filter(|name| !taken.contains(name) && is_id(&archive, name, shape.n_events))
            .collect()
    };
    let guessed: Vec<(Role, &str)> = guessed
        .iter()
        .map(|(role, name)| (*role, name.as_str()))
        .collect();
    rows.info.remarks.extend(shape.remark(&what));
    rows.info.remarks.extend(names::guessed(&guessed));
    rows.info.remarks.extend(names::unused(&missing, &unused));
    let start = options.start_column.as_deref();
    let starts = names::possible_start(start, plain.iter().copied());
    rows.info.remarks.extend(starts);
    rows.info.layout = layout;
    if rows.channel_id.is_none() && shape.n_channels.is_none() {
        rows.absent_channel = rows.info.name_channel(options, false)?;
    }
    Ok(rows)
}

/// True if the array `name` has one whole number per event.
fn is_id(archive: &Archive, name: &str, n_events: u64) -> bool {
    archive.array(name).is_ok_and(|array| {
        array.shape == [n_events] && array.number().is_some_and(|kind| kind.scalar.is_integer())
    })
}

/// Returns whether the file is a zip archive with arrays. An archive without arrays is refused.
pub(super) fn is_archive(probe: &mut Probe<'_>) -> Result<bool> {
    if !(probe.head.starts_with(b"PK\x03\x04") || probe.head.starts_with(b"PK\x05\x06")) {
        return Ok(false);
    }
    let has_arrays =
        Archive::open(probe.path).is_ok_and(|archive| !archive.array_names().is_empty());
    if has_arrays {
        return Ok(true);
    }
    Err(Error::input(
        probe.path,
        "is a zip archive without NumPy arrays, or a damaged one",
    ))
}

/// The position of a member's bytes.
struct Member {
    name: String,
    start: u64,
    compressed_bytes: u64,
    bytes: u64,
    method: CompressionMethod,
    crc32: u32,
}

/// Checks that a member has the same name in its local header as in the table of contents. No checksum covers the names, and an
/// array whose name is damaged would be taken as absent.
fn check_name(
    reader: &mut (impl Read + Seek),
    header_start: u64,
    name: &[u8],
) -> std::result::Result<(), ZipError> {
    // The name is preceded by 30 bytes, which end with the lengths of the name and of the extra field.
    reader.seek(SeekFrom::Start(header_start.saturating_add(26)))?;
    let mut lengths = [0; 4];
    reader.read_exact(&mut lengths)?;
    let mut own_name = vec![0; name.len()];
    reader.read_exact(&mut own_name)?;
    if usize::from(u16::from_le_bytes([lengths[0], lengths[1]])) != name.len() || own_name != name {
        return Err(ZipError::InvalidArchive(
            "a member has two different names".into(),
        ));
    }
    Ok(())
}

/// Checks that the two numbers of members in the record at the end of an archive are equal. The record ends with a comment.
fn check_member_count(
    reader: &mut (impl Read + Seek),
    comment_bytes: usize,
) -> std::result::Result<(), ZipError> {
    let length = reader.seek(SeekFrom::End(0))?;
    let record_start = length.saturating_sub(22 + comment_bytes as u64);
    reader.seek(SeekFrom::Start(record_start))?;
    let mut record = [0; 12];
    reader.read_exact(&mut record)?;
    if record.starts_with(b"PK\x05\x06") && record[8..10] != record[10..12] {
        return Err(ZipError::InvalidArchive(
            "two different numbers of members".into(),
        ));
    }
    Ok(())
}

struct Archive<'a> {
    path: &'a Path,
    members: Vec<Member>,
}

impl<'a> Archive<'a> {
    fn open(path: &'a Path) -> Result<Self> {
        let bad = |error: ZipError| {
            Error::input(path, "is damaged: its table of contents cannot be read")
                .with_source(error)
        };
        let open = || {
            File::open(path)
                .map(BufReader::new)
                .map_err(|error| Error::input(path, "cannot be opened").with_source(error))
        };
        let mut zip = ZipArchive::new(open()?).map_err(bad)?;
        let mut headers = open()?;
        check_member_count(&mut headers, zip.comment().len()).map_err(bad)?;
        let mut members = Vec::new();
        for index in 0..zip.len() {
            let member = zip.by_index_raw(index).map_err(bad)?;
            check_name(&mut headers, member.header_start(), member.name_raw()).map_err(bad)?;
            members.push(Member {
                name: member.name().map_err(bad)?.into_owned(),
                start: member.data_start().ok_or_else(|| {
                    Error::input(path, "is damaged: the position of a member is unknown")
                })?,
                compressed_bytes: member.compressed_size(),
                bytes: member.size(),
                method: member.compression(),
                crc32: member.crc32(),
            });
        }
        Ok(Self { path, members })
    }

    fn array_names(&self) -> Vec<String> {
        self.members
            .iter()
            .filter_map(|member| member.name.strip_suffix(".npy"))
            .map(str::to_owned)
            .collect()
    }

    fn array(&self, name: &str) -> Result<Array> {
        let what = format!("`{name}`");
        let member = self
            .members
            .iter()
            .find(|member| member.name.strip_suffix(".npy") == Some(name))
            .ok_or_else(|| Error::input(self.path, format!("has no array {what}")))?;
        let cannot = |error: io::Error| {
            Error::input(self.path, format!("{what} cannot be read")).with_source(error)
        };
        let mut file = File::open(self.path).map_err(cannot)?;
        file.seek(SeekFrom::Start(member.start)).map_err(cannot)?;
        let stored = BufReader::new(file.take(member.compressed_bytes));
        let reader = match member.method {
            CompressionMethod::Stored => boxed(stored),
            CompressionMethod::Deflated => boxed(DeflateDecoder::new(stored)),
            other => {
                return Err(Error::input(
                    self.path,
                    format!("{what} is compressed with {other}, which NumPy does not use"),
                )
                .with_hint("write it again with `numpy.savez_compressed`"));
            }
        };
        let checked = Checked {
            reader,
            crc: Crc::new(),
            left: member.bytes,
            expected: member.crc32,
        };
        Array::open(boxed(checked), self.path, &what)
    }

    /// Reads an array with one number per waveform or event, or the list of channels. `what` has the waveforms.
    fn column(&self, name: &str, role: Role, shape: &Shape, what: &str) -> Result<Numbers> {
        let array = self.array(name)?;
        check_order(&array, self.path, &format!("`{name}`"))?;
        let (n_events, n_channels) = (shape.n_events, shape.n_channels);
        if array.shape.is_empty() {
            let name = format!("`{name}`");
            return Err(names::single_number(self.path, &name, role, n_events));
        }
        let is_list = role == Role::Channel
            && n_channels.is_some_and(|n| array.shape == [n] && n != n_events);
        let per_number = if n_channels.is_some_and(|n| array.shape == [n_events, n]) {
            1
        } else if array.shape == [n_events] || is_list {
            if role == Role::Channel && n_channels.is_some() && !is_list {
                let shape = [n_events, shape.per_event(), shape.row_samples as u64];
                let ids = format!("`{name}`");
                return Err(axes::one_channel_per_row(self.path, what, &shape, &ids));
            }
            shape.per_event()
        } else {
            return Err(Error::input(
                self.path,
                format!(
                    "`{name}` has the shape {}, not the {} entries of the waveforms",
                    shape_text(&array.shape),
                    n_events.saturating_mul(shape.per_event())
                ),
            ));
        };
        match array.number() {
            Some(kind) if kind.scalar.is_integer() || role == Role::Start => Ok(Numbers {
                array,
                kind,
                per_number,
                last: None,
            }),
            _ => Err(Error::input(
                self.path,
                format!("`{name}` does not hold integers"),
            )),
        }
    }

    /// Reads a list of `n` channels.
    fn list(&self, mut numbers: Numbers, n: u64) -> Result<Vec<i128>> {
        /// More than any detector has.
        const MAX_CHANNELS: usize = 1 << 24;
        let n = usize::try_from(n).unwrap_or(usize::MAX);
        if n > MAX_CHANNELS {
            let text =
                format!("claims {n} channels, more than the {MAX_CHANNELS} that are possible");
            return Err(Error::input(self.path, text));
        }
        let read = numbers.array.read_rows(n, numbers.kind.size());
        let (bytes, _) = read.map_err(|error| {
            Error::input(self.path, "the list of channels cannot be read").with_source(error)
        })?;
        Ok(numbers.kind.integers(&bytes))
    }

    /// Reads a single number, if there is one of that name.
    fn number(&self, name: &str) -> Option<f64> {
        let mut array = self.array(name).ok()?;
        let kind = array.number()?;
        if array.shape.iter().any(|&length| length != 1) {
            return None;
        }
        let bytes = read_small(&mut array, kind.size())?;
        kind.floats(&bytes).first().copied()
    }

    fn polarity(&self) -> Option<Polarity> {
        match self.number("polarity") {
            Some(number) => metadata::polarity_of_number(number),
            None => metadata::polarity_of_text(&self.text("polarity")?),
        }
    }

    /// Reads a single text, if there is one of that name.
    fn text(&self, name: &str) -> Option<String> {
        let mut array = self.array(name).ok()?;
        let Element::Text {
            characters,
            big_endian,
        } = array.element
        else {
            return None;
        };
        let bytes = read_small(&mut array, characters.checked_mul(4)?)?;
        let (units, _) = bytes.as_chunks::<4>();
        units
            .iter()
            .map(|&unit| {
                char::from_u32(if big_endian {
                    u32::from_be_bytes(unit)
                } else {
                    u32::from_le_bytes(unit)
                })
            })
            .filter(|&character| character != Some('\0'))
            .collect()
    }
}

/// Reads a member's bytes, and compares them with its checksum after the last one.
struct Checked {
    reader: Box<dyn Read + Send>,
    crc: Crc,
    left: u64,
    expected: u32,
}

impl Read for Checked {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if bytes.is_empty() || self.left == 0 {
            return Ok(0);
        }
        let most = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let wanted = bytes.get_mut(..most).unwrap_or_default();
        let n_read = self.reader.read(wanted)?;
        self.crc.update(wanted.get(..n_read).unwrap_or_default());
        self.left -= n_read as u64;
        if n_read == 0 {
            self.left = 0;
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the member ends before its size",
            ));
        }
        if self.left == 0 && self.crc.sum() != self.expected {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the member's checksum does not match: the file is damaged",
            ));
        }
        Ok(n_read)
    }
}
