//! Load for `nuwave serve`: many clients, each answer compared with what this program computes itself.
//!
//! ```text
//! nuwave simulate waveforms --detector juno --channels 500 --events 20 --mean-pe 0.5 -o load.arrow
//! nuwave serve -d juno &
//! cargo run --release --example service_load -- load.arrow --protocol flight --clients 8 --rate 90 --seconds 60
//! ```
//!
//! `--rate 0` sends as fast as answers come. One line of JSON every `--every` seconds, and one for the whole at the end. Ends
//! with code 1 if an answer was lost or different.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use arrow_array::{ArrayRef, ListArray, RecordBatch, UInt16Array, UInt32Array, UInt64Array};
use arrow_buffer::OffsetBuffer;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{FlightData, FlightDescriptor};
use arrow_schema::{DataType, Field};
use bytes::Bytes;
use clap::Parser;
use futures::{StreamExt as _, TryStreamExt as _};
use nuwave::extract::{Backend as _, Extractor, Parameters, ReadoutFacts};
use nuwave::io::{self, BatchLimit, ReadOptions};
use nuwave::model::{Batch, Samples};
use nuwave::service::command::Output;
use nuwave::service::kserve::messages::{
    InferRequest, InferResponse, InputTensor, RequestedOutput,
};
use nuwave::service::response;
use prost::Message as _;
use tonic::body::Body;
use tonic::codec::Codec as _;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::ServiceExt as _;

/// Load for the service
#[derive(Clone, Debug, Parser)]
struct Args {
    /// File of waveforms of the detector `juno`, all of the same length
    input: PathBuf,
    /// `HOST:PORT` or `unix:PATH`
    #[arg(long, default_value = "127.0.0.1:8815")]
    address: String,
    /// `flight` or `kserve`
    #[arg(long, default_value = "flight")]
    protocol: String,
    /// Clients, each with a connection of its own
    #[arg(long, default_value_t = 8)]
    clients: usize,
    /// MB of samples a second that all clients send together; 0: as fast as they are answered
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// How long
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// Waveforms a message
    #[arg(long, default_value_t = 1000)]
    rows: usize,
    /// Messages a stream of Flight, before another begins
    #[arg(long, default_value_t = 1000)]
    messages: usize,
    /// Calls or messages that a client has under way
    #[arg(long, default_value_t = 4)]
    depth: usize,
    /// Milliseconds that a refused client waits before it tries again
    #[arg(long, default_value_t = 50)]
    backoff: u64,
    /// Seconds between two lines
    #[arg(long, default_value_t = 10.0)]
    every: f64,
    /// Misbehave instead: never read, send a byte a second, go away at any moment, cancel
    #[arg(long)]
    misbehave: bool,
    /// Process of the service, to tell its memory
    #[arg(long)]
    pid: Option<u32>,
}

/// One message and the hits it has to bring.
struct Message {
    flight: FlightData,
    /// A call's body: encoding 2 MB anew for each call is what this program would measure else.
    kserve: Bytes,
    waveforms: u64,
    bytes: u64,
    /// Rows of hits, as bytes.
    hits: Vec<u8>,
    n_hits: usize,
}

#[derive(Default)]
struct Counts {
    answered: AtomicU64,
    waveforms: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    different: AtomicU64,
    /// Seconds from when a message was due to its answer, and from a call to its rejection.
    latencies: Mutex<(Vec<f64>, Vec<f64>)>,
    first_error: Mutex<Option<String>>,
}

impl Counts {
    fn note(&self, message: &Message, due: Instant, same: bool) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.waveforms
            .fetch_add(message.waveforms, Ordering::Relaxed);
        self.bytes.fetch_add(message.bytes, Ordering::Relaxed);
        if !same {
            self.different.fetch_add(1, Ordering::Relaxed);
        }
        let seconds = due.elapsed().as_secs_f64();
        self.latencies.lock().expect("no panic").0.push(seconds);
    }

    fn note_error(&self, status: &Status, begun: Instant) {
        if matches!(status.code(), Code::ResourceExhausted | Code::Unavailable) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let seconds = begun.elapsed().as_secs_f64();
            self.latencies.lock().expect("no panic").1.push(seconds);
        } else {
            self.failed.fetch_add(1, Ordering::Relaxed);
            let mut first = self.first_error.lock().expect("no panic");
            first.get_or_insert_with(|| status.to_string());
        }
    }

    fn line(&self, seconds: f64, pid: Option<u32>) -> serde_json::Value {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut latencies = self.latencies.lock().expect("no panic");
        let (answered, refused) = &mut *latencies;
        let mut line = serde_json::json!({
            "seconds": seconds,
            "answered": get(&self.answered),
            "refused": get(&self.refused),
            "failed": get(&self.failed),
            "different": get(&self.different),
            "waveforms_per_s": get(&self.waveforms) as f64 / seconds,
            "mb_per_s": get(&self.bytes) as f64 / seconds / 1e6,
            "latency_ms": quantiles(answered),
            "refusal_ms": quantiles(refused),
        });
        if let Some(resident) = pid.and_then(resident_mib) {
            line["resident_mib"] = resident.into();
        }
        if let Some(error) = &*self.first_error.lock().expect("no panic") {
            line["first_error"] = error.as_str().into();
        }
        line
    }
}

