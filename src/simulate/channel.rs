//! Simulation of one waveform: photoelectrons, their pulses at sub-sample times, noise, digitiser.

use std::f64::consts::TAU;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Poisson, StandardNormal};

use super::charge::ChargeSpectrum;
use super::random::{Purpose, add_white_noise, stream};
use super::{LightLevel, Profile};
use crate::detector::{ColouredNoise, PmtType, PulseShape, Readout};
use crate::error::Result;
use crate::math;
use crate::model::{Photoelectron, Polarity};

/// Minimum number of phases of the pulse per sampling interval.
const MIN_PHASES: usize = 8;
/// Maximum number of phases; a pulse that needs more is shorter than a sample, and its shape does not matter.
const MAX_PHASES: usize = 256;

/// The model of all channels of one PMT type.
pub(super) struct ChannelModel {
    readout: Readout,
    pmt: PmtType,
    pulse: PhasedPulse,
    charge: ChargeSpectrum,
    /// Mean number of dark photoelectrons in the window and the length of a pulse before it.
    dark: Option<Poisson<f64>>,
    dark_from_ns: f64,
}

/// The key of a waveform's random numbers.
#[derive(Clone, Copy)]
pub(super) struct WaveformKey {
    pub seed: u64,
    pub event_id: u64,
    pub channel_id: u32,
}

impl WaveformKey {
    fn stream(self, purpose: Purpose) -> ChaCha8Rng {
        stream(self.seed, self.event_id, self.channel_id, purpose)
    }
}

/// A waveform to simulate: one channel of one event.
#[derive(Clone, Copy)]
pub(super) struct WaveformTask<'a> {
    pub key: WaveformKey,
    /// Start of the event's light in the window.
    pub start_ns: f64,
    pub light: &'a LightSampler,
    pub profile: &'a Profile,
}

/// [`LightLevel`] with its distribution prepared.
pub(super) struct LightSampler {
    pub light: LightLevel,
    pub poisson: Option<Poisson<f64>>,
}

impl ChannelModel {
    pub(super) fn new(readout: &Readout, pmt: &PmtType) -> Result<Self> {
        let shape = pmt.pulse.shape()?;
        // Pulses that begin earlier than their own length before the window do not reach it.
        let dark_from_ns = -shape.length_ns();
        let dark_mean = pmt.dark_rate_hz * 1e-9 * (readout.window_ns() - dark_from_ns);
        Ok(Self {
            pulse: PhasedPulse::new(&shape, readout.sampling_ns),
            charge: ChargeSpectrum::new(pmt),
            dark: Poisson::new(dark_mean).ok(),
            dark_from_ns,
            readout: readout.clone(),
            pmt: pmt.clone(),
        })
    }

    /// Simulates one waveform into `samples`; `light_adc` is working space of the same length. Appends the
    /// photoelectrons within the window, in time order. True if a sample is at an end of the range.
    pub(super) fn make(
        &self,
        task: WaveformTask<'_>,
        light_adc: &mut [f32],
        samples: &mut [u16],
        truth: &mut Vec<Photoelectron>,
    ) -> bool {
        let first = truth.len();
        self.draw_light(task, truth);
        self.draw_dark(task, truth);

        let saturated = self.render(task.key, &truth[first..], light_adc, samples);

        let window_ns = self.readout.window_ns();
        let mut kept = truth.split_off(first);
        kept.retain(|photoelectron| (0.0..window_ns).contains(&photoelectron.time_ns));
        kept.sort_by(|a, b| a.time_ns.total_cmp(&b.time_ns));
        truth.append(&mut kept);
        saturated
    }

    /// Renders the digitised waveform of these photoelectrons with noise; they may be in any order and begin before the window.
    /// True if a sample is at an end of the range.
    pub(super) fn render(
        &self,
        key: WaveformKey,
        photoelectrons: &[Photoelectron],
        light_adc: &mut [f32],
        samples: &mut [u16],
    ) -> bool {
        light_adc.fill(0.0);
        for photoelectron in photoelectrons {
            let height_adc = f64::from(photoelectron.charge_pe) * self.pmt.spe_peak_adc;
            self.pulse.add(
                light_adc,
                photoelectron.time_ns / self.readout.sampling_ns,
                height_adc as f32,
            );
        }
        self.add_noise(key, light_adc);
        self.digitise(key, light_adc, samples)
    }

