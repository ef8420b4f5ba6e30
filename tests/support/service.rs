//! A service under test, and small clients of its protocols.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{FlightData, FlightDescriptor};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use nuwave::service::kserve::messages::{InferRequest, InferResponse, InputTensor};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

/// The number of samples per waveform in requests.
pub const SAMPLES: usize = 1000;

/// Runs `nuwave` with `arguments`.
pub fn nuwave(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nuwave"))
        .args(arguments)
        .output()
        .expect("nuwave")
}

/// A running service, killed on drop.
pub struct Server {
    child: Child,
    pub address: String,
    stderr: Arc<Mutex<String>>,
}

impl Server {
    /// Starts a service for the detector `juno` on a free port, with further arguments.
    pub fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments, &[])
    }

    pub fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nuwave"));
        command.arg("serve").args(arguments);
        for (name, value) in [("-d", "juno"), ("--listen", "127.0.0.1:0")] {
            if !arguments.contains(&name) {
                command.args([name, value]);
            }
        }
        let mut child = command
            .envs(environment.iter().copied())
            .stderr(Stdio::piped())
            .spawn()
            .expect("nuwave");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped"));
        let stderr = Arc::new(Mutex::new(String::new()));
        let address = loop {
            let mut line = String::new();
            let read = lines.read_line(&mut line).expect("text");
            assert!(
                read > 0,
                "the service did not start: {}",
                stderr.lock().unwrap()
            );
            stderr.lock().unwrap().push_str(&line);
            if let Some(address) = line.strip_prefix("ready: ") {
                break address.trim().to_owned();
            }
        };
        let all = Arc::clone(&stderr);
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                all.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Self {
            child,
            address,
            stderr,
        }
    }

    /// Returns its output on stderr.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the resident memory in bytes.
    pub fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("proc");
        let line = status
            .lines()
            .find(|it| it.starts_with("VmRSS:"))
            .expect("VmRSS");
        let kib: u64 = line
            .split_whitespace()
            .nth(1)
            .expect("kB")
            .parse()
            .expect("a number");
        kib * 1024
    }

    /// Requests `path` over HTTP/1.1 and returns status and body.
    pub fn http(&self, path: &str) -> (u16, String) {
        self.http_with(path, "")
    }

    pub fn http_with(&self, path: &str, headers: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: nuwave\r\nconnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let code = head
            .split(' ')
            .nth(1)
            .expect("a code")
            .parse()
            .expect("a number");
        (code, body.to_owned())
    }

    /// Returns the value of a metric, named with its labels.
    pub fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.http("/metrics");
        let line = text.lines().find(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(' '))
        });
        line.and_then(|it| it.rsplit(' ').next()?.parse().ok())
            .unwrap_or_else(|| panic!("no metric {name} in\n{text}"))
    }

    /// Waits until no request is active and no memory is reserved.
    pub fn wait_until_idle(&self) {
        let until = Instant::now() + Duration::from_secs(30);
        loop {
            let (bytes, calls) = (
                self.metric("nuwave_memory_used_bytes"),
                self.metric("nuwave_requests_active"),
            );
            if bytes == 0.0 && calls == 0.0 {
                return;
            }
            assert!(
                Instant::now() < until,
                "{bytes} bytes are reserved, {calls} requests are active"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([signal, &self.pid().to_string()])
            .status()
            .expect("kill");
        assert!(status.success());
    }

    /// Waits until the process has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return status;
            }
            assert!(Instant::now() < until, "the service does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address))
            .expect("an address")
            .connect()
            .await
            .expect("a connection")
    }

    pub async fn flight(&self) -> FlightServiceClient<Channel> {
        FlightServiceClient::new(self.channel().await).max_decoding_message_size(usize::MAX)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        assert!(
            !self.stderr().contains("panicked"),
            "the service panicked: {}",
            self.stderr()
        );
    }
}

