//! Mutated messages over the network: each is answered, rejected with a reason, or ends its own stream; the service keeps running.
#![cfg(unix)]

use crate::support::service::{
    Server, batches, bits, exchange, infer, messages, request, simulate,
};
use arrow_flight::FlightData;
use bytes::{Buf as _, BufMut as _};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Request, Status};

/// The number of streams and of requests.
const STREAMS: u64 = 300;

fn mutate(bytes: &[u8], random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..random.random_range(1..4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..4) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes.truncate(at),
            2 => bytes.insert(at, random.random()),
            _ => {
                let numbers = [0_i64, -1, 1 << 31, i64::MAX, i64::MIN];
                let number = numbers[random.random_range(0..numbers.len())].to_le_bytes();
                let end = (at + 8).min(bytes.len());
                bytes[at..end].copy_from_slice(&number[..end - at]);
            }
        }
    }
    bytes
}

/// A codec that sends raw bytes and ignores responses.
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, bytes: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&bytes);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = ();
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<()>, Status> {
        from.advance(from.remaining());
        Ok(Some(()))
    }
}

fn is_a_reason(status: &Status) -> bool {
    let codes = [
        Code::InvalidArgument,
        Code::ResourceExhausted,
        Code::NotFound,
    ];
    codes.contains(&status.code()) && !status.message().is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn mutated_streams_are_answered_or_rejected() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a.arrow");
    simulate(&file, 8, 3);
    let server = Server::start(&[]);
    let good = messages("{\"output\": \"hits\"}", batches(&file, 8)).await;
    let expected = exchange(server.flight().await, good.clone()).await;
    let expected = bits(&expected.expect("nothing is wrong"), 0);
    let mut refused = 0;
    for seed in 0..STREAMS {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut sent: Vec<FlightData> = good.clone();
        let place = random.random_range(0..sent.len());
        match random.random_range(0..4) {
            0 => sent[place].data_body = mutate(&sent[place].data_body, &mut random).into(),
            1 => {
                if let Some(descriptor) = &mut sent[0].flight_descriptor {
                    descriptor.cmd = mutate(&descriptor.cmd, &mut random).into();
                }
            }
            _ => sent[place].data_header = mutate(&sent[place].data_header, &mut random).into(),
        }
        if let Err(status) = exchange(server.flight().await, sent).await {
            assert!(is_a_reason(&status), "stream {seed}: {status}");
            refused += 1;
        }
    }
    assert!(refused > STREAMS / 4, "{refused} refused");
    let again = exchange(server.flight().await, good)
        .await
        .expect("it goes on");
    assert_eq!(bits(&again, 0), expected);
    server.wait_until_idle();
}

#[tokio::test(flavor = "multi_thread")]
async fn mutated_requests_are_answered_or_rejected() {
    use prost::Message as _;
    let server = Server::start(&[]);
    let channel = server.channel().await;
    let good = request("a", 2, 1);
    let expected = infer(&channel, good.clone())
        .await
        .expect("nothing is wrong");
    let whole = good.encode_to_vec();
    let mut refused = 0;
    for seed in 0..STREAMS {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        // Mostly the descriptions of the tensors, which precede their values.
        let cut = if random.random_range(0..4) > 0 {
            120
        } else {
            whole.len()
        };
        let mutated = [&mutate(&whole[..cut], &mut random), &whole[cut..]].concat();
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.expect("a connection");
        let path = "/inference.GRPCInferenceService/ModelInfer";
        let path = http::uri::PathAndQuery::from_static(path);
        let answer = client.unary(Request::new(mutated), path, Raw).await;
        if let Err(status) = answer {
            assert!(is_a_reason(&status), "call {seed}: {status}");
            refused += 1;
        }
    }
    assert!(refused > STREAMS / 8, "{refused} refused");
    assert_eq!(infer(&channel, good).await.expect("it goes on"), expected);
    server.wait_until_idle();
}