    fn draw_light(&self, task: WaveformTask<'_>, truth: &mut Vec<Photoelectron>) {
        let mut rng = task.key.stream(Purpose::Light);
        let rng = &mut rng;
        let photoelectron = |time_ns: f64, charge_pe: f64| Photoelectron {
            event_id: task.key.event_id,
            channel_id: task.key.channel_id,
            time_ns,
            charge_pe: charge_pe as f32,
        };
        match task.light.light {
            LightLevel::Pair {
                separation_ns,
                equal_charge,
            } => {
                let charge_pe = if equal_charge {
                    1.0
                } else {
                    self.charge.draw_pe(rng)
                };
                truth.push(photoelectron(task.start_ns, charge_pe));
                truth.push(photoelectron(task.start_ns + separation_ns, charge_pe));
            }
            LightLevel::MeanPe(_) | LightLevel::FixedPe(_) | LightLevel::ChargeRange { .. } => {
                let (number, total_pe) = task.light.draw_number(rng);
                let first = truth.len();
                for _ in 0..number {
                    let jitter: f64 = StandardNormal.sample(rng);
                    let time_ns = task.start_ns
                        + task.profile.draw_ns(rng)
                        + self.pmt.transit_time_sigma_ns * jitter;
                    let charge_pe = self.charge.draw_pe(rng);
                    truth.push(photoelectron(time_ns, charge_pe));
                }
                if let Some(total_pe) = total_pe {
                    let drawn = &mut truth[first..];
                    let sum: f64 = drawn.iter().map(|one| f64::from(one.charge_pe)).sum();
                    for one in drawn {
                        one.charge_pe = (f64::from(one.charge_pe) * total_pe / sum) as f32;
                    }
                }
            }
        }
    }

    fn draw_dark(&self, task: WaveformTask<'_>, truth: &mut Vec<Photoelectron>) {
        let Some(dark) = &self.dark else { return };
        let mut rng = task.key.stream(Purpose::Dark);
        let number = dark.sample(&mut rng) as u64;
        let length_ns = self.readout.window_ns() - self.dark_from_ns;
        for _ in 0..number {
            let time_ns = self.dark_from_ns + length_ns * rng.random::<f64>();
            let charge_pe = self.charge.draw_pe(&mut rng) as f32;
            truth.push(Photoelectron {
                event_id: task.key.event_id,
                channel_id: task.key.channel_id,
                time_ns,
                charge_pe,
            });
        }
    }

    fn add_noise(&self, key: WaveformKey, light_adc: &mut [f32]) {
        let rng = |purpose| key.stream(purpose);
        if self.pmt.noise_adc > 0.0 {
            let mut rng = rng(Purpose::WhiteNoise);
            add_white_noise(light_adc, self.pmt.noise_adc as f32, &mut rng);
        }
        match self.pmt.coloured_noise {
            None => {}
            Some(ColouredNoise::Correlated {
                sigma_adc,
                correlation_ns,
            }) => {
                let mut rng = rng(Purpose::ColouredNoise);
                let memory = math::exp(-self.readout.sampling_ns / correlation_ns);
                let fresh = sigma_adc * (1.0 - memory * memory).sqrt();
                let start: f64 = StandardNormal.sample(&mut rng);
                let mut level = sigma_adc * start;
                for sample in light_adc {
                    *sample += level as f32;
                    let normal: f64 = StandardNormal.sample(&mut rng);
                    level = memory * level + fresh * normal;
                }
            }
            Some(ColouredNoise::Ripple {
                amplitude_adc,
                period_ns,
            }) => {
                let mut rng = rng(Purpose::ColouredNoise);
                let (mut sine, mut cosine) = math::sin_cos(TAU * rng.random::<f64>());
                let (step_sine, step_cosine) =
                    math::sin_cos(TAU * self.readout.sampling_ns / period_ns);
                for sample in light_adc {
                    *sample += (amplitude_adc * sine) as f32;
                    (sine, cosine) = (
                        sine * step_cosine + cosine * step_sine,
                        cosine * step_cosine - sine * step_sine,
                    );
                }
            }
        }
    }

    /// Baseline, polarity, rounding to the nearest count, clipping. True if a sample is at an end of the range.
    fn digitise(&self, key: WaveformKey, light_adc: &[f32], samples: &mut [u16]) -> bool {
        let readout = &self.readout;
        let mut baseline_adc = readout.baseline_adc;
        if readout.baseline_spread_adc > 0.0 {
            let mut rng = stream(key.seed, u64::MAX, key.channel_id, Purpose::Baseline);
            let normal: f64 = StandardNormal.sample(&mut rng);
            baseline_adc += readout.baseline_spread_adc * normal;
        }
        let sign = match readout.polarity {
            Polarity::Negative => -1.0_f32,
            Polarity::Positive => 1.0,
        };
        let full_scale = readout.full_scale_adc();
        let top = f32::from(full_scale) + 0.5;
        // Adding one half rounds to the nearest count, since the cast truncates.
        let offset = baseline_adc as f32 + 0.5;
        for (sample, light) in samples.iter_mut().zip(light_adc) {
            *sample = (offset + sign * light).clamp(0.0, top) as u16;
        }
        samples
            .iter()
            .any(|&sample| sample == 0 || sample == full_scale)
    }
}