/// Reads an Arrow file of waveforms in batches of at most `rows`.
pub fn batches(path: &Path, rows: usize) -> Vec<RecordBatch> {
    let file = std::fs::File::open(path).expect("a file");
    let reader = arrow_ipc::reader::FileReader::try_new(file, None).expect("an Arrow file");
    let mut parts = Vec::new();
    for batch in reader {
        let batch = batch.expect("a batch");
        for begin in (0..batch.num_rows()).step_by(rows) {
            parts.push(batch.slice(begin, rows.min(batch.num_rows() - begin)));
        }
    }
    parts
}

/// Encodes `command` and `batches` as Flight messages.
pub async fn messages(command: &str, batches: Vec<RecordBatch>) -> Vec<FlightData> {
    FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(FlightDescriptor::new_cmd(command.to_owned())))
        .with_max_flight_data_size(1 << 30)
        .build(futures::stream::iter(batches.into_iter().map(Ok)))
        .try_collect()
        .await
        .expect("messages")
}

/// Returns the responses to `messages`, or the status that ended them.
pub async fn exchange(
    mut client: FlightServiceClient<Channel>,
    messages: Vec<FlightData>,
) -> Result<Vec<RecordBatch>, Status> {
    let answers = client.do_exchange(futures::stream::iter(messages)).await?;
    let answers = answers.into_inner().map_err(FlightError::from);
    FlightRecordBatchStream::new_from_flight_data(answers.boxed())
        .try_collect()
        .await
        .map_err(|error| match error {
            FlightError::Tonic(status) => *status,
            other => panic!("an answer that cannot be decoded: {other}"),
        })
}

/// Returns the columns of several batches as the bits of their values.
pub fn bits(batches: &[RecordBatch], skip: usize) -> Vec<Vec<String>> {
    use arrow_array::cast::AsArray as _;
    use arrow_array::types::{Float32Type, Float64Type, UInt32Type, UInt64Type};
    use arrow_schema::DataType;
    let mut columns: Vec<Vec<String>> = Vec::new();
    for batch in batches {
        for (place, column) in batch.columns().iter().skip(skip).enumerate() {
            if columns.len() <= place {
                columns.push(Vec::new());
            }
            let values: Vec<String> = match column.data_type() {
                DataType::UInt64 => {
                    let values = column.as_primitive::<UInt64Type>().iter();
                    values.map(|it| format!("{it:?}")).collect()
                }
                DataType::UInt32 => {
                    let values = column.as_primitive::<UInt32Type>().iter();
                    values.map(|it| format!("{it:?}")).collect()
                }
                DataType::Float32 => {
                    let values = column.as_primitive::<Float32Type>().iter();
                    values
                        .map(|it| format!("{:?}", it.map(f32::to_bits)))
                        .collect()
                }
                DataType::Float64 => {
                    let values = column.as_primitive::<Float64Type>().iter();
                    values
                        .map(|it| format!("{:?}", it.map(f64::to_bits)))
                        .collect()
                }
                other => panic!("a column of {other}"),
            };
            columns[place].extend(values);
        }
    }
    columns
}

/// Returns a table of `nuwave reconstruct` as the bits of its values, without `input_id`.
pub fn table(folder: &Path, name: &str) -> Vec<Vec<String>> {
    let mut parts: Vec<_> = std::fs::read_dir(folder.join(name))
        .expect("a table")
        .map(|it| it.expect("a part").path())
        .collect();
    parts.sort();
    let mut batches = Vec::new();
    for part in parts {
        let file = std::fs::File::open(part).expect("a part");
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file)
            .expect("Parquet")
            .build()
            .expect("Parquet");
        batches.extend(reader.map(|it| it.expect("rows")));
    }
    bits(&batches, 1)
}