/// Median, 99th percentile and greatest, in ms.
fn quantiles(seconds: &mut [f64]) -> serde_json::Value {
    if seconds.is_empty() {
        return serde_json::Value::Null;
    }
    seconds.sort_by(f64::total_cmp);
    let at = |q: f64| (seconds[((seconds.len() - 1) as f64 * q) as usize] * 1e5).round() / 100.0;
    serde_json::json!({"p50": at(0.5), "p99": at(0.99), "max": at(1.0)})
}

fn resident_mib(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|it| it.starts_with("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some((kib / 102.4).round() / 10.0)
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let (schema, messages) = messages(&args)?;
    tokio::runtime::Runtime::new()?.block_on(run(args, schema, messages))
}

/// The messages that are sent round and round, with the hits that this program finds in them.
fn messages(args: &Args) -> Result<(FlightData, Arc<Vec<Message>>)> {
    let detector = nuwave::detector::load("juno")?;
    let readout = ReadoutFacts {
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

/// Times and charges of hits, bit by bit.
fn bytes_of(hits: &RecordBatch) -> Vec<u8> {
    let columns = ["time_ns", "charge_pe"].map(|name| hits.column_by_name(name));
    let mut bytes = Vec::new();
    for column in columns.into_iter().flatten() {
        let data = column.to_data();
        for buffer in data.buffers() {
            let (offset, length) = (4 * data.offset(), 4 * data.len());
            bytes.extend_from_slice(&buffer.as_slice()[offset..offset + length]);
        }
    }
    bytes
}

/// The schema's message and the batch's.
fn flight_of(batch: &Batch) -> Result<(FlightData, FlightData)> {
    let Samples::U16(samples) = batch.samples() else {
        return Err(anyhow!("the samples are no 16-bit counts"));
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
        return Err(anyhow!("the samples are no 16-bit counts"));
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

/// A message as gRPC sends it.
fn framed(request: &InferRequest) -> Result<Bytes> {
    let length = u32::try_from(request.encoded_len())?;
    let mut bytes = vec![0];
    bytes.extend(length.to_be_bytes());
    request.encode(&mut bytes)?;
    Ok(bytes.into())
}

async fn run(args: Args, schema: FlightData, messages: Arc<Vec<Message>>) -> Result<ExitCode> {
    let counts = Arc::new(Counts::default());
    let begin = Instant::now();
    let end = begin + Duration::from_secs_f64(args.seconds);
    if args.misbehave {
        misbehave(&args, &schema, &messages, end).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..args.clients {
        let client = Client {
            channel: connect(&args.address).await?,
            args: args.clone(),
            schema: schema.clone(),
            messages: Arc::clone(&messages),
            counts: Arc::clone(&counts),
            number,
            begin,
            end,
        };
        clients.spawn(async move {
            match client.args.protocol.as_str() {
                "kserve" => client.kserve().await,
                _ => client.flight().await,
            }
        });
    }
    let every = Duration::from_secs_f64(args.every);
    let mut ticks = tokio::time::interval_at((begin + every).into(), every);
    loop {
        tokio::select! {
            next = clients.join_next() => match next {
                None => break,
                Some(ended) => ended?,
            },
            _ = ticks.tick() => println!("{}", counts.line(begin.elapsed().as_secs_f64(), args.pid)),
        }
    }
    let mut line = counts.line(begin.elapsed().as_secs_f64(), args.pid);
    line["whole"] = true.into();
    println!("{line}");
    let bad = counts.failed.load(Ordering::Relaxed) + counts.different.load(Ordering::Relaxed);
    Ok(ExitCode::from(u8::from(bad > 0)))
}

async fn connect(address: &str) -> Result<Channel> {
    connect_with(address, 4 << 20).await
}

/// A connection on which the service may send `window` bytes of answers that nobody has taken yet.
async fn connect_with(address: &str, window: u32) -> Result<Channel> {
    let address = match address.strip_prefix("unix:") {
        Some(path) => format!("unix://{path}"),
        None => format!("http://{address}"),
    };
    let endpoint = Endpoint::from_shared(address)?
        .initial_stream_window_size(window)
        .initial_connection_window_size(2 * window);
    Ok(endpoint.connect().await?)
}

/// What no service wants: eight that never read, one that sends a byte a second, a thousand that go away at any moment or
/// whose time is over, all at once.
async fn misbehave(
    args: &Args,
    schema: &FlightData,
    messages: &Arc<Vec<Message>>,
    end: Instant,
) -> Result<()> {
    let mut stuck = Vec::new();
    for _ in 0..8 {
        let all: Vec<FlightData> = messages.iter().map(|it| it.flight.clone()).collect();
        let endless = std::iter::once(schema.clone()).chain(all.into_iter().cycle());
        // They stop where a client without a thought about it does: at 64 KiB that nobody took.
        let channel = connect_with(&args.address, 1 << 16).await?;
        let mut client = FlightServiceClient::new(channel);
        let answers = client.do_exchange(futures::stream::iter(endless)).await?;
        stuck.push((client, answers));
    }
    let slow = tokio::spawn(slow(args.address.clone()));
    let counts = Arc::new(Counts::default());
    let mut gone = 0;
    while gone < 1000 || Instant::now() < end {
        let client = Client {
            channel: connect(&args.address).await?,
            args: Args {
                rate: 0.0,
                ..args.clone()
            },
            schema: schema.clone(),
            messages: Arc::clone(messages),
            counts: Arc::clone(&counts),
            number: gone,
            begin: Instant::now(),
            end: end + Duration::from_secs(3600),
        };
        // From the first byte to several messages.
        let after = Duration::from_micros((gone as u64 * 7919) % 20_011);
        let going = async {
            match gone % 3 {
                0 => drop(client.one_stream(&mut 0).await),
                1 => drop(client.call(0).await),
                _ => {
                    drop(client.send(client.message(0), Some(after / 2)).await);
                }
            }
        };
        let _ = tokio::time::timeout(after, going).await;
        gone += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tokio::time::sleep_until(end.into()).await;
    slow.abort();
    println!(
        "{}",
        serde_json::json!({"never_read": stuck.len(), "gone": gone})
    );
    Ok(())
}

/// Begins a message and sends a byte of it every second.
async fn slow(address: String) -> Result<()> {
    let stream = tokio::net::TcpStream::connect(&address).await?;
    let (mut sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await?;
    tokio::spawn(connection);
    let bytes = futures::stream::unfold(0, |at| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let frame = http_body::Frame::data(Bytes::from(vec![u8::from(at == 3)]));
        Some((Ok::<_, std::convert::Infallible>(frame), at + 1))
    });
    let path = "arrow.flight.protocol.FlightService/DoExchange";
    let request = http::Request::post(format!("http://{address}/{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(http_body_util::StreamBody::new(Box::pin(bytes)))?;
    sender.send_request(request).await?;
    std::future::pending().await
}

/// Ends the waiting for room when the answers have ended, however they did.
struct CloseOnDrop<'a>(&'a tokio::sync::Semaphore);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

struct Client {
    channel: Channel,
    args: Args,
    schema: FlightData,
    messages: Arc<Vec<Message>>,
    counts: Arc<Counts>,
    number: usize,
    begin: Instant,
    end: Instant,
}

impl Client {
    fn message(&self, place: usize) -> &Message {
        &self.messages[(self.number * 7 + place) % self.messages.len()]
    }

    /// When message `place` is due.
    fn due(&self, place: usize) -> Instant {
        if self.args.rate <= 0.0 {
            return Instant::now();
        }
        let bytes = self.message(0).bytes as f64;
        let each = bytes * self.args.clients as f64 / (self.args.rate * 1e6);
        let share = self.number as f64 / self.args.clients as f64;
        self.begin + Duration::from_secs_f64(each * (place as f64 + share))
    }

    async fn flight(&self) {
        let mut place = 0;
        while Instant::now() < self.end {
            let begun = Instant::now();
            match self.one_stream(&mut place).await {
                Ok(()) => {}
                Err(status) => {
                    self.counts.note_error(&status, begun);
                    tokio::time::sleep(Duration::from_millis(self.args.backoff)).await;
                }
            }
        }
    }

    /// Sends messages and compares their answers, until the stream has had its number or time is over.
    async fn one_stream(&self, place: &mut usize) -> Result<(), Status> {
        let (to_send, outgoing) = tokio::sync::mpsc::channel(1);
        let _ = to_send.send(self.schema.clone()).await;
        let incoming = futures::stream::unfold(outgoing, |mut receiver| async {
            receiver.recv().await.map(|it| (it, receiver))
        });
        let mut client = FlightServiceClient::new(self.channel.clone())
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX);
        let mut answers = client.do_exchange(incoming).await?.into_inner();
        let room = Arc::new(tokio::sync::Semaphore::new(self.args.depth));
        let (due, mut dues) = tokio::sync::mpsc::unbounded_channel();
        let first = *place;
        let sending = async {
            for place in first..first + self.args.messages {
                let at = self.due(place);
                // Even a sleep of nothing takes a millisecond.
                if at > Instant::now() {
                    tokio::time::sleep_until(at.into()).await;
                }
                if Instant::now() >= self.end {
                    break;
                }
                let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                    break;
                };
                permit.forget();
                let at = if self.args.rate > 0.0 {
                    at
                } else {
                    Instant::now()
                };
                let _ = due.send((place, at));
                if to_send
                    .send(self.message(place).flight.clone())
                    .await
                    .is_err()
                {
                    break;
                }
            }
            drop(to_send);
            drop(due);
        };
        let receiving = async {
            // Whoever still sends is to hear of the end.
            let _end = CloseOnDrop(&room);
            // The first one is the schema; then there is one a message, as long as its hits fit into one.
            answers.message().await?;
            while let Some(answer) = answers.message().await? {
                let hits = arrow_flight::utils::flight_data_to_arrow_batch(
                    &answer,
                    response::schema(Output::Hits),
                    &std::collections::HashMap::new(),
                )
                .map_err(|error| Status::internal(error.to_string()))?;
                let Some((place, at)) = dues.recv().await else {
                    return Err(Status::internal("an answer that nobody asked for"));
                };
                let message = self.message(place);
                let same = hits.num_rows() == message.n_hits && bytes_of(&hits) == message.hits;
                self.counts.note(message, at, same);
                room.add_permits(1);
            }
            Ok(())
        };
        let ((), received) = tokio::join!(sending, receiving);
        received?;
        if dues.recv().await.is_some() {
            return Err(Status::data_loss("a message was not answered"));
        }
        *place += self.args.messages;
        Ok(())
    }

    async fn kserve(&self) {
        let room = Arc::new(tokio::sync::Semaphore::new(self.args.depth));
        let calls = futures::stream::iter(0..).map(|place| {
            let room = Arc::clone(&room);
            async move {
                let at = self.due(place);
                // Even a sleep of nothing takes a millisecond.
                if at > Instant::now() {
                    tokio::time::sleep_until(at.into()).await;
                }
                let _permit = if self.args.rate > 0.0 {
                    None
                } else {
                    room.acquire_owned().await.ok()
                };
                if Instant::now() >= self.end {
                    return false;
                }
                let begun = Instant::now();
                let at = if self.args.rate > 0.0 { at } else { begun };
                match self.call(place).await {
                    Ok(same) => self.counts.note(self.message(place), at, same),
                    Err(status) => {
                        self.counts.note_error(&status, begun);
                        if self.args.rate <= 0.0 {
                            tokio::time::sleep(Duration::from_millis(self.args.backoff)).await;
                        }
                    }
                }
                true
            }
        });
        // With a rate calls are not held back by others, as those of many users are not.
        let most = if self.args.rate > 0.0 {
            4096
        } else {
            self.args.depth
        };
        let mut calls = std::pin::pin!(
            calls
                .buffer_unordered(most)
                .take_while(|go_on| { std::future::ready(*go_on) })
        );
        while calls.next().await.is_some() {}
    }

    async fn call(&self, place: usize) -> Result<bool, Status> {
        let message = self.message(place);
        let answer = self.send(message, None).await?;
        let hits = answer.raw_output_contents.iter().skip(1).flatten();
        Ok(hits.eq(&message.hits))
    }

    async fn send(
        &self,
        message: &Message,
        timeout: Option<Duration>,
    ) -> Result<InferResponse, Status> {
        // A stream: clients of gRPC do not say how long it is either.
        let frame = Ok::<_, Status>(http_body::Frame::data(message.kserve.clone()));
        let body = http_body_util::StreamBody::new(futures::stream::iter([frame]));
        let mut request = http::Request::post("/inference.GRPCInferenceService/ModelInfer")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(timeout) = timeout {
            request = request.header("grpc-timeout", format!("{}u", timeout.as_micros()));
        }
        let request = request.body(Body::new(body));
        let request = request.map_err(|error| Status::internal(error.to_string()))?;
        let answer = self.channel.clone().oneshot(request).await;
        let answer = answer.map_err(|error| Status::from_error(error.into()))?;
        if let Some(status) = Status::from_header_map(answer.headers()) {
            return Err(status);
        }
        let decoder = ProstCodec::<InferRequest, InferResponse>::default().decoder();
        let status = answer.status();
        let mut answers =
            Streaming::new_response(decoder, answer.into_body(), status, None, Some(usize::MAX));
        let answer = answers.message().await?;
        answer.ok_or_else(|| Status::internal("an answer without a message"))
    }
}
