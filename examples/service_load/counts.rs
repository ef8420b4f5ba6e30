//! Counters and latencies of a run.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tonic::{Code, Status};

use crate::messages::Message;

#[derive(Default)]
pub struct Counts {
    answered: AtomicU64,
    waveforms: AtomicU64,
    bytes: AtomicU64,
    rejected: AtomicU64,
    pub failed: AtomicU64,
    pub different: AtomicU64,
    /// Seconds from the scheduled time of a message to its response, and from a request to its rejection.
    latencies: Mutex<(Vec<f64>, Vec<f64>)>,
    first_error: Mutex<Option<String>>,
}

impl Counts {
    pub fn note(&self, message: &Message, due: Instant, same: bool) {
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

    pub fn note_error(&self, status: &Status, begun: Instant) {
        if matches!(status.code(), Code::ResourceExhausted | Code::Unavailable) {
            self.rejected.fetch_add(1, Ordering::Relaxed);
            let seconds = begun.elapsed().as_secs_f64();
            self.latencies.lock().expect("no panic").1.push(seconds);
        } else {
            self.failed.fetch_add(1, Ordering::Relaxed);
            let mut first = self.first_error.lock().expect("no panic");
            first.get_or_insert_with(|| status.to_string());
        }
    }

    pub fn line(&self, seconds: f64, pid: Option<u32>) -> serde_json::Value {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut latencies = self.latencies.lock().expect("no panic");
        let (answered, rejected) = &mut *latencies;
        let mut line = serde_json::json!({
            "seconds": seconds,
            "answered": get(&self.answered),
            "rejected": get(&self.rejected),
            "failed": get(&self.failed),
            "different": get(&self.different),
            "waveforms_per_s": get(&self.waveforms) as f64 / seconds,
            "mb_per_s": get(&self.bytes) as f64 / seconds / 1e6,
            "latency_ms": quantiles(answered),
            "rejection_ms": quantiles(rejected),
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

/// Returns the median, the 99th percentile and the maximum in ms.
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
