//! Decodes the tensors of a request into a batch of waveforms. Checks all shapes against the number of received bytes.

use bytes::Bytes;

use super::messages::{InferRequest, InputTensor, TensorContents};
use crate::model::{Batch, MAX_SAMPLES, MIN_SAMPLES, Samples, SamplesRef, Waveform};
use crate::service::rejection::Rejection;
use crate::service::request::check_starts;

/// The name, data type and shape of a tensor.
pub type TensorSpec = (&'static str, &'static str, &'static [i64]);

/// The input tensors of the models.
pub const INPUTS: [TensorSpec; 4] = [
    ("samples", "UINT16", &[-1, -1]),
    ("channel_id", "UINT32", &[-1]),
    ("event_id", "UINT64", &[-1]),
    ("start_ns", "FP64", &[-1]),
];

/// Returns the size of a value of a data type in bytes; 0 if the type is unknown.
pub fn size_of(datatype: &str) -> usize {
    match datatype {
        "UINT8" | "INT8" => 1,
        "UINT16" | "INT16" => 2,
        "UINT32" | "INT32" | "FP32" => 4,
        "UINT64" | "INT64" | "FP64" => 8,
        _ => 0,
    }
}

/// Returns the message for a parameter of a tensor, an encoded entry of a map: shared memory and classification are not supported.
pub fn unsupported_parameter(entry: &[u8]) -> String {
    let name = match entry {
        // The key is the first field: tag, length, text.
        [0x0a, length, rest @ ..] => rest
            .get(..usize::from(*length))
            .and_then(|name| std::str::from_utf8(name).ok()),
        _ => None,
    };
    format!(
        "parameter `{}` is not supported; tensors are sent and returned in the message",
        name.unwrap_or("?")
    )
}

/// A tensor of a request, with as many values as its shape requires.
struct Tensor<'a> {
    name: &'a str,
    datatype: &'a str,
    shape: Vec<usize>,
    numbers: Numbers<'a>,
}

