//! Which waveforms tell nothing about a channel? Flat, dead, saturated, padded and damaged ones are left out of a calibration and counted.

use super::pedestal::{MIN_NOISE_ADC, estimate_pedestal, min_noise_adc};

/// Minimum number of samples of a waveform.
const MIN_SAMPLES: usize = 8;
/// Samples at a limit of the digitiser from which a waveform is saturated.
const MIN_AT_LIMIT: usize = 2;
/// Equal samples in a row that noise does not make far from the baseline.
const MIN_RUN: usize = 4;
/// Distance from the baseline, in standard deviations, from which a run of equal samples is no baseline.
const FAR_SIGMA: f64 = 5.0;
/// A flat top begins with a step of at least this share of its height. The top of a slow pulse is reached in smaller ones.
const TOP_STEP: f64 = 0.05;
/// ... and of two counts, in units of the least noise.
const TOP_STEP_NOISE: f64 = 2.0 / MIN_NOISE_ADC;

/// Why a waveform is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// The waveform has another number of samples than the first of its channel, or too few.
    OtherLength,
    /// Samples that are NaN or infinite.
    NonFinite,
    /// Every sample has the same value.
    Flat,
    /// No light, and less than 0.4 of the noise of the channel.
    Dead,
    /// Samples at a limit of the digitiser, or a pulse with a flat top.
    Saturated,
    /// A run of one constant value from or to the window's edge that is not the baseline.
    Padded,
}

impl Defect {
    /// All defects.
    pub const ALL: [Self; 6] = [
        Self::Flat,
        Self::Dead,
        Self::Saturated,
        Self::Padded,
        Self::NonFinite,
        Self::OtherLength,
    ];

    /// Returns the name in reports: that of the flag which reconstruction gives such a waveform, where there is one.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OtherLength => "other_length",
            Self::NonFinite => "non_finite",
            Self::Flat => "flat",
            Self::Dead => "dead",
            Self::Saturated => "saturated",
            Self::Padded => "padded",
        }
    }

    /// Returns what is wrong in words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::OtherLength => "of another length",
            Self::NonFinite => "with samples that are not finite",
            Self::Flat => "flat (every sample has the same value)",
            Self::Dead => {
                "dead (without light, and with less than 0.4 of the noise of the channel)"
            }
            Self::Saturated => "saturated",
            Self::Padded => "padded (one constant value from or to the window's edge)",
        }
    }
}

/// Numbers of waveforms that were left out, by defect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DefectCounts {
    counts: [u64; Defect::ALL.len()],
}

impl DefectCounts {
    /// Counts one more waveform.
    pub(super) fn add(&mut self, defect: Defect) {
        self.add_many(defect, 1);
    }

    /// Counts `n` more waveforms.
    pub(super) fn add_many(&mut self, defect: Defect, n: u64) {
        for (count, other) in self.counts.iter_mut().zip(Defect::ALL) {
            if other == defect {
                *count += n;
            }
        }
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
    }

    /// Returns the number of all waveforms that were left out.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the defects that occur, each with its number of waveforms.
    pub fn found(&self) -> impl Iterator<Item = (Defect, u64)> {
        Defect::ALL
            .into_iter()
            .zip(self.counts)
            .filter(|(_, count)| *count > 0)
    }
}

/// Returns the defect of a waveform (upright: light is positive) of a channel with waveforms of `n_samples`, if that is known. `limits` are the
/// lowest and highest value of the digitiser.
pub(super) fn find_defect(
    samples: &[f32],
    n_samples: Option<usize>,
    limits: Option<(f32, f32)>,
    scratch: &mut Vec<f32>,
) -> Option<Defect> {
    if samples.len() < MIN_SAMPLES || n_samples.is_some_and(|n| n != samples.len()) {
        return Some(Defect::OtherLength);
    }
    let (mut lowest, mut highest) = (f32::INFINITY, f32::NEG_INFINITY);
    for &sample in samples {
        if !sample.is_finite() {
            return Some(Defect::NonFinite);
        }
        lowest = lowest.min(sample);
        highest = highest.max(sample);
    }
    if lowest == highest {
        return Some(Defect::Flat);
    }
    if is_padded(samples, scratch) {
        return Some(Defect::Padded);
    }
    let at_limit = |is_at: &dyn Fn(f32) -> bool| {
        samples.iter().filter(|&&sample| is_at(sample)).count() >= MIN_AT_LIMIT
    };
    if let Some((low, high)) = limits
        && ((lowest <= low && at_limit(&|sample| sample <= low))
            || (highest >= high && at_limit(&|sample| sample >= high)))
    {
        return Some(Defect::Saturated);
    }
    has_flat_top(samples, highest, scratch).then_some(Defect::Saturated)
}

