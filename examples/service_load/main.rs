//! Load test of `nuwave serve`: many clients, whose responses are compared with results that this program computes itself.
//!
//! ```text
//! nuwave simulate waveforms --detector juno --channels 500 --events 20 --mean-pe 0.5 -o load.arrow
//! nuwave serve -d juno &
//! cargo run --release --example service_load -- load.arrow --protocol flight --clients 8 --rate 90 --seconds 60
//! ```
//!
//! `--rate 0` sends as fast as responses arrive. Prints a line of JSON every `--every` seconds, and one for the whole run at the
//! end. The exit code is 1 if a response was lost or differs.

mod client;
mod counts;
mod messages;
mod misbehave;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use arrow_flight::FlightData;
use clap::Parser;

use client::{Client, connect};
use counts::Counts;
use messages::{Message, messages};
use misbehave::misbehave;

/// Load test of the service
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
    /// Number of clients, each with its own connection
    #[arg(long, default_value_t = 8)]
    clients: usize,
    /// MB of samples per second that all clients send together; 0: as fast as responses arrive
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// Duration of the test in seconds
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// Waveforms per message
    #[arg(long, default_value_t = 1000)]
    rows: usize,
    /// Messages per Flight stream
    #[arg(long, default_value_t = 1000)]
    messages: usize,
    /// Requests or messages that a client has in flight
    #[arg(long, default_value_t = 4)]
    depth: usize,
    /// Time before a rejected client tries again, in milliseconds
    #[arg(long, default_value_t = 50)]
    backoff: u64,
    /// Interval of the output in seconds
    #[arg(long, default_value_t = 10.0)]
    every: f64,
    /// Misbehave instead: never read, send one byte per second, disconnect or cancel at any moment
    #[arg(long)]
    misbehave: bool,
    /// Process identifier of the service, to report its memory
    #[arg(long)]
    pid: Option<u32>,
}

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let (schema, messages) = messages(&args)?;
    tokio::runtime::Runtime::new()?.block_on(run(args, schema, messages))
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
