//! Clients that ask for too much, stall, or disconnect: they get the reason, the others are served, and no resources leak.
#![cfg(unix)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::service::{
    SAMPLES, Server, batches, call, exceeded, exchange, framed, infer, infer_with, is_well,
    messages, request, simulate,
};
use arrow_flight::FlightData;
use arrow_flight::flight_service_client::FlightServiceClient;
use bytes::Bytes;
use futures::StreamExt as _;
use tonic::transport::Channel;
use tonic::{Code, Status};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_above_the_limit_is_rejected_with_the_limit_named() {
    let server = Server::start(&["--message-mib", "1"]);
    let channel = server.channel().await;
    // 2012 bytes per waveform, and some for the names.
    let rows = (1 << 20) / (2 * SAMPLES + 12) - 1;
    assert!(
        infer(&channel, request("a", rows, 1)).await.is_ok(),
        "just below the limit"
    );
    let refused = infer(&channel, request("a", rows + 2, 1))
        .await
        .expect_err("above it");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert_eq!(exceeded(&refused), "message_bytes=1048576", "{refused}");
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

/// Opens a stream, which reserves the memory of two messages until it is dropped.
async fn open(channel: Channel) -> Result<impl std::fmt::Debug, Status> {
    // The stream ends when the other half is dropped.
    let (keep, end) = tokio::sync::oneshot::channel::<()>();
    let waits = futures::stream::once(async {
        let _ = end.await;
        FlightData::new()
    });
    let answers = FlightServiceClient::new(channel).do_exchange(waits).await?;
    Ok((answers, keep))
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_above_the_memory_limit_are_rejected_and_accepted_later() {
    let limits = [
        "--message-mib",
        "1",
        "--memory-mib",
        "5",
        "--client-mib",
        "4",
    ];
    let server = Server::start(&limits);
    let shared = server.channel().await;
    let first = open(shared.clone()).await.expect("2 MiB of 4");
    let second = open(shared.clone()).await.expect("4 MiB of 4");
    let refused = open(shared.clone())
        .await
        .expect_err("this client has 4 MiB");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(
        exceeded(&refused),
        "client_memory_bytes=4194304",
        "{refused}"
    );
    let refused = infer(&shared, request("a", 100, 1))
        .await
        .expect_err("as much for calls");
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    let other = server.channel().await;
    let refused = open(other.clone()).await.expect_err("1 MiB of 5 is left");
    assert_eq!(exceeded(&refused), "memory_bytes=5242880", "{refused}");
    assert!(
        infer(&other, request("a", 100, 1)).await.is_ok(),
        "0.2 MB fit"
    );
    drop((first, second));
    server.wait_until_idle();
    assert!(open(other).await.is_ok(), "there is room again");
    is_well(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_request_has_sent_little() {
    let server = Server::start(&["--message-mib", "1", "--memory-mib", "2"]);
    let _all = open(server.channel().await).await.expect("2 MiB of 2");
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let pieces = std::iter::once(framed(1_000_000, &[]))
        .chain(std::iter::repeat_n(Bytes::from(vec![0; 1000]), 1000))
        .map(move |it| {
            counted.fetch_add(it.len(), Ordering::Relaxed);
            Ok::<_, std::convert::Infallible>(http_body::Frame::data(it))
        });
    let body = http_body_util::StreamBody::new(futures::stream::iter(pieces));
    let path = "/inference.GRPCInferenceService/ModelInfer";
    let refused = call(&server, path, body).await;
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    // The window, the rest of the chunk that filled it, and a waiting chunk.
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent <= (128 << 10) + 2000, "{sent} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tiny_messages_are_answered_without_memory_growth() {
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
async fn clients_that_never_read_time_out_while_others_are_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.arrow");
    simulate(&file, 64, 4);
    let server = Server::start(&["--idle-timeout", "2s", "--message-mib", "4"]);
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
    // After two seconds without a read the requests end; their connections stay open.
    let until = Instant::now() + Duration::from_secs(60);
    let mut n_served = 0;
    while server.metric("nuwave_requests_active") > 0.0 {
        assert!(Instant::now() < until, "they do not time out");
        infer(&channel, request("a", 100, n_served))
            .await
            .expect("served all the same");
        n_served += 1;
    }
    assert!(n_served > 0, "they were gone before the first request");
    server.wait_until_idle();
    assert!(server.metric("nuwave_rejections_total{reason=\"idle\"}") >= 8.0);
    drop(stuck);
    is_well(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incomplete_message_times_out() {
    let server = Server::start(&["--idle-timeout", "1s"]);
    // The start of a message of 100 bytes, one byte at a time.
    let bytes = futures::stream::unfold(0_usize, |at| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let byte = if at == 4 { 100 } else { 0 };
        let frame = http_body::Frame::data(Bytes::copy_from_slice(&[byte]));
        Some((Ok::<_, std::convert::Infallible>(frame), at + 1))
    });
    let path = "/arrow.flight.protocol.FlightService/DoExchange";
    let body = http_body_util::StreamBody::new(Box::pin(bytes.take(60)));
    let status = call(&server, path, body).await;
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
    assert_eq!(exceeded(&status), "idle_timeout_ms=1000", "{status}");
    is_well(&server).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_and_disconnected_clients_release_everything() {
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

#[tokio::test(flavor = "multi_thread")]
async fn a_small_message_that_unpacks_to_a_large_one_is_rejected() {
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
