//! The trait of backends, which extract a batch of waveforms on the CPU or on the GPU, and their report.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::extractor::Extractor;
use crate::error::Result;
use crate::model::{Batch, Extracted};

/// Something that turns a batch of waveforms into hits. The result depends on each waveform and its channel's
/// calibration alone, never on the batch it came in.
pub trait Backend: Send + Sync {
    /// `cpu` or `gpu`.
    fn name(&self) -> &'static str;

    /// Returns the CPU's extractor, which knows the calibration and the readout.
    fn cpu(&self) -> &Extractor;

    /// Extracts the hits of every waveform of `batch`.
    ///
    /// # Errors
    /// If the backend itself fails; bad waveforms are flagged, not errors.
    fn extract(&self, batch: &Batch) -> Result<Extracted>;

    /// Extracts a stream of batches and hands each on with its hits, in order, until `emit` says `false`. A backend that has several
    /// batches in flight takes some before it hands on the first; neither `batches` nor `emit` may call the backend meanwhile.
    ///
    /// # Errors
    /// As [`extract`](Self::extract), and those of `emit`.
    fn run(
        &self,
        batches: &mut dyn Iterator<Item = Batch>,
        emit: &mut dyn FnMut(Batch, Extracted) -> Result<bool>,
    ) -> Result<()> {
        for batch in batches {
            let extracted = self.extract(&batch)?;
            if !emit(batch, extracted)? {
                break;
            }
        }
        Ok(())
    }

    /// Returns the report of the work so far; `None` if the backend has nothing to report, such as the CPU.
    fn report(&self) -> Option<BackendReport> {
        None
    }
}

/// The report of a GPU backend: what ran where, what failed, what was extracted again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackendReport {
    /// The adapter and its driver.
    pub adapter: String,
    /// Waveforms extracted on the GPU.
    pub on_gpu: u64,
    /// Waveforms extracted on the CPU, by reason.
    pub on_cpu: BTreeMap<String, u64>,
    /// Number of device failures.
    pub device_failures: u64,
    /// Waveforms that were extracted again after a failure, in the order of their results.
    pub retries: Vec<Retry>,
    /// Why the GPU was given up before the end of the run; `None` if it was not.
    pub given_up: Option<String>,
    /// Time spent in kernels, where the adapter has timestamps; `report.json` lists it among its timings.
    #[serde(skip)]
    pub kernel_s: f64,
}

impl BackendReport {
    /// Adds the report of another part of the run.
    pub fn merge(all: &mut Option<Self>, more: Option<Self>) {
        let Some(more) = more else { return };
        let Some(all) = all else {
            *all = Some(more);
            return;
        };
        all.on_gpu += more.on_gpu;
        for (reason, waveforms) in more.on_cpu {
            *all.on_cpu.entry(reason).or_default() += waveforms;
        }
        all.device_failures += more.device_failures;
        all.retries.extend(more.retries);
        all.given_up = all.given_up.take().or(more.given_up);
        all.kernel_s += more.kernel_s;
    }
}

/// Waveforms whose results a failing device lost and that were extracted again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Identifier of their input.
    pub input_id: u32,
    /// Event of the first waveform.
    pub first_event_id: u64,
    /// Channel of the first waveform.
    pub first_channel_id: u32,
    /// Number of waveforms, consecutive in the input.
    pub waveforms: u64,
    /// The failure.
    pub reason: String,
    /// The backend that extracted them in the end: `gpu` or `cpu`.
    pub on: Cow<'static, str>,
}
