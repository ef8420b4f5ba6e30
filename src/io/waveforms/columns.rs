//! Waveforms in Arrow record batches, for Parquet and Arrow IPC.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, Float32Array, Float64Array, GenericListArray, RecordBatch, UInt16Array,
    UInt32Array, UInt64Array,
};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{DataType, Field, Metadata, Schema, SchemaRef};

use super::arrow_values::{floats, integers, item_of, name_of, ranges, samples};
use super::blocks::{Block, Row};
use super::names::{self, Role};
use super::numpy::slice;
use super::{ReadOptions, SourceInfo, WriteInfo};
use crate::error::{Error, Hint, Result};
use crate::io::metadata;
use crate::model::{Batch, Samples, SamplesRef};

const EVENT_NAME: &str = "event_id";
const CHANNEL_NAME: &str = "channel_id";
const SAMPLES_NAME: &str = "samples";
const START_NAME: &str = "start_ns";

/// The roles of the columns.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    event_id: usize,
    /// `None` if the user states the channel.
    channel_id: Option<usize>,
    /// The channel then.
    absent_channel: u32,
    samples: usize,
    start_ns: Option<usize>,
    is_u16: bool,
    input_id: u32,
}

/// The indices of the columns in a schema.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Roles {
    pub event_id: usize,
    pub channel_id: Option<usize>,
    /// The channel if there is no column.
    pub absent_channel: u32,
    pub samples: usize,
    pub start_ns: Option<usize>,
}

impl Columns {
    /// Finds the columns in a schema, and reads its metadata into `info`.
    pub fn find(
        schema: &Schema,
        path: &Path,
        options: &ReadOptions,
        info: &mut SourceInfo,
    ) -> Result<Self> {
        let fields = schema.fields();
        let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        let is_list = |index: &usize| {
            let data_type = fields.get(*index).map(|field| field.data_type());
            data_type.is_some_and(|data_type| item_of(data_type).is_some())
        };
        let lists: Vec<usize> = (0..fields.len()).filter(is_list).collect();
        let names_of_lists: Vec<&str> = names
            .iter()
            .enumerate()
            .map(|(index, name)| if lists.contains(&index) { *name } else { "" })
            .collect();
        let mut guessed = Vec::new();
        let mut found = |role: Role, wanted: Option<&String>| {
            let wanted = wanted.map(String::as_str);
            let by_name = match role {
                // A column of numbers with such a name may be a charge.
                Role::Samples if wanted.is_none() && !lists.is_empty() => {
                    names::find(&names_of_lists, role, None)
                }
                _ => names::find(&names, role, wanted),
            };
            let index = by_name.or(match lists.as_slice() {
                // The only lists are the samples, whatever their name.
                [only] if role == Role::Samples && wanted.is_none() => Some(*only),
                _ => None,
            })?;
            if wanted.is_none() {
                guessed.push((role, names.get(index).copied().unwrap_or_default()));
            }
            Some(index)
        };
        let event_id = found(Role::Event, options.event_column.as_ref());
        let channel_id = found(Role::Channel, options.channel_column.as_ref());
        let samples = found(Role::Samples, options.samples_column.as_ref());
        let absent = [(Role::Event, event_id), (Role::Channel, channel_id)];
        let absent = absent.into_iter().filter(|(_, index)| index.is_none());
        let absent: Vec<Role> = absent.map(|(role, _)| role).collect();
        let missing = |role, wanted: Option<&String>| missing(schema, path, role, wanted, &absent);
        let is_channel_stated = options.channel_id.is_some() && options.channel_column.is_none();
        let start = options.start_column.as_deref();
        let start_ns = names::find(&names, Role::Start, start);
        if start.is_some() && start_ns.is_none() {
            return Err(missing(Role::Start, options.start_column.as_ref()));
        }
        let columns = Self {
            event_id: event_id
                .ok_or_else(|| missing(Role::Event, options.event_column.as_ref()))?,
            channel_id: match channel_id {
                None if !is_channel_stated => {
                    return Err(missing(Role::Channel, options.channel_column.as_ref()));
                }
                index => index,
            },
            absent_channel: 0,
            samples: samples
                .ok_or_else(|| missing(Role::Samples, options.samples_column.as_ref()))?,
            start_ns,
            is_u16: false,
            input_id: options.input_id,
        };
        info.remarks.extend(names::guessed(&guessed));
        info.remarks
            .extend(names::possible_start(start, names.iter().copied()));
        for index in [Some(columns.event_id), columns.channel_id]
            .into_iter()
            .flatten()
        {
            let field = schema.field(index);
            if !field.data_type().is_integer() {
                return Err(wrong_type(path, field, "integers"));
            }
        }
        if let Some(index) = columns.start_ns {
            let field = schema.field(index);
            if !field.data_type().is_numeric() {
                return Err(wrong_type(path, field, "numbers"));
            }
        }
        let field = schema.field(columns.samples);
        let item = item_of(field.data_type())
            .ok_or_else(|| wrong_type(path, field, "lists of samples"))?;
        check_tensor(field, path)?;
        if let DataType::FixedSizeList(_, length) = field.data_type() {
            let length = usize::try_from(*length).unwrap_or(0);
            super::blocks::check_fixed_length(path, &format!("column `{}`", field.name()), length)?;
            info.n_samples = Some(length);
        }
        let sample_type = name_of(item.data_type())
            .ok_or_else(|| wrong_type(path, field, "lists of integers or floats"))?;
        sample_type.clone_into(&mut info.sample_type);
        info.layout = format!("column `{}`", field.name());
        describe(schema.metadata(), info);
        let absent_channel = match columns.channel_id {
            Some(_) => 0,
            None => info.name_channel(options, false)?,
        };
        Ok(Self {
            absent_channel,
            is_u16: matches!(item.data_type(), DataType::UInt8 | DataType::UInt16),
            ..columns
        })
    }

