//! Results as tensors: which there are, and the response with those that the client wants.

use bytes::Bytes;

use super::messages::{InferRequest, InferResponse, OutputTensor, Parameter, Value};
use super::tensors::size_of;
use crate::model::{Event, Hit, WaveformSummary};
use crate::service::batcher::JobResult;
use crate::service::rejection::Rejection;
use crate::service::response::waveforms_with_hits;

/// A tensor that comes out, and how its numbers are made.
pub struct Made<T> {
    /// Name.
    pub name: &'static str,
    /// Type of its numbers.
    pub datatype: &'static str,
    make: fn(&T) -> Vec<u8>,
}

fn bytes<const N: usize>(numbers: impl Iterator<Item = [u8; N]>) -> Vec<u8> {
    numbers.flatten().collect()
}

fn of_hits<const N: usize>(result: &JobResult, number: fn(&Hit) -> [u8; N]) -> Vec<u8> {
    bytes(result.extracted.hits.iter().map(number))
}

fn of_waveforms<const N: usize>(
    result: &JobResult,
    number: fn(&WaveformSummary) -> [u8; N],
) -> Vec<u8> {
    bytes(result.extracted.summaries.iter().map(number))
}

fn or_nan(sigma: f32) -> [u8; 4] {
    if sigma > 0.0 { sigma } else { f32::NAN }.to_le_bytes()
}