/// Returns true for a run of one value from or to an edge that is far from the baseline of the rest, and ends in a step.
fn is_padded(samples: &[f32], scratch: &mut Vec<f32>) -> bool {
    let run = |mut values: std::iter::Peekable<&mut dyn Iterator<Item = &f32>>| {
        let first = values.peek().copied().copied();
        values.take_while(|&&value| Some(value) == first).count()
    };
    let before = run((&mut samples.iter() as &mut dyn Iterator<Item = &f32>).peekable());
    let after = run((&mut samples.iter().rev() as &mut dyn Iterator<Item = &f32>).peekable());
    let from = if before >= MIN_RUN { before } else { 0 };
    let to = samples.len() - if after >= MIN_RUN { after } else { 0 };
    if from == 0 && to == samples.len() {
        return false;
    }
    // Two runs that meet leave nothing between them.
    let rest = samples.get(from..to).unwrap_or_default();
    let Some(pedestal) = estimate_pedestal(rest, scratch) else {
        // A short pulse on a baseline without noise has the same value before and after it.
        let is_baseline = from > 0 && to < samples.len() && samples.first() == samples.last();
        return !is_baseline;
    };
    let is_far = |edge: Option<&f32>, next: Option<&f32>| {
        let (Some(&edge), Some(&next)) = (edge, next) else {
            return false;
        };
        let distance = (f64::from(edge) - pedestal.level_adc).abs();
        distance > FAR_SIGMA * pedestal.noise_adc && f64::from((edge - next).abs()) > 0.5 * distance
    };
    (from > 0 && is_far(samples.first(), rest.first()))
        || (to < samples.len() && is_far(samples.last(), rest.last()))
}

/// Returns true for a pulse whose top is a run of equal samples that begins with a step.
fn has_flat_top(samples: &[f32], highest: f32, scratch: &mut Vec<f32>) -> bool {
    let mut run = 0;
    for (index, &sample) in samples.iter().enumerate() {
        run = if sample == highest { run + 1 } else { 0 };
        if run == MIN_RUN {
            let before = (index + 1).checked_sub(MIN_RUN + 1);
            let Some(&before) = before.and_then(|before| samples.get(before)) else {
                return false;
            };
            return estimate_pedestal(samples, scratch).is_some_and(|pedestal| {
                let height = f64::from(highest) - pedestal.level_adc;
                height > 2.0 * FAR_SIGMA * pedestal.noise_adc
                    && f64::from(highest - before)
                        > TOP_STEP * height + TOP_STEP_NOISE * min_noise_adc(samples)
            });
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Option<(f32, f32)> = Some((0.0, 4095.0));

    /// A baseline of 1000 counts with a noise of about one count, and a pulse of `height` at sample 60.
    fn waveform(height: f32) -> Vec<f32> {
        (0..200_u16)
            .map(|index| {
                let noise = f32::from((index * 37) % 11 % 4) - 1.5;
                let t = (f32::from(index) - 60.0) / 5.0;
                (1000.0 + noise + height * crate::math::exp(-0.5 * t * t)).round()
            })
            .collect()
    }

    fn defect(samples: &[f32]) -> Option<Defect> {
        find_defect(samples, Some(200), LIMITS, &mut Vec::new())
    }

    #[test]
    fn each_defect_is_found_and_ordinary_waveforms_have_none() {
        for height in [0.0, 20.0, 150.0, 2000.0] {
            assert_eq!(defect(&waveform(height)), None, "{height}");
        }
        assert_eq!(defect(&[0.0; 200]), Some(Defect::Flat));
        assert_eq!(defect(&[5.0; 199]), Some(Defect::OtherLength));
        let mut samples = waveform(50.0);
        samples[120] = f32::NAN;
        assert_eq!(defect(&samples), Some(Defect::NonFinite));
        let cut: Vec<f32> = waveform(9000.0)
            .iter()
            .map(|value| value.min(4095.0))
            .collect();
        assert_eq!(defect(&cut), Some(Defect::Saturated));
        // An amplifier's limit below that of the digitiser.
        let cut: Vec<f32> = waveform(2500.0)
            .iter()
            .map(|value| value.min(2200.0))
            .collect();
        assert_eq!(defect(&cut), Some(Defect::Saturated));
        for (range, value) in [
            (0..5, 0.0),
            (150..200, 0.0),
            (0..180, 4000.0),
            (3..200, 7.0),
        ] {
            let mut samples = waveform(50.0);
            samples[range].fill(value);
            assert_eq!(defect(&samples), Some(Defect::Padded), "{value}");
        }
    }

    #[test]
    fn a_quiet_baseline_and_a_slow_pulse_are_no_defects() {
        // Zero suppression: the baseline itself stands outside the pulse.
        let mut samples = waveform(100.0);
        samples[..40].fill(1000.0);
        samples[90..].fill(1000.0);
        assert_eq!(defect(&samples), None);
        let slow: Vec<f32> = (0..200_u16)
            .map(|index| {
                let t = (f32::from(index) - 90.0) / 40.0;
                (1000.0 + 60.0 * crate::math::exp(-0.5 * t * t)).round()
            })
            .collect();
        assert_eq!(defect(&slow), None);
    }
}