enum Numbers<'a> {
    Raw(&'a [u8]),
    Listed(&'a TensorContents),
}

impl<'a> Tensor<'a> {
    fn new(input: &'a InputTensor, raw: Option<&'a Bytes>) -> Result<Self, Rejection> {
        let InputTensor {
            name,
            datatype,
            shape,
            parameter,
            contents,
        } = input;
        let invalid = |what: String| Err(Rejection::malformed(format!("input `{name}`: {what}")));
        if let Some(entry) = parameter {
            return invalid(unsupported_parameter(entry));
        }
        let size = size_of(datatype);
        if size == 0 {
            return invalid(format!("data type `{datatype}` is not supported"));
        }
        let lengths: Option<Vec<usize>> =
            shape.iter().map(|&it| usize::try_from(it).ok()).collect();
        let count = lengths.as_ref().and_then(|lengths| {
            let product = |product: usize, &length| product.checked_mul(length);
            lengths.iter().try_fold(1, product)
        });
        let (Some(lengths), Some(count)) = (lengths, count) else {
            return invalid(format!("the shape {shape:?} is invalid"));
        };
        let numbers = match (raw, contents) {
            (Some(raw), None) => {
                if count.checked_mul(size) != Some(raw.len()) {
                    return invalid(format!(
                        "the shape {shape:?} of {datatype} does not match {} bytes",
                        raw.len()
                    ));
                }
                Numbers::Raw(raw)
            }
            (None, Some(contents)) => {
                let listed = match datatype.as_str() {
                    "UINT8" | "UINT16" | "UINT32" => contents.uint.len(),
                    "INT8" | "INT16" | "INT32" => contents.int.len(),
                    "UINT64" => contents.uint64.len(),
                    "INT64" => contents.int64.len(),
                    "FP32" => contents.fp32.len(),
                    _ => contents.fp64.len(),
                };
                if listed != count {
                    return invalid(format!(
                        "the shape {shape:?} does not match {listed} values of {datatype}"
                    ));
                }
                Numbers::Listed(contents)
            }
            (Some(_), Some(_)) => return invalid("it has both raw and listed values".to_owned()),
            (None, None) => return invalid("it has no values".to_owned()),
        };
        Ok(Self {
            name,
            datatype,
            shape: lengths,
            numbers,
        })
    }

    fn invalid<T>(&self, what: &str) -> Result<T, Rejection> {
        Err(Rejection::malformed(format!(
            "input `{}`: {what}",
            self.name
        )))
    }

    /// Decodes the values as integers.
    fn integers(&self) -> Result<Vec<i128>, Rejection> {
        Ok(match (&self.numbers, self.datatype) {
            (Numbers::Raw(raw), "UINT8") => raw.iter().map(|&it| i128::from(it)).collect(),
            (Numbers::Raw(raw), "INT8") => decode_le(raw, |it| i8::from_le_bytes(it).into()),
            (Numbers::Raw(raw), "UINT16") => decode_le(raw, |it| u16::from_le_bytes(it).into()),
            (Numbers::Raw(raw), "INT16") => decode_le(raw, |it| i16::from_le_bytes(it).into()),
            (Numbers::Raw(raw), "UINT32") => decode_le(raw, |it| u32::from_le_bytes(it).into()),
            (Numbers::Raw(raw), "INT32") => decode_le(raw, |it| i32::from_le_bytes(it).into()),
            (Numbers::Raw(raw), "UINT64") => decode_le(raw, |it| u64::from_le_bytes(it).into()),
            (Numbers::Raw(raw), "INT64") => decode_le(raw, |it| i64::from_le_bytes(it).into()),
            (Numbers::Listed(it), "UINT8" | "UINT16" | "UINT32") => {
                it.uint.iter().map(|&it| i128::from(it)).collect()
            }
            (Numbers::Listed(it), "INT8" | "INT16" | "INT32") => {
                it.int.iter().map(|&it| i128::from(it)).collect()
            }
            (Numbers::Listed(it), "UINT64") => it.uint64.iter().map(|&it| i128::from(it)).collect(),
            (Numbers::Listed(it), "INT64") => it.int64.iter().map(|&it| i128::from(it)).collect(),
            _ => return self.invalid(&format!("{} values are not integers", self.datatype)),
        })
    }

    /// Decodes the values as floating-point numbers.
    fn floats(&self) -> Result<Vec<f64>, Rejection> {
        Ok(match (&self.numbers, self.datatype) {
            (Numbers::Raw(raw), "FP32") => decode_le(raw, |it| f32::from_le_bytes(it).into()),
            (Numbers::Raw(raw), "FP64") => decode_le(raw, f64::from_le_bytes),
            (Numbers::Listed(it), "FP32") => it.fp32.iter().map(|&it| f64::from(it)).collect(),
            (Numbers::Listed(it), "FP64") => it.fp64.clone(),
            _ => self.integers()?.into_iter().map(|it| it as f64).collect(),
        })
    }

    /// Decodes the values as samples: 8- and 16-bit counts as such, all other types as floating-point numbers.
    fn samples(&self) -> Result<Samples, Rejection> {
        let Numbers::Raw(raw) = &self.numbers else {
            return self.listed_samples();
        };
        Ok(match self.datatype {
            "UINT8" => Samples::U16(raw.iter().map(|&it| u16::from(it)).collect()),
            "UINT16" => Samples::U16(decode_le(raw, u16::from_le_bytes)),
            "INT8" => Samples::F32(decode_le(raw, |it| f32::from(i8::from_le_bytes(it)))),
            "INT16" => Samples::F32(decode_le(raw, |it| f32::from(i16::from_le_bytes(it)))),
            "UINT32" => Samples::F32(decode_le(raw, |it| u32::from_le_bytes(it) as f32)),
            "INT32" => Samples::F32(decode_le(raw, |it| i32::from_le_bytes(it) as f32)),
            "UINT64" => Samples::F32(decode_le(raw, |it| u64::from_le_bytes(it) as f32)),
            "INT64" => Samples::F32(decode_le(raw, |it| i64::from_le_bytes(it) as f32)),
            "FP32" => Samples::F32(decode_le(raw, f32::from_le_bytes)),
            _ => Samples::F32(decode_le(raw, |it| f64::from_le_bytes(it) as f32)),
        })
    }

    /// Decodes listed values as samples.
    fn listed_samples(&self) -> Result<Samples, Rejection> {
        if matches!(self.datatype, "UINT8" | "UINT16") {
            let counts = self.integers()?.into_iter().map(u16::try_from);
            return match counts.collect() {
                Ok(counts) => Ok(Samples::U16(counts)),
                Err(_) => self.invalid("a count is above 65535"),
            };
        }
        let floats = self.floats()?.into_iter().map(|it| it as f32);
        Ok(Samples::F32(floats.collect()))
    }

    /// Checks that there is one value per waveform.
    fn check_length(&self, n: usize) -> Result<(), Rejection> {
        if self.shape.iter().product::<usize>() == n {
            return Ok(());
        }
        self.invalid(&format!(
            "the shape {:?} does not match {n} waveforms",
            self.shape
        ))
    }
}

/// Decodes little-endian values.
fn decode_le<const N: usize, T>(raw: &[u8], number: fn([u8; N]) -> T) -> Vec<T> {
    let (numbers, _) = raw.as_chunks::<N>();
    numbers.iter().map(|it| number(*it)).collect()
}

/// Decodes the waveforms of a request. Returns them with their sample type (`u16`, `i32`, `f32`).
///
/// # Errors
/// If a tensor is missing, duplicated or invalid.
pub fn waveforms(request: &InferRequest) -> Result<(Batch, &'static str), Rejection> {
    let raw = &request.raw_input_contents;
    if !raw.is_empty() && raw.len() != request.inputs.len() {
        return Err(Rejection::malformed(format!(
            "{} inputs but {} raw contents",
            request.inputs.len(),
            raw.len()
        )));
    }
    let mut tensors: Vec<Tensor<'_>> = Vec::new();
    for (index, input) in request.inputs.iter().enumerate() {
        if !INPUTS.iter().any(|(name, ..)| *name == input.name) {
            let known = INPUTS.map(|(name, ..)| name);
            return Err(Rejection::malformed(format!(
                "unknown input `{}`; available: {}",
                input.name,
                known.join(", ")
            )));
        }
        if tensors.iter().any(|it| it.name == input.name) {
            return Err(Rejection::malformed(format!(
                "input `{}` is duplicated",
                input.name
            )));
        }
        tensors.push(Tensor::new(input, raw.get(index))?);
    }
    let find = |name: &str| tensors.iter().find(|it| it.name == name);
    let need = |name: &str| {
        find(name).ok_or_else(|| Rejection::malformed(format!("input `{name}` is missing")))
    };
    let samples = need("samples")?;
    let &[n, m] = samples.shape.as_slice() else {
        return samples.invalid("its shape is not [waveforms, samples]");
    };
    if n > 0 && !(MIN_SAMPLES..=MAX_SAMPLES).contains(&m) {
        return samples.invalid(&format!(
            "waveforms have {m} samples; the limits are {MIN_SAMPLES} and {MAX_SAMPLES}"
        ));
    }
    let (events, channels) = (need("event_id")?, need("channel_id")?);
    let starts = find("start_ns");
    for tensor in [Some(events), Some(channels), starts].into_iter().flatten() {
        tensor.check_length(n)?;
    }
    let numbers = samples.samples()?;
    let sample_type = match (samples.datatype, &numbers) {
        ("FP32" | "FP64", _) => "f32",
        (_, Samples::U16(_)) => "u16",
        (_, Samples::F32(_)) => "i32",
    };
    let mut batch = match &numbers {
        Samples::U16(_) => Batch::new_u16(0),
        Samples::F32(_) => Batch::new_f32(0),
    };
    let (event_ids, channel_ids) = (events.integers()?, channels.integers()?);
    let start_times = starts.map(Tensor::floats).transpose()?;
    check_starts(start_times.as_deref().unwrap_or_default())?;
    for index in 0..n {
        let range = index * m..(index + 1) * m;
        let samples = match &numbers {
            Samples::U16(all) => all.get(range).map(SamplesRef::U16),
            Samples::F32(all) => all.get(range).map(SamplesRef::F32),
        };
        let id = |ids: &[i128]| ids.get(index).copied().unwrap_or(-1);
        let Ok(event_id) = u64::try_from(id(&event_ids)) else {
            return events.invalid(&format!("value {index} is not an event number"));
        };
        let Ok(channel_id) = u32::try_from(id(&channel_ids)) else {
            return channels.invalid(&format!("value {index} is not a channel number"));
        };
        let start_ns = start_times
            .as_ref()
            .map_or(Some(0.0), |it| it.get(index).copied());
        let start_ns = start_ns.filter(|it| it.is_finite());
        let (Some(samples), Some(start_ns)) = (samples, start_ns) else {
            return Err(Rejection::malformed(format!(
                "input `start_ns`: value {index} is not finite"
            )));
        };
        batch.push(Waveform {
            event_id,
            channel_id,
            start_ns,
            samples,
        });
    }
    Ok((batch, sample_type))
}