/// The tensors of the model `waveform`: one number a hit, or one a waveform; `hit_offsets` has one more.
pub const OF_WAVEFORMS: [Made<JobResult>; 15] = [
    Made {
        name: "hit_offsets",
        datatype: "UINT64",
        make: |result| {
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
    Made {
        name: "hit_event_id",
        datatype: "UINT64",
        make: |result| {
            let rows = waveforms_with_hits(&result.batch, &result.extracted);
            bytes(
                rows.flat_map(|(event, _, _, hits)| hits.iter().map(move |_| event.to_le_bytes())),
            )
        },
    },
    Made {
        name: "hit_channel_id",
        datatype: "UINT32",
        make: |result| {
            let rows = waveforms_with_hits(&result.batch, &result.extracted);
            bytes(
                rows.flat_map(|(_, channel, _, hits)| {
                    hits.iter().map(move |_| channel.to_le_bytes())
                }),
            )
        },
    },
    Made {
        name: "hit_time_ns",
        datatype: "FP32",
        make: |result| of_hits(result, |hit| hit.time_ns.to_le_bytes()),
    },
    Made {
        name: "hit_charge_pe",
        datatype: "FP32",
        make: |result| of_hits(result, |hit| hit.charge_pe.to_le_bytes()),
    },
    // A tensor has no nulls: NaN where the method does not estimate it.
    Made {
        name: "hit_charge_sigma_pe",
        datatype: "FP32",
        make: |result| of_hits(result, |hit| or_nan(hit.charge_sigma_pe)),
    },
    Made {
        name: "hit_time_sigma_ns",
        datatype: "FP32",
        make: |result| of_hits(result, |hit| or_nan(hit.time_sigma_ns)),
    },
    Made {
        name: "hit_flags",
        datatype: "UINT32",
        make: |result| of_hits(result, |hit| hit.flags.0.to_le_bytes()),
    },
    Made {
        name: "charge_pe",
        datatype: "FP32",
        make: |result| of_waveforms(result, |it| it.charge_pe.to_le_bytes()),
    },
    Made {
        name: "first_time_ns",
        datatype: "FP32",
        // A tensor has no nulls: NaN where there is no hit.
        make: |result| {
            of_waveforms(result, |it| {
                it.first_time_ns.unwrap_or(f32::NAN).to_le_bytes()
            })
        },
    },
    Made {
        name: "n_hits",
        datatype: "UINT32",
        make: |result| of_waveforms(result, |it| it.n_hits.to_le_bytes()),
    },
    Made {
        name: "baseline_adc",
        datatype: "FP32",
        make: |result| of_waveforms(result, |it| it.baseline_adc.to_le_bytes()),
    },
    Made {
        name: "noise_adc",
        datatype: "FP32",
        make: |result| of_waveforms(result, |it| it.noise_adc.to_le_bytes()),
    },
    Made {
        name: "chi2_ndf",
        datatype: "FP32",
        make: |result| of_waveforms(result, |it| it.chi2_ndf.unwrap_or(f32::NAN).to_le_bytes()),
    },
    Made {
        name: "flags",
        datatype: "UINT32",
        make: |result| of_waveforms(result, |it| it.flags.0.to_le_bytes()),
    },
];

/// Events.
pub type Events = Vec<Event>;

fn of_events<const N: usize>(events: &Events, number: fn(&Event) -> [u8; N]) -> Vec<u8> {
    bytes(events.iter().map(number))
}

/// The tensors of the model `event`: one number an event.
pub const OF_EVENTS: [Made<Events>; 15] = [
    Made {
        name: "event_id",
        datatype: "UINT64",
        make: |events| of_events(events, |it| it.event_id.to_le_bytes()),
    },
    float("x_mm", |events| {
        of_events(events, |it| it.x_mm.to_le_bytes())
    }),
    float("y_mm", |events| {
        of_events(events, |it| it.y_mm.to_le_bytes())
    }),
    float("z_mm", |events| {
        of_events(events, |it| it.z_mm.to_le_bytes())
    }),
    float("time_ns", |events| {
        of_events(events, |it| it.time_ns.to_le_bytes())
    }),
    float("energy_mev", |events| {
        of_events(events, |it| it.energy_mev.to_le_bytes())
    }),
    float("x_sigma_mm", |events| {
        of_events(events, |it| it.x_sigma_mm.to_le_bytes())
    }),
    float("y_sigma_mm", |events| {
        of_events(events, |it| it.y_sigma_mm.to_le_bytes())
    }),
    float("z_sigma_mm", |events| {
        of_events(events, |it| it.z_sigma_mm.to_le_bytes())
    }),
    float("time_sigma_ns", |events| {
        of_events(events, |it| it.time_sigma_ns.to_le_bytes())
    }),
    float("energy_sigma_mev", |events| {
        of_events(events, |it| it.energy_sigma_mev.to_le_bytes())
    }),
    float("charge_pe", |events| {
        of_events(events, |it| it.charge_pe.to_le_bytes())
    }),
    Made {
        name: "n_channels_hit",
        datatype: "UINT32",
        make: |events| of_events(events, |it| it.n_channels_hit.to_le_bytes()),
    },
    float("fit_quality", |events| {
        of_events(events, |it| it.fit_quality.to_le_bytes())
    }),
    Made {
        name: "flags",
        datatype: "UINT32",
        make: |events| of_events(events, |it| it.flags.0.to_le_bytes()),
    },
];

const fn float(name: &'static str, make: fn(&Events) -> Vec<u8>) -> Made<Events> {
    Made {
        name,
        datatype: "FP64",
        make,
    }
}

/// Refuses a request for tensors that the model does not make.
///
/// # Errors
/// If there is one.
pub fn check_wanted<T>(request: &InferRequest, made: &[Made<T>]) -> Result<(), Rejection> {
    for wanted in &request.outputs {
        if !made.iter().any(|it| it.name == wanted.name) {
            let known: Vec<&str> = made.iter().map(|it| it.name).collect();
            return Err(Rejection::malformed(format!(
                "`{}` makes no output `{}`; it makes {}",
                request.model_name,
                wanted.name,
                known.join(", ")
            )));
        }
    }
    Ok(())
}

/// The response to a request that wants `wanted`; all tensors where that is empty.
pub fn respond<T>(
    mut response: InferResponse,
    wanted: &[String],
    made: &[Made<T>],
    from: &T,
    backend: &str,
) -> InferResponse {
    for tensor in made {
        if !wanted.is_empty() && !wanted.iter().any(|name| name == tensor.name) {
            continue;
        }
        let numbers = (tensor.make)(from);
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