/// Simulates a file of waveforms of `channels` channels and `events` events.
pub fn simulate(path: &Path, channels: usize, events: usize) {
    let (channels, events) = (channels.to_string(), events.to_string());
    let output = nuwave(&[
        "simulate",
        "waveforms",
        "--detector",
        "juno",
        "--channels",
        &channels,
        "--events",
        &events,
        "--mean-pe",
        "1.5",
        "--seed",
        "8",
        "--quiet",
        "-o",
        path.to_str().expect("text"),
    ]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Reconstructs the file `input` into `out`, with further arguments.
pub fn pass(input: &Path, out: &Path, more: &[&str]) {
    let (input, out) = (input.to_str().expect("text"), out.to_str().expect("text"));
    let output = nuwave(&[&["reconstruct", input, "-o", out, "--quiet"], more].concat());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Creates a request of the model `waveform` with `n` random waveforms.
pub fn request(id: &str, n: usize, seed: u64) -> InferRequest {
    let mut state = seed;
    let mut next = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as u32
    };
    let samples: Vec<u8> = (0..n * SAMPLES)
        .flat_map(|_| (4784 + (next() % 16) as u16).to_le_bytes())
        .collect();
    let channels: Vec<u8> = (0..n as u32).flat_map(u32::to_le_bytes).collect();
    let events = vec![0; 8 * n];
    let input = |name: &str, datatype: &str, shape: &[usize]| InputTensor {
        name: name.to_owned(),
        datatype: datatype.to_owned(),
        shape: shape
            .iter()
            .map(|&it| i64::try_from(it).expect("it is small"))
            .collect(),
        parameter: None,
        contents: None,
    };
    InferRequest {
        model_name: "waveform".to_owned(),
        id: id.to_owned(),
        inputs: vec![
            input("samples", "UINT16", &[n, SAMPLES]),
            input("channel_id", "UINT32", &[n]),
            input("event_id", "UINT64", &[n]),
        ],
        raw_input_contents: vec![samples.into(), channels.into(), events.into()],
        ..InferRequest::default()
    }
}

/// Sends a `ModelInfer` request.
pub async fn infer(channel: &Channel, request: InferRequest) -> Result<InferResponse, Status> {
    infer_with(channel, tonic::Request::new(request)).await
}

pub async fn infer_with(
    channel: &Channel,
    request: tonic::Request<InferRequest>,
) -> Result<InferResponse, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone())
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX);
    client
        .ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let path = http::uri::PathAndQuery::from_static("/inference.GRPCInferenceService/ModelInfer");
    client
        .unary(
            request,
            path,
            ProstCodec::<InferRequest, InferResponse>::default(),
        )
        .await
        .map(tonic::Response::into_inner)
}

/// Sends `body` to `path` as a gRPC request and returns the status.
pub async fn call<B>(server: &Server, path: &str, body: B) -> Status
where
    B: http_body::Body<Data = Bytes, Error = std::convert::Infallible> + Send + Unpin + 'static,
{
    let stream = tokio::net::TcpStream::connect(&server.address)
        .await
        .expect("a connection");
    let (mut sender, connection) = hyper::client::conn::http2::handshake(
        hyper_util::rt::TokioExecutor::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .expect("HTTP/2");
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://{}{path}", server.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body)
        .expect("a request");
    let answer = sender.send_request(request).await.expect("an answer");
    let headers = answer.headers().clone();
    if let Some(status) = Status::from_header_map(&headers) {
        return status;
    }
    let body = http_body_util::BodyExt::collect(answer.into_body())
        .await
        .expect("a body");
    let trailers = body.trailers().cloned().expect("a status");
    Status::from_header_map(&trailers).expect("a status")
}

/// Returns the limit that a rejected request exceeds. No message names an option of the command line.
pub fn exceeded(status: &Status) -> &str {
    assert!(!status.message().contains("--"), "{status}");
    let limit = status.metadata().get("nuwave-limit").expect("a limit");
    limit.to_str().expect("text")
}

/// Returns a message with the header of gRPC, which declares `length`.
pub fn framed(length: u32, content: &[u8]) -> Bytes {
    let mut bytes = vec![0];
    bytes.extend(length.to_be_bytes());
    bytes.extend(content);
    bytes.into()
}

/// Checks that `server` answers a request, and then has nothing reserved.
pub async fn is_well(server: &Server) {
    let answer = infer(&server.channel().await, request("well", 5, 3))
        .await
        .expect("it is well");
    assert_eq!(
        (answer.id.as_str(), answer.outputs[0].shape[0]),
        ("well", 6)
    );
    server.wait_until_idle();
}
