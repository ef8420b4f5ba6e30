//! Encodes results as the output tensors of the models.

use bytes::Bytes;

use super::messages::{InferRequest, InferResponse, OutputTensor, Parameter, Value};
use super::tensors::{size_of, unsupported_parameter};
use crate::model::{Event, Hit, WaveformSummary};
use crate::service::batcher::JobResult;
use crate::service::rejection::Rejection;
use crate::service::response::waveforms_with_hits;

/// An output tensor, and how its values are encoded.
pub struct OutputSpec<T> {
    /// Name.
    pub name: &'static str,
    /// Data type.
    pub datatype: &'static str,
    encode: fn(&T) -> Vec<u8>,
}

fn bytes<const N: usize>(numbers: impl Iterator<Item = [u8; N]>) -> Vec<u8> {
    numbers.flatten().collect()
}

fn hit_bytes<const N: usize>(result: &JobResult, number: fn(&Hit) -> [u8; N]) -> Vec<u8> {
    bytes(result.extracted.hits.iter().map(number))
}

fn waveform_bytes<const N: usize>(
    result: &JobResult,
    number: fn(&WaveformSummary) -> [u8; N],
) -> Vec<u8> {
    bytes(result.extracted.summaries.iter().map(number))
}

fn or_nan(sigma: f32) -> [u8; 4] {
    if sigma > 0.0 { sigma } else { f32::NAN }.to_le_bytes()
}

/// The tensors of the model `waveform`, with one value per hit or per waveform; `hit_offsets` has one more.
pub const WAVEFORM_OUTPUTS: [OutputSpec<JobResult>; 15] = [
    OutputSpec {
        name: "hit_offsets",
        datatype: "UINT64",
        encode: |result| {
            let counts = result
                .extracted
                .summaries
                .iter()
                .map(|it| u64::from(it.n_hits));
            let mut sum = 0;
            let ends = counts.map(|count| {
                sum += count;
                sum
            });
            bytes(std::iter::once(0).chain(ends).map(u64::to_le_bytes))
        },
    },
    OutputSpec {
        name: "hit_event_id",
        datatype: "UINT64",
        encode: |result| {
            let rows = waveforms_with_hits(&result.batch, &result.extracted);
            bytes(
                rows.flat_map(|(event, _, _, hits)| hits.iter().map(move |_| event.to_le_bytes())),
            )
        },
    },
    OutputSpec {
        name: "hit_channel_id",
        datatype: "UINT32",
        encode: |result| {
            let rows = waveforms_with_hits(&result.batch, &result.extracted);
            bytes(
                rows.flat_map(|(_, channel, _, hits)| {
                    hits.iter().map(move |_| channel.to_le_bytes())
                }),
            )
        },
    },
    OutputSpec {
        name: "hit_time_ns",
        datatype: "FP64",
        encode: |result| hit_bytes(result, |hit| hit.time_ns.to_le_bytes()),
    },
    OutputSpec {
        name: "hit_charge_pe",
        datatype: "FP32",
        encode: |result| hit_bytes(result, |hit| hit.charge_pe.to_le_bytes()),
    },
    // Tensors have no nulls: NaN if the method does not estimate the value.
    OutputSpec {
        name: "hit_charge_sigma_pe",
        datatype: "FP32",
        encode: |result| hit_bytes(result, |hit| or_nan(hit.charge_sigma_pe)),
    },
    OutputSpec {
        name: "hit_time_sigma_ns",
        datatype: "FP32",
        encode: |result| hit_bytes(result, |hit| or_nan(hit.time_sigma_ns)),
    },
    OutputSpec {
        name: "hit_flags",
        datatype: "UINT32",
        encode: |result| hit_bytes(result, |hit| hit.flags.0.to_le_bytes()),
    },
    OutputSpec {
        name: "charge_pe",
        datatype: "FP32",
        encode: |result| waveform_bytes(result, |it| it.charge_pe.to_le_bytes()),
    },
    OutputSpec {
        name: "first_time_ns",
        datatype: "FP64",
        // Tensors have no nulls: NaN if there is no hit.
        encode: |result| {
            waveform_bytes(result, |it| {
                it.first_time_ns.unwrap_or(f64::NAN).to_le_bytes()
            })
        },
    },
    OutputSpec {
        name: "n_hits",
        datatype: "UINT32",
        encode: |result| waveform_bytes(result, |it| it.n_hits.to_le_bytes()),
    },
    OutputSpec {
        name: "baseline_adc",
        datatype: "FP32",
        encode: |result| waveform_bytes(result, |it| it.baseline_adc.to_le_bytes()),
    },
    OutputSpec {
        name: "noise_adc",
        datatype: "FP32",
        encode: |result| waveform_bytes(result, |it| it.noise_adc.to_le_bytes()),
    },
    OutputSpec {
        name: "chi2_ndf",
        datatype: "FP32",
        encode: |result| waveform_bytes(result, |it| it.chi2_ndf.unwrap_or(f32::NAN).to_le_bytes()),
    },
    OutputSpec {
        name: "flags",
        datatype: "UINT32",
        encode: |result| waveform_bytes(result, |it| it.flags.0.to_le_bytes()),
    },
];

