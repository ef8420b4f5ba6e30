//! Waveform -> hits: the stages in order, one file each, and the backend that runs them on a batch.
//!
//! [`sanity`] loads and flags, [`baseline`] takes level and noise, [`decimate`] turns pulses upright and halves the
//! rate, [`deconvolve`] divides by the template's spectrum (designed by [`filter`]), [`floor`] takes what is left of the
//! baseline off, [`find`] looks for hits, [`charge`] and [`time`] measure them. [`over_threshold`] holds the methods
//! without deconvolution. [`Extractor`] runs them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::{Batch, Extracted};

pub mod baseline;
pub mod charge;
pub mod decimate;
pub mod deconvolve;
pub(crate) mod extractor;
pub mod filter;
pub mod find;
pub mod floor;
pub mod glance;
pub mod lines;
pub mod normal;
pub mod over_threshold;
mod parameters;
#[cfg(test)]
mod physics;
pub mod prior;
pub mod propose;
pub mod prune;
mod quantile;
pub mod response;
pub mod sanity;
pub mod seeds;
pub mod shorten;
pub mod sparse;
#[cfg(test)]
mod sparse_physics;
mod stage;
pub(crate) mod stages;
#[cfg(test)]
mod testing;
pub mod time;

pub use extractor::{Extractor, Trace};
pub use parameters::{Filter, Method, Parameters, ReadoutFacts};
pub use stage::Stage;

/// Something that turns a batch of waveforms into hits. The result depends on each waveform and its channel's
/// calibration alone, never on the batch it came in.
pub trait Backend: Send + Sync {
    /// `cpu` or `gpu`.
    fn name(&self) -> &'static str;

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

    /// What there is to report of the work so far, where it was a GPU's.
    fn account(&self) -> Option<Account> {
        None
    }
}

/// What a run on a GPU has to report beside its hits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// The adapter and its driver.
    pub adapter: String,
    /// Waveforms extracted on the GPU.
    pub on_gpu: u64,
    /// Waveforms extracted on the CPU, by reason.
    pub on_cpu: BTreeMap<String, u64>,
    /// Devices that failed.
    pub device_failures: u64,
    /// What was done again, in the order in which it came back.
    pub redone: Vec<Redone>,
    /// Why the GPU was given up before the end, if it was.
    pub given_up: Option<String>,
    /// Time its kernels took, where the adapter tells; reports have it among their timings.
    #[serde(skip)]
    pub kernel_s: f64,
}

impl Account {
    /// Adds the account of another part of the run.
    pub fn gather(all: &mut Option<Self>, more: Option<Self>) {
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
        all.redone.extend(more.redone);
        all.given_up = all.given_up.take().or(more.given_up);
        all.kernel_s += more.kernel_s;
    }
}

/// Waveforms that a failing device lost and that were done again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redone {
    /// The input they come from.
    pub input_id: u32,
    /// Event of the first one.
    pub first_event_id: u64,
    /// Channel of the first one.
    pub first_channel_id: u32,
    /// How many, one after the other in the input.
    pub waveforms: u64,
    /// What failed.
    pub reason: String,
    /// `gpu` or `cpu`.
    pub on: Cow<'static, str>,
}
