//! The messages that are sent, with the hits that they have to return.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use arrow_array::{ArrayRef, ListArray, RecordBatch, UInt16Array, UInt32Array, UInt64Array};
use arrow_buffer::OffsetBuffer;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::{FlightData, FlightDescriptor};
use arrow_schema::{DataType, Field};
use bytes::Bytes;
use futures::TryStreamExt as _;
use nuwave::extract::{Backend as _, DigitizerConfig, Extractor, Parameters};
use nuwave::io::{self, BatchLimit, ReadOptions};
use nuwave::model::{Batch, Samples};
use nuwave::service::kserve::messages::{InferRequest, InputTensor, RequestedOutput};
use nuwave::service::response;
use prost::Message as _;

use crate::Args;

/// A message and the hits that it has to return.
pub struct Message {
    pub flight: FlightData,
    /// The body of a KServe request, encoded once: otherwise encoding would be part of the measurement.
    pub kserve: Bytes,
    pub waveforms: u64,
    pub bytes: u64,
    /// The columns of hits as bytes.
    pub hits: Vec<u8>,
    pub n_hits: usize,
}

/// Creates the messages, which are sent repeatedly, with the hits that this program finds in them.
pub fn messages(args: &Args) -> Result<(FlightData, Arc<Vec<Message>>)> {
    let detector = nuwave::detector::load("juno")?;
    let readout = DigitizerConfig {
        sampling_ns: detector.readout.sampling_ns,
        polarity: detector.readout.polarity,
        adc_bits: Some(detector.readout.adc_bits),
    };
    let extractor = Extractor::new(
        detector.nominal_calibration()?,
        readout,
        Parameters::default(),
    )?;
    let mut source = io::open(&args.input, &ReadOptions::default())?;
    let limit = BatchLimit {
        waveforms: args.rows,
        samples: usize::MAX,
    };
    let (mut schema, mut all) = (None, Vec::new());
    while let Some(batch) = source.next_batch(limit)? {
        let extracted = extractor.extract(&batch)?;
        let hits = response::hits(&batch, &extracted).map_err(|it| anyhow!(it.message))?;
        let (first, flight) = flight_of(&batch)?;
        schema.get_or_insert(first);
        all.push(Message {
            flight,
            kserve: framed(&kserve_of(&batch)?)?,
            waveforms: batch.len() as u64,
            bytes: 2 * batch.samples().len() as u64,
            n_hits: hits.num_rows(),
            hits: bytes_of(&hits),
        });
    }
    println!(
        "{}",
        serde_json::json!({"messages": all.len(), "waveforms": all.iter().map(|it| it.waveforms).sum::<u64>()})
    );
    Ok((schema.context("the file is empty")?, Arc::new(all)))
}

/// Returns the times and charges of hits as bytes.
pub fn bytes_of(hits: &RecordBatch) -> Vec<u8> {
    let columns = ["time_ns", "charge_pe"].map(|name| hits.column_by_name(name));
    let mut bytes = Vec::new();
    for column in columns.into_iter().flatten() {
        let data = column.to_data();
        for buffer in data.buffers() {
            let width = column.data_type().primitive_width().unwrap_or(0);
            let (offset, length) = (width * data.offset(), width * data.len());
            bytes.extend_from_slice(&buffer.as_slice()[offset..offset + length]);
        }
    }
    bytes
}

/// Encodes a batch as Flight messages: the schema and the data.
fn flight_of(batch: &Batch) -> Result<(FlightData, FlightData)> {
    let Samples::U16(samples) = batch.samples() else {
        return Err(anyhow!("the samples are not 16-bit counts"));
    };
    let lengths = batch.iter().map(|it| it.samples.len());
    let item = Arc::new(Field::new_list_field(DataType::UInt16, false));
    let records = RecordBatch::try_from_iter([
        (
            "event_id",
            Arc::new(UInt64Array::from(batch.event_id().to_vec())) as ArrayRef,
        ),
        (
            "channel_id",
            Arc::new(UInt32Array::from(batch.channel_id().to_vec())),
        ),
        (
            "samples",
            Arc::new(ListArray::try_new(
                item,
                OffsetBuffer::from_lengths(lengths),
                Arc::new(UInt16Array::from(samples.clone())),
                None,
            )?),
        ),
    ])?;
    let encoder = FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(FlightDescriptor::new_cmd("{\"output\": \"hits\"}")))
        .with_max_flight_data_size(1 << 30)
        .build(futures::stream::iter([Ok(records)]));
    let parts: Vec<FlightData> = pollster::block_on(encoder.try_collect())?;
    match <[FlightData; 2]>::try_from(parts) {
        Ok([schema, data]) => Ok((schema, data)),
        Err(parts) => Err(anyhow!("{} messages", parts.len())),
    }
}

fn kserve_of(batch: &Batch) -> Result<InferRequest> {
    let Samples::U16(samples) = batch.samples() else {
        return Err(anyhow!("the samples are not 16-bit counts"));
    };
    let n = batch.len();
    let m = samples.len() / n.max(1);
    let input = |name: &str, datatype: &str, shape: &[usize]| InputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: shape
            .iter()
            .map(|&it| i64::try_from(it).unwrap_or(i64::MAX))
            .collect(),
        parameter: None,
        contents: None,
    };
    let wanted = ["hit_offsets", "hit_time_ns", "hit_charge_pe"];
    let bytes = |all: Vec<u8>| Bytes::from(all);
    Ok(InferRequest {
        model_name: "waveform".to_owned(),
        inputs: vec![
            input("samples", "UINT16", &[n, m]),
            input("channel_id", "UINT32", &[n]),
            input("event_id", "UINT64", &[n]),
        ],
        outputs: wanted
            .iter()
            .map(|it| RequestedOutput {
                name: (*it).to_owned(),
                parameter: None,
            })
            .collect(),
        raw_input_contents: vec![
            bytes(samples.iter().flat_map(|it| it.to_le_bytes()).collect()),
            bytes(
                batch
                    .channel_id()
                    .iter()
                    .flat_map(|it| it.to_le_bytes())
                    .collect(),
            ),
            bytes(
                batch
                    .event_id()
                    .iter()
                    .flat_map(|it| it.to_le_bytes())
                    .collect(),
            ),
        ],
        ..InferRequest::default()
    })
}

/// Encodes a request with the header of gRPC.
fn framed(request: &InferRequest) -> Result<Bytes> {
    let length = u32::try_from(request.encoded_len())?;
    let mut bytes = vec![0];
    bytes.extend(length.to_be_bytes());
    request.encode(&mut bytes)?;
    Ok(bytes.into())
}