/// Events.
pub type Events = Vec<Event>;

fn event_bytes<const N: usize>(events: &Events, number: fn(&Event) -> [u8; N]) -> Vec<u8> {
    bytes(events.iter().map(number))
}

/// The tensors of the model `event`, with one value per event.
pub const EVENT_OUTPUTS: [OutputSpec<Events>; 15] = [
    OutputSpec {
        name: "event_id",
        datatype: "UINT64",
        encode: |events| event_bytes(events, |it| it.event_id.to_le_bytes()),
    },
    float("x_mm", |events| {
        event_bytes(events, |it| it.x_mm.to_le_bytes())
    }),
    float("y_mm", |events| {
        event_bytes(events, |it| it.y_mm.to_le_bytes())
    }),
    float("z_mm", |events| {
        event_bytes(events, |it| it.z_mm.to_le_bytes())
    }),
    float("time_ns", |events| {
        event_bytes(events, |it| it.time_ns.to_le_bytes())
    }),
    float("energy_mev", |events| {
        event_bytes(events, |it| it.energy_mev.to_le_bytes())
    }),
    float("x_sigma_mm", |events| {
        event_bytes(events, |it| it.x_sigma_mm.to_le_bytes())
    }),
    float("y_sigma_mm", |events| {
        event_bytes(events, |it| it.y_sigma_mm.to_le_bytes())
    }),
    float("z_sigma_mm", |events| {
        event_bytes(events, |it| it.z_sigma_mm.to_le_bytes())
    }),
    float("time_sigma_ns", |events| {
        event_bytes(events, |it| it.time_sigma_ns.to_le_bytes())
    }),
    float("energy_sigma_mev", |events| {
        event_bytes(events, |it| it.energy_sigma_mev.to_le_bytes())
    }),
    float("charge_pe", |events| {
        event_bytes(events, |it| it.charge_pe.to_le_bytes())
    }),
    OutputSpec {
        name: "n_channels_hit",
        datatype: "UINT32",
        encode: |events| event_bytes(events, |it| it.n_channels_hit.to_le_bytes()),
    },
    float("fit_quality", |events| {
        event_bytes(events, |it| it.fit_quality.to_le_bytes())
    }),
    OutputSpec {
        name: "flags",
        datatype: "UINT32",
        encode: |events| event_bytes(events, |it| it.flags.0.to_le_bytes()),
    },
];

const fn float(name: &'static str, encode: fn(&Events) -> Vec<u8>) -> OutputSpec<Events> {
    OutputSpec {
        name,
        datatype: "FP64",
        encode,
    }
}

/// Checks that the model has the requested tensors.
///
/// # Errors
/// If the request names an unknown tensor.
pub fn check_requested<T>(
    request: &InferRequest,
    outputs: &[OutputSpec<T>],
) -> Result<(), Rejection> {
    for requested in &request.outputs {
        if let Some(entry) = &requested.parameter {
            return Err(Rejection::malformed(format!(
                "output `{}`: {}",
                requested.name,
                unsupported_parameter(entry)
            )));
        }
        if !outputs.iter().any(|it| it.name == requested.name) {
            let known: Vec<&str> = outputs.iter().map(|it| it.name).collect();
            return Err(Rejection::malformed(format!(
                "model `{}` has no output `{}`; available: {}",
                request.model_name,
                requested.name,
                known.join(", ")
            )));
        }
    }
    Ok(())
}

/// Adds the `requested` tensors to `response`; all tensors if it is empty.
pub fn build_response<T>(
    mut response: InferResponse,
    requested: &[String],
    outputs: &[OutputSpec<T>],
    from: &T,
    backend: &str,
) -> InferResponse {
    for tensor in outputs {
        if !requested.is_empty() && !requested.iter().any(|name| name == tensor.name) {
            continue;
        }
        let numbers = (tensor.encode)(from);
        let length = numbers.len() / size_of(tensor.datatype).max(1);
        response.outputs.push(OutputTensor {
            name: tensor.name.to_owned(),
            datatype: tensor.datatype.to_owned(),
            shape: vec![i64::try_from(length).unwrap_or(i64::MAX)],
        });
        response.raw_output_contents.push(Bytes::from(numbers));
    }
    let value = Some(Value::Text(backend.to_owned()));
    response
        .parameters
        .insert("backend".to_owned(), Parameter { value });
    response
}
