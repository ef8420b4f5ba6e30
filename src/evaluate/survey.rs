//! A survey of waveforms without any calibration: lengths, values, rails, channels, polarity.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::math;
use crate::model::{Batch, Polarity, SamplesRef, Waveform};

/// Skewness from which the data are taken to show the direction of the pulses.
const CLEAR_SKEWNESS: f64 = 0.5;
/// Samples shown per waveform.
const SHOWN_SAMPLES: usize = 8;

/// One of the first waveforms.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FirstRow {
    /// Event.
    pub event_id: u64,
    /// Channel.
    pub channel_id: u32,
    /// Number of samples.
    pub n_samples: usize,
    /// The first samples.
    pub samples: Vec<f32>,
}

/// Waveforms as they are added.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    lengths: Vec<usize>,
    events: BTreeSet<u64>,
    channels: BTreeSet<u32>,
    range: Option<(f32, f32)>,
    not_finite: u64,
    /// Waveforms that touch the lowest and the highest count; the latter needs the resolution.
    at_rails: (u64, u64),
    /// Sums of the second and third power of the samples' distance from their waveform's median.
    moments: (f64, f64),
    n_samples: u64,
    first: Vec<FirstRow>,
}

/// The result of a survey.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SurveyResult {
    /// Waveforms looked at.
    pub n_waveforms: u64,
    /// Fewest samples.
    pub samples_min: usize,
    /// Median number of samples.
    pub samples_median: usize,
    /// Most samples.
    pub samples_max: usize,
    /// Different events.
    pub n_events: usize,
    /// Lowest event.
    pub event_min: u64,
    /// Highest event.
    pub event_max: u64,
    /// Different channels.
    pub n_channels: usize,
    /// Lowest channel.
    pub channel_min: u32,
    /// Highest channel.
    pub channel_max: u32,
    /// Lowest sample.
    pub value_min: Option<f32>,
    /// Highest sample.
    pub value_max: Option<f32>,
    /// Waveforms with samples that are NaN or infinite.
    pub waveforms_not_finite: u64,
    /// Share of the waveforms that touch the lowest count; `None` for floating-point samples.
    pub share_at_lowest: Option<f64>,
    /// Share of the waveforms that touch the highest count; `None` where the resolution is not known.
    pub share_at_highest: Option<f64>,
    /// Skewness of the samples about their waveform's median.
    pub skewness: Option<f64>,
    /// The polarity according to the skewness; `None` if that is not clear.
    pub polarity_by_skewness: Option<Polarity>,
    /// The first waveforms.
    pub first: Vec<FirstRow>,
}

impl Survey {
    /// Looks at every waveform of `batch`; `adc_bits` is the digitiser's resolution where it is known. Keeps up to `n_rows` rows.
    pub fn add(&mut self, batch: &Batch, adc_bits: Option<u32>, n_rows: usize) {
        for waveform in (0..batch.len()).filter_map(|index| batch.get(index)) {
            self.add_one(waveform, adc_bits, n_rows);
        }
    }

    /// Waveforms looked at so far.
    #[must_use]
    pub fn n_waveforms(&self) -> u64 {
        self.lengths.len() as u64
    }

    fn add_one(&mut self, waveform: Waveform<'_>, adc_bits: Option<u32>, n_rows: usize) {
        let samples = waveform.samples.to_f32();
        self.lengths.push(samples.len());
        self.events.insert(waveform.event_id);
        self.channels.insert(waveform.channel_id);
        if self.first.len() < n_rows {
            self.first.push(FirstRow {
                event_id: waveform.event_id,
                channel_id: waveform.channel_id,
                n_samples: samples.len(),
                samples: samples.iter().copied().take(SHOWN_SAMPLES).collect(),
            });
        }
        let mut sorted: Vec<f32> = samples.iter().copied().filter(|s| s.is_finite()).collect();
        self.not_finite += u64::from(sorted.len() < samples.len());
        sorted.sort_unstable_by(f32::total_cmp);
        let (Some(&low), Some(&high)) = (sorted.first(), sorted.last()) else {
            return;
        };
        let range = self.range.unwrap_or((low, high));
        self.range = Some((range.0.min(low), range.1.max(high)));
        if matches!(waveform.samples, SamplesRef::U16(_)) {
            self.at_rails.0 += u64::from(low == 0.0);
            let highest = adc_bits.map(|bits| 2.0_f32.powi(bits.min(16).cast_signed()) - 1.0);
            self.at_rails.1 += u64::from(highest.is_some_and(|highest| high >= highest));
        }
        let median = f64::from(sorted[sorted.len() / 2]);
        for &sample in &sorted {
            let distance = f64::from(sample) - median;
            self.moments.0 += distance * distance;
            self.moments.1 += distance * distance * distance;
        }
        self.n_samples += sorted.len() as u64;
    }

