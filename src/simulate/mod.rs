//! Simulation of waveforms and events with truth, from a detector description and a seed.

mod channel;
mod charge;
mod events;
mod overrides;
mod profile;
mod random;

use rand::RngExt as _;
use rayon::prelude::*;

pub use events::{
    ChannelConstants, Digitiser, Energy, EventGenerator, EventPlan, EventSource, HitFinder,
    Particle, ReadoutChannels, SimulatedEvent, Vertex, channel_constants, events,
};
pub use overrides::Overrides;
pub use profile::{PROFILES, Profile};

use channel::{ChannelModel, LightSampler, WaveformKey, WaveformTask};
use random::{Purpose, stream};

use crate::detector::Detector;
use crate::error::{Error, Result};
use crate::model::{Batch, Photoelectron, SamplesRef, Waveform};
use crate::threads::in_pool;

/// Maximum number of waveforms per block.
const MAX_BLOCK_WAVEFORMS: usize = 8192;
/// Maximum number of samples per block.
const MAX_BLOCK_SAMPLES: usize = 4 << 20;
/// Waveforms per parallel task.
const WAVEFORMS_PER_TASK: usize = 32;
/// Maximum mean number of photoelectrons per waveform.
const MAX_PE: f64 = 1e6;

/// The amount of light per waveform.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LightLevel {
    /// A Poisson number of photoelectrons of this mean, before the window cuts some off.
    MeanPe(f64),
    /// Always this number of photoelectrons.
    FixedPe(u32),
    /// Two photoelectrons of equal charge, without time profile and transit-time spread: the first at the start of
    /// the event's light, the second `separation_ns` later.
    Pair {
        /// Time between the two.
        separation_ns: f64,
        /// Both have exactly 1 PE; otherwise one drawn charge is given to both.
        equal_charge: bool,
    },
    /// A total charge, log-uniform over the range, spread over as many photoelectrons (rounded, at least one) whose
    /// drawn charges are scaled so that they add up to it.
    ChargeRange {
        /// Smallest charge.
        low_pe: f64,
        /// Largest charge.
        high_pe: f64,
    },
}

/// The plan of a simulation of waveforms. The same plan gives the same samples for any number of threads; a plan for some
/// of the channels or events gives the same samples for those as one for all.
#[derive(Clone, Debug, PartialEq)]
pub struct WaveformPlan {
    /// The detector.
    pub detector: Detector,
    /// Seed of all random numbers.
    pub seed: u64,
    /// Number of events; they are numbered from 0.
    pub events: u64,
    /// The channels, in the order of the output.
    pub channels: Vec<u32>,
    /// The amount of light.
    pub light: LightLevel,
    /// Its time profile.
    pub profile: Profile,
}

impl WaveformPlan {
    /// Number of waveforms.
    #[must_use]
    pub fn n_waveforms(&self) -> u64 {
        self.events.saturating_mul(self.channels.len() as u64)
    }

    /// Checks what does not depend on the detector file.
    ///
    /// # Errors
    /// Says which value is out of range.
    pub fn validate(&self) -> Result<()> {
        let out_of_range = |what: &str, found: String, expected: &str| {
            Err(Error::usage(format!(
                "{what} is {found}, expected {expected}"
            )))
        };
        if self.events == 0 || self.channels.is_empty() {
            return Err(Error::usage(
                "there is nothing to simulate: no event or no channel",
            ));
        }
        if self
            .events
            .checked_mul(self.channels.len() as u64)
            .is_none()
        {
            return out_of_range("the number of events", self.events.to_string(), "fewer");
        }
        let n_channels = self.detector.n_channels();
        if let Some(channel) = self.channels.iter().find(|&&channel| channel >= n_channels) {
            return Err(Error::usage(format!(
                "there is no channel {channel} in detector `{}`, its channels are 0 to {}",
                self.detector.name,
                n_channels.saturating_sub(1)
            )));
        }
        let charge = "a charge from 0.001 to 1000000 PE";
        match self.light {
            LightLevel::MeanPe(mean) if !(0.0..=MAX_PE).contains(&mean) => out_of_range(
                "the mean number of photoelectrons",
                mean.to_string(),
                "0 to 1000000",
            ),
            LightLevel::FixedPe(number) if f64::from(number) > MAX_PE => out_of_range(
                "the number of photoelectrons",
                number.to_string(),
                "0 to 1000000",
            ),
            LightLevel::Pair { separation_ns, .. } if !(0.0..=1e6).contains(&separation_ns) => {
                out_of_range(
                    "the pair's separation in ns",
                    separation_ns.to_string(),
                    "0 to 1000000",
                )
            }
            LightLevel::ChargeRange { low_pe, .. } if !(1e-3..=MAX_PE).contains(&low_pe) => {
                out_of_range(
                    "the low end of the charge range",
                    low_pe.to_string(),
                    charge,
                )
            }
            LightLevel::ChargeRange { low_pe, high_pe }
                if !(low_pe..=MAX_PE).contains(&high_pe) =>
            {
                out_of_range(
                    "the high end of the charge range",
                    high_pe.to_string(),
                    "a charge from the low end to 1000000 PE",
                )
            }
            _ => Ok(()),
        }
    }
}

