//! Misbehaving clients.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use arrow_flight::FlightData;
use arrow_flight::flight_service_client::FlightServiceClient;
use bytes::Bytes;

use crate::Args;
use crate::client::{Client, connect, connect_with};
use crate::counts::Counts;
use crate::messages::Message;

/// Runs misbehaving clients at the same time: eight never read, one sends one byte per second, and a thousand disconnect or time out
/// at arbitrary moments.
pub async fn misbehave(
    args: &Args,
    schema: &FlightData,
    messages: &Arc<Vec<Message>>,
    end: Instant,
) -> Result<()> {
    let mut stuck = Vec::new();
    for _ in 0..8 {
        let all: Vec<FlightData> = messages.iter().map(|it| it.flight.clone()).collect();
        let endless = std::iter::once(schema.clone()).chain(all.into_iter().cycle());
        // The default window of many clients: they stop after 64 KiB of unread responses.
        let channel = connect_with(&args.address, 1 << 16).await?;
        let mut client = FlightServiceClient::new(channel);
        let responses = client.do_exchange(futures::stream::iter(endless)).await?;
        stuck.push((client, responses));
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

/// Starts a message and sends one byte of it per second.
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