    /// Returns the result; `None` if there was no waveform. `counts` is true for integer samples.
    #[must_use]
    pub fn finish(mut self, counts: bool, adc_bits: Option<u32>) -> Option<SurveyResult> {
        self.lengths.sort_unstable();
        let n = self.lengths.len() as f64;
        let samples = self.n_samples as f64;
        let skewness = (self.moments.0 > 0.0)
            .then(|| self.moments.1 / samples / math::powf(self.moments.0 / samples, 1.5));
        Some(SurveyResult {
            n_waveforms: self.lengths.len() as u64,
            samples_min: *self.lengths.first()?,
            samples_median: self.lengths[self.lengths.len() / 2],
            samples_max: *self.lengths.last()?,
            n_events: self.events.len(),
            event_min: *self.events.first()?,
            event_max: *self.events.last()?,
            n_channels: self.channels.len(),
            channel_min: *self.channels.first()?,
            channel_max: *self.channels.last()?,
            value_min: self.range.map(|range| range.0),
            value_max: self.range.map(|range| range.1),
            waveforms_not_finite: self.not_finite,
            share_at_lowest: counts.then_some(self.at_rails.0 as f64 / n),
            share_at_highest: (counts && adc_bits.is_some()).then_some(self.at_rails.1 as f64 / n),
            skewness,
            polarity_by_skewness: skewness.and_then(|skewness| {
                if skewness > CLEAR_SKEWNESS {
                    Some(Polarity::Positive)
                } else if skewness < -CLEAR_SKEWNESS {
                    Some(Polarity::Negative)
                } else {
                    None
                }
            }),
            first: self.first,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(pulse_adc: i32) -> Batch {
        let mut batch = Batch::new_u16(0);
        for event_id in 0..10 {
            let samples: Vec<u16> = (0..100)
                .map(|k| {
                    let noise = [0, 2, 1, -1, -2][k % 5];
                    let pulse = if (40..46).contains(&k) { pulse_adc } else { 0 };
                    u16::try_from((500 + noise + pulse).clamp(0, 1023)).unwrap()
                })
                .collect();
            batch.push(Waveform {
                event_id,
                channel_id: 3,
                start_ns: 0.0,
                samples: SamplesRef::U16(&samples),
            });
        }
        batch
    }

    fn result_of(pulse_adc: i32) -> SurveyResult {
        let mut survey = Survey::default();
        survey.add(&batch(pulse_adc), Some(10), 2);
        survey.finish(true, Some(10)).unwrap()
    }

    #[test]
    fn the_skewness_tells_the_direction_of_the_pulses() {
        assert_eq!(
            result_of(-100).polarity_by_skewness,
            Some(Polarity::Negative)
        );
        assert_eq!(
            result_of(100).polarity_by_skewness,
            Some(Polarity::Positive)
        );
        assert_eq!(result_of(0).polarity_by_skewness, None);
    }

    #[test]
    fn rails_are_counted_on_their_side() {
        let result = result_of(-600);
        assert_eq!(
            (result.share_at_lowest, result.share_at_highest),
            (Some(1.0), Some(0.0))
        );
        let result = result_of(600);
        assert_eq!(
            (result.share_at_lowest, result.share_at_highest),
            (Some(0.0), Some(1.0))
        );
        assert_eq!(result.value_max, Some(1023.0));
        assert_eq!(
            (result.n_waveforms, result.n_events, result.n_channels),
            (10, 10, 1)
        );
        assert_eq!(result.first.len(), 2);
    }
}