/// Some of the waveforms of a plan, in the plan's order: event after event, in each the channels as listed.
#[derive(Clone, Debug, PartialEq)]
pub struct WaveformBlock {
    /// The waveforms.
    pub batch: Batch,
    /// Their photoelectrons, in the order of the waveforms and of time. Those before or after the window are not
    /// listed, though a pulse that begins before the window leaves its tail in it.
    pub photoelectrons: Vec<Photoelectron>,
    /// Number of waveforms with a sample at an end of the digitiser's range.
    pub saturated: u64,
}

/// The waveforms of a plan, block by block; memory does not grow with the number of events.
pub struct WaveformGenerator<'a> {
    plan: &'a WaveformPlan,
    models: Vec<ChannelModel>,
    light: LightSampler,
    next: u64,
}

/// Simulates the waveforms of `plan`, block by block, in the caller's thread pool.
///
/// # Examples
/// ```
/// use nuwave::simulate::{self, LightLevel, Profile, WaveformPlan};
///
/// # fn main() -> nuwave::Result<()> {
/// let detector = nuwave::detector::load("juno")?;
/// let plan = WaveformPlan {
///     profile: Profile::named("ls", &detector)?,
///     detector,
///     seed: 1,
///     events: 10,
///     channels: (0..8).collect(),
///     light: LightLevel::FixedPe(2),
/// };
/// for block in simulate::waveforms(&plan)? {
///     assert_eq!(block.batch.len(), 80);
///     let first = block.batch.iter().next().expect("a waveform");
///     println!("{} samples", first.samples.to_f32().len());
/// }
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`WaveformPlan::validate`], or if a pulse shape cannot be built.
pub fn waveforms(plan: &WaveformPlan) -> Result<WaveformGenerator<'_>> {
    plan.validate()?;
    let models = plan
        .detector
        .pmt_types
        .iter()
        .map(|pmt| ChannelModel::new(&plan.detector.readout, pmt))
        .collect::<Result<_>>()?;
    Ok(WaveformGenerator {
        plan,
        models,
        light: LightSampler::new(plan.light),
        next: 0,
    })
}

/// The result of one parallel task.
#[derive(Default)]
struct Chunk {
    photoelectrons: Vec<Photoelectron>,
    saturated: u64,
}

impl WaveformGenerator<'_> {
    /// Simulates the waveforms from number `first` on into `samples`.
    fn chunk(&self, first: u64, samples: &mut [u16]) -> Chunk {
        let n_samples = self.plan.detector.readout.window_samples;
        let mut light_adc = vec![0.0; n_samples];
        let mut chunk = Chunk::default();
        for (number, samples) in (first..).zip(samples.chunks_mut(n_samples)) {
            let (event_id, channel_id) = self.event_and_channel(number);
            let model = &self.models[self.plan.detector.type_index_of(channel_id)];
            let task = WaveformTask {
                key: WaveformKey {
                    seed: self.plan.seed,
                    event_id,
                    channel_id,
                },
                start_ns: self.start_ns(event_id),
                light: &self.light,
                profile: &self.plan.profile,
            };
            let saturated = model.make(task, &mut light_adc, samples, &mut chunk.photoelectrons);
            chunk.saturated += u64::from(saturated);
        }
        chunk
    }

    /// Returns event and channel of waveform `number`.
    fn event_and_channel(&self, number: u64) -> (u64, u32) {
        let channels = &self.plan.channels;
        let index = (number % channels.len() as u64) as usize;
        (number / channels.len() as u64, channels[index])
    }

    /// Returns the start of the event's light: the trigger plus a random share of a sampling interval, since events are not
    /// synchronous with the digitiser's clock.
    fn start_ns(&self, event_id: u64) -> f64 {
        let readout = &self.plan.detector.readout;
        let mut rng = stream(self.plan.seed, event_id, u32::MAX, Purpose::Phase);
        readout.trigger_ns + readout.sampling_ns * rng.random::<f64>()
    }
}

impl Iterator for WaveformGenerator<'_> {
    type Item = WaveformBlock;

    fn next(&mut self) -> Option<WaveformBlock> {
        let n_samples = self.plan.detector.readout.window_samples;
        let most = (MAX_BLOCK_SAMPLES / n_samples).clamp(1, MAX_BLOCK_WAVEFORMS) as u64;
        let count = most.min(self.plan.n_waveforms() - self.next) as usize;
        if count == 0 {
            return None;
        }
        let first = self.next;
        let mut samples = vec![0_u16; count * n_samples];
        let chunks: Vec<Chunk> = in_pool(|| {
            samples
                .par_chunks_mut(WAVEFORMS_PER_TASK * n_samples)
                .enumerate()
                .map(|(index, samples)| {
                    self.chunk(first + (index * WAVEFORMS_PER_TASK) as u64, samples)
                })
                .collect()
        });
        let mut block = WaveformBlock {
            batch: Batch::new_u16(0),
            photoelectrons: Vec::new(),
            saturated: 0,
        };
        for mut chunk in chunks {
            block.photoelectrons.append(&mut chunk.photoelectrons);
            block.saturated += chunk.saturated;
        }
        for (number, samples) in (first..).zip(samples.chunks(n_samples)) {
            let (event_id, channel_id) = self.event_and_channel(number);
            block.batch.push(Waveform {
                event_id,
                channel_id,
                start_ns: 0.0,
                samples: SamplesRef::U16(samples),
            });
        }
        self.next += count as u64;
        Some(block)
    }
}
