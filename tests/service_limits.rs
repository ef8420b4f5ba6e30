//! Clients that ask for too much, send nonsense, or go away: they are told why, the others are served, nothing is left behind.
#![cfg(unix)]

mod service_support;

use std::time::Duration;

use arrow_flight::FlightData;
use bytes::Bytes;
use futures::StreamExt as _;
use nuwave::service::kserve::messages::{
    Contents, InferRequest, InputTensor, Parameter, Value, WantedTensor,
};
use service_support::{
    SAMPLES, Server, batches, bits, exchange, infer, infer_with, messages, request, simulate,
};
use tonic::{Code, Status};

/// Checks that `server` answers as if nothing had been, and that nothing is in work.
async fn is_well(server: &Server) {
    let answer = infer(&server.channel().await, request("well", 5, 3))
        .await
        .expect("it is well");
    assert_eq!(
        (answer.id.as_str(), answer.outputs[0].shape[0]),
        ("well", 6)
    );
    server.wait_until_idle();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_beyond_the_limit_is_refused_with_the_limit_named() {
    let server = Server::start(&["--message-mib", "1"]);
    let channel = server.channel().await;
    // 2012 bytes a waveform, and some for the names.
    let rows = (1 << 20) / (2 * SAMPLES + 12) - 1;
    assert!(
        infer(&channel, request("a", rows, 1)).await.is_ok(),
        "just below the limit"
    );
    let refused = infer(&channel, request("a", rows + 2, 1))
        .await
        .expect_err("above it");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(
        refused
            .message()
            .contains("1048576 bytes (`--message-mib`)"),
        "{refused}"
    );
    let mut large = messages("{}", Vec::new()).await;
    large.push(
        FlightData::new()
            .with_data_header("x")
            .with_data_body(vec![0; (1 << 20) + 1]),
    );
    let refused = exchange(server.flight().await, large)
        .await
        .expect_err("above it");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    is_well(&server).await;
    assert!(server.metric("nuwave_rejections_total{reason=\"message_size\"}") >= 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_when_the_memory_is_taken_is_refused_and_served_later() {
    let limits = [
        "--message-mib",
        "1",
        "--memory-mib",
        "5",
        "--client-mib",
        "4",
    ];
    let server = Server::start(&limits);
    // A stream takes two messages' worth from its begin to its end.
    let open = async |channel| {
        let mut client = arrow_flight::flight_service_client::FlightServiceClient::new(channel);
        // It ends when the other half is dropped.
        let (keep, end) = tokio::sync::oneshot::channel::<()>();
        let waits = futures::stream::once(async {
            let _ = end.await;
            FlightData::new()
        });
        let answers = client.do_exchange(waits).await?;
        Ok::<_, Status>((answers, keep))
    };
    let shared = server.channel().await;
    let first = open(shared.clone()).await.expect("2 MiB of 4");
    let second = open(shared.clone()).await.expect("4 MiB of 4");
    let refused = open(shared.clone())
        .await
        .expect_err("this client has 4 MiB");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("`--client-mib`"), "{refused}");
    let refused = infer(&shared, request("a", 100, 1))
        .await
        .expect_err("as much for calls");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    let other = server.channel().await;
    let refused = open(other.clone()).await.expect_err("1 MiB of 5 is left");
    assert!(refused.message().contains("`--memory-mib`"), "{refused}");
    assert!(
        infer(&other, request("a", 100, 1)).await.is_ok(),
        "0.2 MB fit"
    );
    drop((first, second));
    server.wait_until_idle();
    assert!(open(other).await.is_ok(), "there is room again");
    is_well(&server).await;
}

/// What a refusal has to say, its code, and what is done to a good request.
type Case = (&'static str, Code, fn(&mut InferRequest));

const NAMES: [Case; 8] = [
    ("no model `x`", Code::NotFound, |it| {
        it.model_name = "x".into();
    }),
    ("version 1 only", Code::NotFound, |it| {
        it.model_version = "2".into();
    }),
    ("`samples` is missing", Code::InvalidArgument, |it| {
        it.inputs.remove(0);
        it.raw_input_contents.remove(0);
    }),
    ("is there twice", Code::InvalidArgument, |it| {
        it.inputs[1].name = "samples".into();
    }),
    ("there is no input `sample`", Code::InvalidArgument, |it| {
        it.inputs[0].name = "sample".into();
    }),
    (
        "3 inputs with 2 raw contents",
        Code::InvalidArgument,
        |it| {
            it.raw_input_contents.pop();
        },
    ),
    ("makes no output `hits`", Code::InvalidArgument, |it| {
        let name = "hits".to_owned();
        it.outputs.push(WantedTensor { name });
    }),
    (
        "parameter `method` is no text",
        Code::InvalidArgument,
        |it| {
            let value = Some(Value::Int64(3));
            it.parameters.insert("method".into(), Parameter { value });
        },
    ),
];

const SHAPES: [Case; 9] = [
    ("cannot be", Code::InvalidArgument, |it| {
        it.inputs[0].shape = vec![-1, 1000];
    }),
    ("cannot be", Code::InvalidArgument, |it| {
        it.inputs[0].shape = vec![1 << 62, 1 << 62];
    }),
    ("does not go with 8000 bytes", Code::InvalidArgument, |it| {
        it.inputs[0].shape = vec![1 << 31, 1000];
    }),
    ("does not go with 8000 bytes", Code::InvalidArgument, |it| {
        it.inputs[0].shape = vec![0, 1000];
    }),
    ("not [waveforms, samples]", Code::InvalidArgument, |it| {
        it.inputs[0].shape = vec![4000];
    }),
    ("not [waveforms, samples]", Code::InvalidArgument, |it| {
        it.inputs[0].shape = vec![2, 2, 1000];
    }),
    ("waveforms of 1 samples", Code::InvalidArgument, |it| {
        it.inputs[0].shape = vec![4000, 1];
    }),
    (
        "does not go with 2 waveforms",
        Code::InvalidArgument,
        |it| {
            it.inputs[0].shape = vec![2, 2000];
        },
    ),
    (
        "does not go with 4 waveforms",
        Code::InvalidArgument,
        |it| {
            it.inputs[2].shape = vec![3];
            it.raw_input_contents[2] = Bytes::from_static(&[0; 24]);
        },
    ),
];

const NUMBERS: [Case; 7] = [
    ("numbers of type `FP16`", Code::InvalidArgument, |it| {
        it.inputs[0].datatype = "FP16".into();
    }),
    ("numbers of type `BYTES`", Code::InvalidArgument, |it| {
        it.inputs[1].datatype = "BYTES".into();
    }),
    ("no integers", Code::InvalidArgument, |it| {
        it.inputs[1].datatype = "FP32".into();
    }),
    ("number 3 is no channel", Code::InvalidArgument, |it| {
        it.inputs[1].datatype = "INT32".into();
        let numbers = [0, 1, 2, -1_i32].into_iter();
        it.raw_input_contents[1] = numbers.flat_map(i32::to_le_bytes).collect();
    }),
    (
        "it has raw and listed numbers",
        Code::InvalidArgument,
        |it| {
            it.inputs[1].contents = Some(Contents::default());
        },
    ),
    ("it has no numbers", Code::InvalidArgument, |it| {
        it.raw_input_contents.clear();
    }),
    ("no finite time", Code::InvalidArgument, |it| {
        it.inputs.push(InputTensor {
            name: "start_ns".into(),
            datatype: "FP64".into(),
            shape: vec![4],
            contents: None,
        });
        let numbers = [0.0, 1.0, f64::NAN, 2.0].into_iter();
        let bytes = numbers.flat_map(f64::to_le_bytes).collect();
        it.raw_input_contents.push(bytes);
    }),
];

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_with_the_place_of_it() {
    let server = Server::start(&[]);
    let channel = server.channel().await;
    for (part, code, change) in NAMES.into_iter().chain(SHAPES).chain(NUMBERS) {
        let mut wrong = request("a", 4, 1);
        change(&mut wrong);
        let refused = infer(&channel, wrong).await.expect_err(part);
        assert_eq!(refused.code(), code, "{part}: {refused}");
        assert!(refused.message().contains(part), "{part}: {refused}");
    }
    is_well(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_numbers_and_other_types_are_taken_as_well() {
    let server = Server::start(&[]);
    let channel = server.channel().await;
    let raw = request("a", 4, 9);
    let numbers = |bytes: &Bytes| -> Vec<u32> {
        let (pairs, _) = bytes.as_chunks::<2>();
        pairs
            .iter()
            .map(|it| u32::from(u16::from_le_bytes(*it)))
            .collect()
    };
    let mut listed = raw.clone();
    listed.inputs[0].contents = Some(Contents {
        uint: numbers(&raw.raw_input_contents[0]),
        ..Contents::default()
    });
    listed.inputs[1].contents = Some(Contents {
        uint: vec![0, 1, 2, 3],
        ..Contents::default()
    });
    listed.inputs[2].contents = Some(Contents {
        uint64: vec![0; 4],
        ..Contents::default()
    });
    listed.raw_input_contents.clear();
    let expected = infer(&channel, raw.clone()).await.expect("raw");
    assert_eq!(infer(&channel, listed).await.expect("listed"), expected);
    // Counts that are not 16-bit ones are extracted as floats, with the same digitiser.
    let mut wide = raw;
    wide.inputs[0].datatype = "INT32".into();
    let samples = numbers(&wide.raw_input_contents[0]);
    wide.raw_input_contents[0] = samples.iter().flat_map(|it| it.to_le_bytes()).collect();
    let answer = infer(&channel, wide).await.expect("wide");
    assert_eq!(answer.raw_output_contents, expected.raw_output_contents);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_streams_are_refused_and_what_came_before_is_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.arrow");
    simulate(&file, 8, 4);
    let server = Server::start(&[]);
    let good = messages("{}", batches(&file, 8)).await;
    let whole = exchange(server.flight().await, good.clone())
        .await
        .expect("nothing is wrong");
    let refuses = async |sent: Vec<FlightData>, part: &str| {
        let refused = exchange(server.flight().await, sent).await.expect_err(part);
        assert_eq!(refused.code(), Code::InvalidArgument, "{part}: {refused}");
        assert!(refused.message().contains(part), "{part}: {refused}");
    };
    let change = |place: usize, change: fn(&mut FlightData)| {
        let mut sent = good.clone();
        change(&mut sent[place]);
        sent
    };
    refuses(
        change(0, |it| it.data_header = Bytes::from_static(b"nonsense")),
        "cannot be understood",
    )
    .await;
    refuses(good[1..].to_vec(), "is no schema").await;
    refuses(
        change(2, |it| it.data_header = Bytes::new()),
        "a body and no header",
    )
    .await;
    refuses(
        change(2, |it| it.data_header = Bytes::from_static(&[0xff; 64])),
        "begins with row 8",
    )
    .await;
    refuses(
        change(2, |it| it.data_body = it.data_body.slice(..100)),
        "announces a body",
    )
    .await;
    let schema = good[0].clone();
    refuses(vec![schema.clone(), schema.clone()], "no record batch").await;
    // Answers to the first messages come before the refusal of the third.
    let mut sent = good.clone();
    sent[3].data_header = Bytes::from_static(b"nonsense");
    let mut client = server.flight().await;
    let answers = client
        .do_exchange(futures::stream::iter(sent))
        .await
        .expect("it begins");
    let answers: Vec<_> = answers.into_inner().collect().await;
    let good_ones = answers.iter().take_while(|it| it.is_ok()).count();
    assert_eq!(
        (good_ones, answers.len()),
        (3, 4),
        "schema, two answers, a refusal"
    );
    // Messages of one waveform, and empty ones between them, change nothing.
    let mut tiny = Vec::new();
    for message in messages("{}", batches(&file, 1)).await {
        tiny.push(message);
        tiny.push(FlightData::new());
    }
    let found = exchange(server.flight().await, tiny)
        .await
        .expect("they are small");
    assert_eq!(bits(&found, 0), bits(&whole, 0));
    is_well(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tiny_messages_are_answered_and_take_no_memory() {
    let server = Server::start(&[]);
    let channel = server.channel().await;
    infer(&channel, request("warm", 1000, 1))
        .await
        .expect("an answer");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.arrow");
    simulate(&file, 1, 1);
    let one = messages("{}", batches(&file, 1)).await;
    let count = 20_000;
    let (schema, message) = (one[0].clone(), one[1].clone());
    let before = server.resident();
    let sent =
        futures::stream::iter(std::iter::once(schema).chain(std::iter::repeat_n(message, count)));
    let mut client = server.flight().await;
    let answers = client
        .do_exchange(sent)
        .await
        .expect("it begins")
        .into_inner();
    let answers = answers
        .filter(|it| std::future::ready(it.is_ok()))
        .count()
        .await;
    assert_eq!(answers, count + 1);
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    is_well(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_never_read_are_let_go_and_others_served_meanwhile() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.arrow");
    simulate(&file, 64, 4);
    let server = Server::start(&["--idle", "2", "--message-mib", "4"]);
    let mut stuck = Vec::new();
    for _ in 0..8 {
        let sent = messages("{\"output\": \"waveforms\"}", batches(&file, 64)).await;
        let (schema, rest) = sent.split_first().expect("a schema");
        let (schema, rest) = (schema.clone(), rest.to_vec());
        let endless = std::iter::once(schema).chain(rest.into_iter().cycle());
        let mut client = server.flight().await;
        let answers = client
            .do_exchange(futures::stream::iter(endless))
            .await
            .expect("it begins");
        stuck.push((client, answers));
    }
    let channel = server.channel().await;
    for number in 0..50 {
        infer(&channel, request("a", 100, number))
            .await
            .expect("served all the same");
    }
    assert!(
        server.metric("nuwave_requests_active") > 0.0,
        "they are still there"
    );
    // Nobody took them for two seconds: they are let go while their connections stay.
    server.wait_until_idle();
    assert!(server.metric("nuwave_rejections_total{reason=\"idle\"}") >= 8.0);
    drop(stuck);
    is_well(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_does_not_come_to_its_end_is_given_up() {
    let server = Server::start(&["--idle", "1"]);
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
    // A byte now and then: it begins a message of 100 bytes.
    let bytes = futures::stream::unfold(0_usize, |at| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let byte = if at == 4 { 100 } else { 0 };
        let frame = http_body::Frame::data(Bytes::copy_from_slice(&[byte]));
        Some((Ok::<_, std::convert::Infallible>(frame), at + 1))
    });
    let request = http::Request::post(format!(
        "http://{}/arrow.flight.protocol.FlightService/DoExchange",
        server.address
    ))
    .header("content-type", "application/grpc")
    .header("te", "trailers")
    .body(http_body_util::StreamBody::new(Box::pin(bytes.take(60))))
    .expect("a request");
    let answer = sender.send_request(request).await.expect("an answer");
    let body = http_body_util::BodyExt::collect(answer.into_body())
        .await
        .expect("a body");
    let trailers = body.trailers().cloned().expect("a status");
    let status = Status::from_header_map(&trailers).expect("a status");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!(status.message().contains("`--idle`"), "{status}");
    is_well(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_and_clients_that_go_leave_nothing_behind() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.arrow");
    simulate(&file, 64, 8);
    let server = Server::start(&[]);
    let mut call = tonic::Request::new(request("late", 7000, 1));
    call.set_timeout(Duration::from_millis(1));
    let late = infer_with(&server.channel().await, call)
        .await
        .expect_err("1 ms is too short");
    assert!(
        matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{late}"
    );
    for number in 0_u64..100 {
        let sent = messages("{}", batches(&file, 64)).await;
        let client = server.flight().await;
        let channel = server.channel().await;
        let gone = async {
            if number % 2 == 0 {
                let _ = exchange(client, sent).await;
            } else {
                let _ = infer(&channel, request("gone", 1000, number)).await;
            }
        };
        let after = Duration::from_micros(number * number % 97 * 150);
        let _ = tokio::time::timeout(after, gone).await;
    }
    is_well(&server).await;
    assert_eq!(
        server.metric("nuwave_rejections_total{reason=\"internal\"}"),
        0.0
    );
}

/// Sends `body` to `path` as a gRPC call, and gives the status that comes back.
async fn call<B>(server: &Server, path: &str, body: B) -> Status
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

/// A message in front of which stands its length.
fn framed(length: u32, content: &[u8]) -> Bytes {
    let mut bytes = vec![0];
    bytes.extend(length.to_be_bytes());
    bytes.extend(content);
    bytes.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_call_gets_round_the_limits() {
    let server = Server::start(&["--idle", "1"]);
    let whole = |bytes: Bytes| http_body_util::Full::new(bytes);
    // Another path to the same method does not lead there.
    let service = "/inference.GRPCInferenceService";
    let status = call(
        &server,
        &format!("{service}/x/ModelInfer"),
        whole(framed(0, &[])),
    )
    .await;
    assert_eq!(status.code(), Code::Unimplemented, "{status}");
    // What has no tensors is small.
    let large = vec![0; 1 << 20];
    let large = framed(1 << 20, &large);
    let status = call(&server, &format!("{service}/ServerLive"), whole(large)).await;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    // A request that says that it is 8 MiB long and stops.
    let begun = framed(8 << 20, &[0; 100]);
    let frames = futures::stream::once(async move { Ok(http_body::Frame::data(begun)) });
    let endless = Box::pin(frames.chain(futures::stream::pending()));
    let path = format!("{service}/ModelInfer");
    let status = call(&server, &path, http_body_util::StreamBody::new(endless)).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert!(status.message().contains("`--idle`"), "{status}");
    // Damage is the client's, not the service's.
    let status = call(&server, &path, whole(framed(3, &[0xff; 3]))).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    // Two bytes on the wire, two hundred in memory: a million of them.
    let many = framed(2_000_000, &[0x2a, 0x00].repeat(1_000_000));
    let status = call(&server, &path, whole(many)).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().contains("more than 256 parts"), "{status}");
    // A name as long as a message comes back short.
    let mut named = request("a", 2, 1);
    named.model_name = "x".repeat(1 << 20);
    let refused = infer(&server.channel().await, named)
        .await
        .expect_err("no such model");
    assert!(
        refused.code() == Code::NotFound && refused.message().len() < 2000,
        "{refused}"
    );
    is_well(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waveforms_of_another_digitiser_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.arrow");
    simulate(&file, 4, 2);
    for (arguments, part) in [
        (
            ["--adc-bits", "12"],
            "resolution is 14 bits, this service reads 12 bits",
        ),
        (
            ["--polarity", "positive"],
            "polarity is negative, this service reads positive",
        ),
    ] {
        let server = Server::start(&arguments);
        let sent = messages("{}", batches(&file, 8)).await;
        let refused = exchange(server.flight().await, sent).await.expect_err(part);
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        assert!(refused.message().contains(part), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_message_that_unpacks_to_much_is_refused() {
    use arrow_ipc::writer::IpcWriteOptions;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.arrow");
    simulate(&file, 64, 20);
    let server = Server::start(&["--message-mib", "1"]);
    let parts = batches(&file, 2000);
    let whole = arrow_select::concat::concat_batches(&parts[0].schema(), &parts).expect("they fit");
    let options = IpcWriteOptions::default()
        .try_with_compression(Some(arrow_ipc::CompressionType::ZSTD))
        .expect("it is known");
    let sent: Vec<FlightData> = arrow_flight::encode::FlightDataEncoderBuilder::new()
        .with_options(options)
        .with_max_flight_data_size(1 << 30)
        .build(futures::stream::iter([Ok(whole)]))
        .map(|it| it.expect("a message"))
        .collect()
        .await;
    let refused = exchange(server.flight().await, sent)
        .await
        .expect_err("2.5 MB");
    assert!(
        matches!(
            refused.code(),
            Code::InvalidArgument | Code::ResourceExhausted
        ),
        "{refused}"
    );
    is_well(&server).await;
}
