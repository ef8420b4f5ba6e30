//! Malformed requests: they are rejected with the place of the error, and other clients are not affected.
#![cfg(unix)]

use crate::support::service::{
    Server, batches, bits, call, exceeded, exchange, framed, infer, is_well, messages, request,
    simulate,
};
use crate::support::snapshot;
use arrow_flight::FlightData;
use bytes::Bytes;
use futures::StreamExt as _;
use nuwave::service::kserve::messages::{
    InferRequest, InputTensor, Parameter, RequestedOutput, TensorContents, Value,
};
use tonic::Code;

/// A part of the message of the rejection, as a label; its code, and the change that makes a valid request invalid.
type Case = (&'static str, Code, fn(&mut InferRequest));

/// The encoded entry of a map of parameters with this key and no value.
fn entry(key: &str) -> Bytes {
    let length = u8::try_from(key.len()).expect("short");
    [&[0x0a, length], key.as_bytes()].concat().into()
}

const NAMES: [Case; 11] = [
    ("unknown model `x`", Code::NotFound, |it| {
        it.model_name = "x".into();
    }),
    ("has no version 2, only 1", Code::NotFound, |it| {
        it.model_version = "2".into();
    }),
    ("`samples` is missing", Code::InvalidArgument, |it| {
        it.inputs.remove(0);
        it.raw_input_contents.remove(0);
    }),
    ("is duplicated", Code::InvalidArgument, |it| {
        it.inputs[1].name = "samples".into();
    }),
    ("unknown input `sample`", Code::InvalidArgument, |it| {
        it.inputs[0].name = "sample".into();
    }),
    ("3 inputs but 2 raw contents", Code::InvalidArgument, |it| {
        it.raw_input_contents.pop();
    }),
    ("has no output `hits`", Code::InvalidArgument, |it| {
        let name = "hits".to_owned();
        it.outputs.push(RequestedOutput {
            name,
            parameter: None,
        });
    }),
    (
        "output `hit_time_ns`: parameter `shared_memory_region` is not supported",
        Code::InvalidArgument,
        |it| {
            it.outputs.push(RequestedOutput {
                name: "hit_time_ns".to_owned(),
                parameter: Some(entry("shared_memory_region")),
            });
        },
    ),
    (
        "input `samples`: parameter `shared_memory_region` is not supported",
        Code::InvalidArgument,
        |it| it.inputs[0].parameter = Some(entry("shared_memory_region")),
    ),
    (
        "unknown parameter `metod`; available: method, calibration",
        Code::InvalidArgument,
        |it| {
            let value = Some(Value::Text("sparse".to_owned()));
            it.parameters.insert("metod".into(), Parameter { value });
        },
    ),
    (
        "parameter `method` is not a string",
        Code::InvalidArgument,
        |it| {
            let value = Some(Value::Int64(3));
            it.parameters.insert("method".into(), Parameter { value });
        },
    ),
];

const SHAPES: [Case; 9] = [
    ("is invalid", Code::InvalidArgument, |it| {
        it.inputs[0].shape = vec![-1, 1000];
    }),
    ("is invalid", Code::InvalidArgument, |it| {
        it.inputs[0].shape = vec![1 << 62, 1 << 62];
    }),
    ("does not match 8000 bytes", Code::InvalidArgument, |it| {
        it.inputs[0].shape = vec![1 << 31, 1000];
    }),
    ("does not match 8000 bytes", Code::InvalidArgument, |it| {
        it.inputs[0].shape = vec![0, 1000];
    }),
    ("not [waveforms, samples]", Code::InvalidArgument, |it| {
        it.inputs[0].shape = vec![4000];
    }),
    ("not [waveforms, samples]", Code::InvalidArgument, |it| {
        it.inputs[0].shape = vec![2, 2, 1000];
    }),
    ("waveforms have 1 samples", Code::InvalidArgument, |it| {
        it.inputs[0].shape = vec![4000, 1];
    }),
    ("does not match 2 waveforms", Code::InvalidArgument, |it| {
        it.inputs[0].shape = vec![2, 2000];
    }),
    ("does not match 4 waveforms", Code::InvalidArgument, |it| {
        it.inputs[2].shape = vec![3];
        it.raw_input_contents[2] = Bytes::from_static(&[0; 24]);
    }),
];

const NUMBERS: [Case; 8] = [
    (
        "data type `FP16` is not supported",
        Code::InvalidArgument,
        |it| {
            it.inputs[0].datatype = "FP16".into();
        },
    ),
    (
        "data type `BYTES` is not supported",
        Code::InvalidArgument,
        |it| {
            it.inputs[1].datatype = "BYTES".into();
        },
    ),
    ("are not integers", Code::InvalidArgument, |it| {
        it.inputs[1].datatype = "FP32".into();
    }),
    (
        "value 3 is not a channel number",
        Code::InvalidArgument,
        |it| {
            it.inputs[1].datatype = "INT32".into();
            let numbers = [0, 1, 2, -1_i32].into_iter();
            it.raw_input_contents[1] = numbers.flat_map(i32::to_le_bytes).collect();
        },
    ),
    ("both raw and listed values", Code::InvalidArgument, |it| {
        it.inputs[1].contents = Some(TensorContents::default());
    }),
    ("it has no values", Code::InvalidArgument, |it| {
        it.raw_input_contents.clear();
    }),
    ("is not finite", Code::InvalidArgument, |it| {
        it.inputs.push(InputTensor {
            name: "start_ns".into(),
            datatype: "FP64".into(),
            shape: vec![4],
            parameter: None,
            contents: None,
        });
        let numbers = [0.0, 1.0, f64::NAN, 2.0].into_iter();
        let bytes = numbers.flat_map(f64::to_le_bytes).collect();
        it.raw_input_contents.push(bytes);
    }),
    // Nanoseconds since 1970, in which 64-bit floats have steps of 256 ns.
    (
        "subtract the start of the run",
        Code::InvalidArgument,
        |it| {
            it.inputs.push(InputTensor {
                name: "start_ns".into(),
                datatype: "INT64".into(),
                shape: vec![4],
                parameter: None,
                contents: None,
            });
            let bytes = 1_764_000_000_000_000_000_i64.to_le_bytes().repeat(4);
            it.raw_input_contents.push(bytes.into());
        },
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_rejected_with_the_place_of_the_error() {
    let server = Server::start(&[]);
    let channel = server.channel().await;
    for (part, code, change) in NAMES.into_iter().chain(SHAPES).chain(NUMBERS) {
        let mut wrong = request("a", 4, 1);
        change(&mut wrong);
        let refused = infer(&channel, wrong).await.expect_err(part);
        assert_eq!(refused.code(), code, "{part}: {refused}");
        snapshot::assert_next(&format!("{:?}: {}", refused.code(), refused.message()));
    }
    is_well(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listed_values_and_other_data_types_are_accepted() {
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
    listed.inputs[0].contents = Some(TensorContents {
        uint: numbers(&raw.raw_input_contents[0]),
        ..TensorContents::default()
    });
    listed.inputs[1].contents = Some(TensorContents {
        uint: vec![0, 1, 2, 3],
        ..TensorContents::default()
    });
    listed.inputs[2].contents = Some(TensorContents {
        uint64: vec![0; 4],
        ..TensorContents::default()
    });
    listed.raw_input_contents.clear();
    let expected = infer(&channel, raw.clone()).await.expect("raw");
    assert_eq!(infer(&channel, listed).await.expect("listed"), expected);
    // Counts of other sizes are extracted as floating-point numbers of the same digitizer.
    let mut wide = raw;
    wide.inputs[0].datatype = "INT32".into();
    let samples = numbers(&wide.raw_input_contents[0]);
    wide.raw_input_contents[0] = samples.iter().flat_map(|it| it.to_le_bytes()).collect();
    let answer = infer(&channel, wide).await.expect("wide");
    assert_eq!(answer.raw_output_contents, expected.raw_output_contents);
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_streams_are_rejected_after_the_responses_to_earlier_messages() {
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
        snapshot::assert_next(&format!("{:?}: {}", refused.code(), refused.message()));
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
        "a body but no header",
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
    // The responses to the first messages precede the rejection of the third.
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
        "schema, two responses, a rejection"
    );
    // Messages of one waveform with empty messages between them give the same result.
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
async fn no_request_bypasses_the_limits() {
    let server = Server::start(&["--idle-timeout", "1s"]);
    let whole = |bytes: Bytes| http_body_util::Full::new(bytes);
    // A longer path does not reach the method.
    let service = "/inference.GRPCInferenceService";
    let status = call(
        &server,
        &format!("{service}/x/ModelInfer"),
        whole(framed(0, &[])),
    )
    .await;
    assert_eq!(status.code(), Code::Unimplemented, "{status}");
    // Requests without tensors are small.
    let large = vec![0; 1 << 20];
    let large = framed(1 << 20, &large);
    let status = call(&server, &format!("{service}/ServerLive"), whole(large)).await;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    // A request that says that it is 8 MiB long and stops.
    let started = framed(8 << 20, &[0; 100]);
    let frames = futures::stream::once(async move { Ok(http_body::Frame::data(started)) });
    let endless = Box::pin(frames.chain(futures::stream::pending()));
    let path = format!("{service}/ModelInfer");
    let status = call(&server, &path, http_body_util::StreamBody::new(endless)).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert_eq!(exceeded(&status), "idle_timeout_ms=1000", "{status}");
    // A damaged message is an error of the client, not of the service.
    let status = call(&server, &path, whole(framed(3, &[0xff; 3]))).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    // A million tensors of two bytes on the wire and two hundred in memory.
    let many = framed(2_000_000, &[0x2a, 0x00].repeat(1_000_000));
    let status = call(&server, &path, whole(many)).await;
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(
        status.message().contains("more than 256 fields"),
        "{status}"
    );
    // A name as long as a message is truncated in the rejection.
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
async fn waveforms_of_another_digitizer_are_rejected() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.arrow");
    simulate(&file, 4, 2);
    for (arguments, part) in [
        (
            ["--adc-bits", "12"],
            "resolution of the waveforms is 14 bits, this service is configured for 12 bits",
        ),
        (
            ["--polarity", "positive"],
            "polarity of the waveforms is negative, this service is configured for positive",
        ),
    ] {
        let server = Server::start(&arguments);
        let sent = messages("{}", batches(&file, 8)).await;
        let refused = exchange(server.flight().await, sent).await.expect_err(part);
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
        snapshot::assert_next(&format!("{:?}: {}", refused.code(), refused.message()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_waveforms_has_no_hits() {
    let server = Server::start(&[]);
    let mut none = request("none", 0, 1);
    none.inputs[0].shape = vec![0, 1000];
    let answer = infer(&server.channel().await, none)
        .await
        .expect("nothing is wrong");
    assert_eq!(answer.outputs[0].shape, [1], "offsets begin with 0");
    assert_eq!(answer.outputs[3].shape, [0]);
    is_well(&server).await;
}
