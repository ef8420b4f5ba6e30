//! Facts that the user states, and the data that they are compared with: polarity, baseline, noise, length of the windows, channels.

use serde::{Deserialize, Serialize};

use crate::detector::Detector;
use crate::model::{Batch, Polarity, SamplesRef};

/// Waveforms of a unit whose excursions are looked at.
const SAMPLED_WAVEFORMS: u64 = 2048;
/// Samples of a waveform that its level and noise are taken from.
const LEVEL_SAMPLES: usize = 64;
/// An excursion from the level is large beyond this many standard deviations of a sample.
const LARGE_SIGMA: f32 = 10.0;
/// Minimum noise of counts, from rounding.
const MIN_NOISE_ADC: f32 = 0.29;

/// The facts about the waveforms of an input that detector and calibration state.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// Name of the detector.
    pub detector: Option<String>,
    /// Nominal baseline of the detector.
    pub baseline_adc: Option<f64>,
    /// Range of the detector's digitiser.
    pub full_scale_adc: Option<f64>,
    /// Samples per waveform of the detector.
    pub window_samples: Option<u64>,
    /// True if the calibration has channels, not only a default for all.
    pub has_channels: bool,
    /// Mean noise of the calibrated channels.
    pub noise_adc: Option<f64>,
}

/// The facts that the waveforms of a unit show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// Waveforms whose excursions were looked at, the first ones of the unit.
    pub sampled: u64,
    /// Those of them whose largest excursion is a pulse of the stated polarity.
    pub pulses: u64,
    /// Those of them whose largest excursion is a pulse of the other polarity.
    pub opposite_pulses: u64,
    /// Waveforms of channels that the detector's geometry does not have.
    pub unknown_channels: u64,
    /// Largest absolute start of a window.
    pub latest_start_ns: f64,
}

impl Observed {
    /// Adds the waveforms of a batch.
    pub(super) fn add(&mut self, batch: &Batch, polarity: Polarity, detector: Option<&Detector>) {
        if let Some(sensors) = detector.and_then(Detector::sensors) {
            let channels = batch.channel_id().iter();
            let unknown = channels.filter(|&&channel| sensors.index_of(channel).is_none());
            self.unknown_channels += unknown.count() as u64;
        }
        for start_ns in batch.start_ns() {
            self.latest_start_ns = self.latest_start_ns.max(start_ns.abs());
        }
        let left = SAMPLED_WAVEFORMS.saturating_sub(self.sampled) as usize;
        for waveform in batch.iter().take(left) {
            self.sampled += 1;
            match pulse_of(waveform.samples) {
                Some(found) if found == polarity => self.pulses += 1,
                Some(_) => self.opposite_pulses += 1,
                None => {}
            }
        }
    }

    /// Adds what another unit shows.
    pub(super) fn join(&mut self, other: &Self) {
        self.sampled += other.sampled;
        self.pulses += other.pulses;
        self.opposite_pulses += other.opposite_pulses;
        self.unknown_channels += other.unknown_channels;
        self.latest_start_ns = self.latest_start_ns.max(other.latest_start_ns);
    }
}

/// Returns the direction of the largest excursion if it is a pulse: large, longer than a sample, within the window, twice as large as that of the
/// other direction, and not a run of one value.
fn pulse_of(samples: SamplesRef<'_>) -> Option<Polarity> {
    let values = samples.to_f32();
    let step = values.len().div_ceil(LEVEL_SAMPLES).max(1);
    let mut some: Vec<f32> = values.iter().step_by(step).copied().collect();
    let level = median(&mut some);
    for value in &mut some {
        *value = (*value - level).abs();
    }
    let least = match samples {
        SamplesRef::U16(_) => MIN_NOISE_ADC,
        SamplesRef::F32(_) => f32::MIN_POSITIVE,
    };
    let noise = (1.4826 * median(&mut some)).max(least);
    let high = values.iter().copied().fold(f32::MIN, f32::max) - level;
    let low = level - values.iter().copied().fold(f32::MAX, f32::min);
    let (polarity, extent) = if high > low {
        (Polarity::Positive, high)
    } else {
        (Polarity::Negative, low)
    };
    if !extent.is_finite() || extent <= LARGE_SIGMA * noise || extent < 2.0 * high.min(low) {
        return None;
    }
    let height = |value: f32| (value - level) * polarity.sign();
    let n_beyond = |share: f32| {
        let beyond = values
            .iter()
            .filter(|&&value| height(value) >= share * extent);
        beyond.count()
    };
    let edge = |value: Option<&f32>| value.is_some_and(|&value| height(value) > 0.5 * extent);
    let is_pulse = n_beyond(0.5) >= 2 && n_beyond(1.0) <= 2;
    (is_pulse && !edge(values.first()) && !edge(values.last())).then_some(polarity)
}

fn median(values: &mut [f32]) -> f32 {
    let middle = values.len() / 2;
    if values.is_empty() {
        return 0.0;
    }
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse(sign: f32, seed: usize) -> Vec<u16> {
        let noise = |k: usize| ((k * 7919 + seed * 104_729) % 13) as f32 - 6.0;
        let shape = |k: usize| {
            if (200..240).contains(&k) {
                30.0 - (k as f32 - 210.0).abs()
            } else {
                0.0
            }
        };
        (0..400)
            .map(|k| (2000.0 + 0.4 * noise(k) + sign * 8.0 * shape(k)) as u16)
            .collect()
    }

    #[test]
    fn pulses_are_told_from_glitches_padding_and_slopes() {
        let of = |samples: &[u16]| pulse_of(SamplesRef::U16(samples));
        assert_eq!(of(&pulse(1.0, 1)), Some(Polarity::Positive));
        assert_eq!(of(&pulse(-1.0, 2)), Some(Polarity::Negative));
        assert_eq!(of(&pulse(0.0, 3)), None);
        let mut glitch = pulse(0.0, 4);
        glitch[77] = 0;
        assert_eq!(of(&glitch), None);
        let mut padded = pulse(0.0, 5);
        padded[350..].fill(0);
        assert_eq!(of(&padded), None);
        let slope: Vec<u16> = (0..400)
            .map(|k| 2000 + 400_u16.saturating_sub(4 * k))
            .collect();
        assert_eq!(of(&slope), None);
    }
}