    /// Returns the indices of the columns that are needed.
    pub fn projection(&self) -> Vec<usize> {
        let mut indices = vec![self.event_id, self.samples];
        indices.extend(self.channel_id);
        indices.extend(self.start_ns);
        indices.sort_unstable();
        indices.dedup();
        indices
    }

    /// Returns the same columns in a batch that holds only those of [`Columns::projection`].
    pub fn projected(&self) -> Self {
        let projection = self.projection();
        let place = |index| {
            projection
                .iter()
                .position(|&kept| kept == index)
                .unwrap_or(0)
        };
        Self {
            event_id: place(self.event_id),
            channel_id: self.channel_id.map(place),
            samples: place(self.samples),
            start_ns: self.start_ns.map(place),
            ..self.clone()
        }
    }

    /// Returns the index of the column of event numbers.
    pub fn event_column(&self) -> usize {
        self.event_id
    }

    /// Returns the indices of the columns.
    pub fn roles(&self) -> Roles {
        Roles {
            event_id: self.event_id,
            channel_id: self.channel_id,
            absent_channel: self.absent_channel,
            samples: self.samples,
            start_ns: self.start_ns,
        }
    }

    /// Decodes the waveforms of a record batch whose first row is row `first_row` of the file. `position` maps a row of the
    /// batch to its position in the file.
    pub fn decode(
        &self,
        records: &RecordBatch,
        first_row: u64,
        position: impl Fn(u64) -> u64,
        path: &Path,
    ) -> Result<Block> {
        let bad = |what: &str| Error::input(path, format!("row {first_row}: {what}"));
        let get = |index: usize| {
            records
                .columns()
                .get(index)
                .ok_or_else(|| bad("the columns differ from the schema"))
        };
        let event_id =
            integers(get(self.event_id)?).ok_or_else(|| bad("the events are no integers"))?;
        let channel_id = match self.channel_id {
            Some(index) => {
                Some(integers(get(index)?).ok_or_else(|| bad("the channels are no integers"))?)
            }
            None => None,
        };
        let absent_channel = Some(i128::from(self.absent_channel));
        let start_ns = match self.start_ns {
            Some(index) => {
                Some(floats(get(index)?).ok_or_else(|| bad("the window starts are no numbers"))?)
            }
            None => None,
        };
        let lists = get(self.samples)?;
        let (values, ranges) = ranges(lists).ok_or_else(|| bad("the samples are no lists"))?;
        let samples = samples(&values).ok_or_else(|| bad("the samples are no numbers"))?;
        let kind = if self.is_u16 {
            Samples::U16(Vec::new())
        } else {
            Samples::F32(Vec::new())
        };
        let mut block = Block::new(self.input_id, kind);
        let has_nulls = values.null_count() > 0;
        for (index, range) in ranges.enumerate() {
            let null = lists.is_null(index)
                || (has_nulls && range.clone().any(|place| values.is_null(place)));
            let row = Row {
                event_id: event_id.get(index).copied().flatten(),
                channel_id: channel_id.as_ref().map_or(absent_channel, |column| {
                    column.get(index).copied().flatten()
                }),
                start_ns: start_ns
                    .as_ref()
                    .map_or(Some(0.0), |column| column.get(index).copied().flatten()),
                samples: if null { None } else { slice(&samples, range) },
            };
            let index = index as u64;
            block.push(row, position(index), || {
                format!("row {}", first_row + index)
            });
        }
        Ok(block)
    }
}

/// Returns the error of a file without the column `wanted`, or without one that could be that of `role`. The roles `absent` have none either.
fn missing(
    schema: &Schema,
    path: &Path,
    role: Role,
    wanted: Option<&String>,
    absent: &[Role],
) -> Error {
    let fields = schema.fields();
    let listing: Vec<_> = fields
        .iter()
        .map(|field| format!("`{}` ({})", field.name(), field.data_type()))
        .collect();
    let what = match wanted {
        Some(wanted) => format!("column `{wanted}`"),
        None => format!("column of the {}, such as `{}`", role.name(), role.own()),
    };
    let integers: Vec<&str> = fields
        .iter()
        .filter(|field| field.data_type().is_integer())
        .map(|field| field.name().as_str())
        .collect();
    let error = Error::input(
        path,
        format!("has no {what}; it has {}", listing.join(", ")),
    )
    .with_hint(Hint::NameColumns {
        table: false,
        roles: &["event", "channel", "samples"],
    });
    match names::suggested(absent, &integers) {
        suggested if wanted.is_none() && !suggested.is_empty() => {
            error.and_hint(Hint::UseColumns(suggested))
        }
        _ => error,
    }
}