impl LightSampler {
    pub(super) fn new(light: LightLevel) -> Self {
        let poisson = match light {
            LightLevel::MeanPe(mean_pe) => Poisson::new(mean_pe).ok(),
            _ => None,
        };
        Self { light, poisson }
    }

    /// Draws the number of photoelectrons, and their total charge if that is fixed.
    fn draw_number(&self, rng: &mut ChaCha8Rng) -> (u64, Option<f64>) {
        match self.light {
            // A mean of 0 has no distribution.
            LightLevel::MeanPe(_) => {
                let number = self
                    .poisson
                    .as_ref()
                    .map_or(0.0, |poisson| poisson.sample(rng));
                (number as u64, None)
            }
            LightLevel::FixedPe(number) => (u64::from(number), None),
            LightLevel::ChargeRange { low_pe, high_pe } => {
                let total_pe = low_pe * math::powf(high_pe / low_pe, rng.random::<f64>());
                (total_pe.round().max(1.0) as u64, Some(total_pe))
            }
            LightLevel::Pair { .. } => (2, None),
        }
    }
}

/// The pulse sampled at several phases between two samples, so that adding one takes four multiplications per sample.
struct PhasedPulse {
    phases: usize,
    /// Row `r` holds the pulse at `(k + (r - 1) / phases)` samples after the photoelectron, for each `k`.
    rows: Vec<Vec<f32>>,
}

impl PhasedPulse {
    fn new(shape: &PulseShape, sampling_ns: f64) -> Self {
        let phases = ((100.0 * sampling_ns / shape.fwhm_ns().max(1e-3)).ceil() as usize)
            .clamp(MIN_PHASES, MAX_PHASES);
        let length = (shape.length_ns() / sampling_ns).ceil() as usize + 1;
        let rows = (0..phases + 3)
            .map(|row| {
                let phase = (row as f64 - 1.0) / phases as f64;
                (0..length)
                    .map(|sample| shape.value((sample as f64 + phase) * sampling_ns) as f32)
                    .collect()
            })
            .collect();
        Self { phases, rows }
    }

    /// Adds a pulse of `height` for a photoelectron at `position` (in samples; negative before the window).
    fn add(&self, samples: &mut [f32], position: f64, height: f32) {
        let first = position.ceil();
        if first >= samples.len() as f64 {
            return;
        }
        let phase = (first - position) * self.phases as f64;
        let row = (phase as usize).min(self.phases - 1);
        let x = (phase - row as f64) as f32;
        let [before, left, right, after] = &self.rows[row..row + 4] else {
            return;
        };
        // Lagrange's cubic over the four phases around the wanted one.
        let weights = [
            height * (-x * (x - 1.0) * (x - 2.0) / 6.0),
            height * ((x + 1.0) * (x - 1.0) * (x - 2.0) / 2.0),
            height * (-(x + 1.0) * x * (x - 2.0) / 2.0),
            height * ((x + 1.0) * x * (x - 1.0) / 6.0),
        ];
        let skip = (-first).max(0.0) as usize;
        if skip >= left.len() {
            return;
        }
        let samples = &mut samples[first.max(0.0) as usize..];
        for ((((sample, a), b), c), d) in samples
            .iter_mut()
            .zip(&before[skip..])
            .zip(&left[skip..])
            .zip(&right[skip..])
            .zip(&after[skip..])
        {
            *sample += weights[0] * a + weights[1] * b + weights[2] * c + weights[3] * d;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_is_added_where_the_photoelectron_is() {
        for preset in ["juno", "lab", "jinping"] {
            let detector = crate::detector::load(preset).expect("a preset");
            let shape = detector.pmt_types[0].pulse.shape().expect("a valid pulse");
            let sampling_ns = detector.readout.sampling_ns;
            let phased = PhasedPulse::new(&shape, sampling_ns);
            for position in [-37.3, -0.001, 0.0, 12.0, 12.5, 40.937, 63.999_9] {
                let mut samples = vec![0.0; 64];
                phased.add(&mut samples, position, 1.0);
                for (sample, value) in samples.iter().enumerate() {
                    let exact = shape.value((sample as f64 - position) * sampling_ns);
                    assert!(
                        (f64::from(*value) - exact).abs() < 2e-5,
                        "{preset}: {value} at {sample} for {position}, expected {exact}"
                    );
                }
            }
        }
    }
}