/// Refuses a column of tensors with several axes, which are stored end to end.
fn check_tensor(field: &Field, path: &Path) -> Result<()> {
    let metadata = |name: &str| field.metadata().get(name).map(String::as_str);
    if metadata("ARROW:extension:name") != Some("arrow.fixed_shape_tensor") {
        return Ok(());
    }
    let text = metadata("ARROW:extension:metadata").unwrap_or_default();
    let properties: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let axes = properties.get("shape").and_then(|shape| shape.as_array());
    match axes {
        Some(axes) if axes.len() == 1 => Ok(()),
        Some(axes) => {
            let axes: Vec<String> = axes.iter().map(ToString::to_string).collect();
            Err(Error::input(
                path,
                format!(
                    "each row of column `{}` is a tensor of {}, not one waveform",
                    field.name(),
                    axes.join(" x ")
                ),
            )
            .with_hint("write one row per channel, or an array of events x channels x samples as .npy, .npz or HDF5"))
        }
        None => Err(Error::input(
            path,
            format!(
                "column `{}` is a tensor that does not state its shape",
                field.name()
            ),
        )),
    }
}

/// Returns the error of a column of the wrong type.
pub(crate) fn wrong_type(path: &Path, field: &Field, expected: &str) -> Error {
    Error::input(
        path,
        format!(
            "column `{}` is of type {}, not {expected}",
            field.name(),
            field.data_type()
        ),
    )
}

fn describe(metadata: &Metadata, info: &mut SourceInfo) {
    let text = |name: &str| metadata.get(name).map(String::as_str);
    let number = |name: &str| text(name)?.trim().parse::<f64>().ok();
    info.sampling_ns = number("sampling_ns").and_then(metadata::sampling_ns);
    info.adc_bits = number("adc_bits").and_then(metadata::adc_bits);
    info.polarity = text("polarity").and_then(metadata::polarity_of_text);
    info.detector = metadata::detector(text("detector"), text("origin"));
}

/// Returns the schema that the writers use.
pub(crate) fn schema(info: &WriteInfo, is_float: bool) -> SchemaRef {
    let metadata = Metadata::from([
        ("sampling_ns", info.sampling_ns.to_string()),
        ("adc_bits", info.adc_bits.to_string()),
        (
            "polarity",
            metadata::polarity_text(info.polarity).to_owned(),
        ),
        ("detector", info.detector.clone()),
        ("origin", metadata::origin(&info.origin)),
    ]);
    let sample = if is_float {
        DataType::Float32
    } else {
        DataType::UInt16
    };
    let fields = vec![
        Field::new(EVENT_NAME, DataType::UInt64, false),
        Field::new(CHANNEL_NAME, DataType::UInt32, false),
        Field::new(START_NAME, DataType::Float64, false),
        Field::new(SAMPLES_NAME, DataType::List(item(sample)), false),
    ];
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

fn item(sample: DataType) -> Arc<Field> {
    Arc::new(Field::new_list_field(sample, false))
}

/// Converts waveforms to a record batch of [`schema`].
pub(crate) fn encode(
    schema: &SchemaRef,
    batch: &Batch,
) -> std::result::Result<RecordBatch, arrow_schema::ArrowError> {
    let start_ns: Vec<f64> = batch.iter().map(|waveform| waveform.start_ns).collect();
    let lengths = batch.iter().map(|waveform| waveform.samples.len());
    let (values, sample): (ArrayRef, _) = match batch.samples() {
        Samples::U16(samples) => (
            Arc::new(UInt16Array::from(samples.clone())),
            DataType::UInt16,
        ),
        Samples::F32(samples) => (
            Arc::new(Float32Array::from(samples.clone())),
            DataType::Float32,
        ),
    };
    let lists = GenericListArray::<i32>::try_new(
        item(sample),
        OffsetBuffer::from_lengths(lengths),
        values,
        None,
    )?;
    RecordBatch::try_new(
        Arc::clone(schema),
        vec![
            Arc::new(UInt64Array::from(batch.event_id().to_vec())),
            Arc::new(UInt32Array::from(batch.channel_id().to_vec())),
            Arc::new(Float64Array::from(start_ns)),
            Arc::new(lists),
        ],
    )
}

/// Returns true if the batch's samples are floats.
pub(crate) fn is_float(batch: &Batch) -> bool {
    matches!(
        batch.get(0).map(|waveform| waveform.samples),
        Some(SamplesRef::F32(_))
    )
}
