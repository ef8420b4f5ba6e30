//! The height and the area of the pulses of a waveform, before any of them is extracted.

use super::baseline;
use super::extractor::Extractor;
use super::workspace::Workspace;
use crate::model::{Flags, Waveform};

/// Samples at either edge of the window whose pulses are not measured: they may be incomplete.
const EDGE_SAMPLES: usize = 2;
/// Part of the height from which a sample belongs to the top of a pulse.
const TOP_SHARE: f32 = 0.5;

/// The height of the pulses of a waveform, and the area of their tops.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PulseHeight {
    /// Height of the highest sample above the baseline.
    pub(crate) height_adc: f32,
    /// Sum of the samples of at least half the height, in ADC counts x samples.
    pub(crate) area_adc_samples: f32,
    /// Standard deviation of the area from noise.
    pub(crate) area_noise_adc_samples: f32,
    /// The row of the calibration.
    pub(crate) row: usize,
}

impl Extractor {
    /// Returns height and area of the pulses of a waveform; `None` if it has glitches or padding, its highest sample is at a rail or at an
    /// edge, or the noise of its channel is not known. A flat top below the rails has a height.
    pub(crate) fn pulse_height(
        &self,
        waveform: Waveform<'_>,
        work: &mut Workspace,
    ) -> Option<PulseHeight> {
        let (row, _) = self.calibration().row_of(waveform.channel_id)?;
        let noise_adc = self.calibrated_noise_adc(self.channel(row));
        if noise_adc <= 0.0 {
            return None;
        }
        let flags = self.load(waveform, Some(row), work);
        let unusable = Flags::NON_FINITE | Flags::FLAT | Flags::PADDED | Flags::SATURATED;
        if flags.intersects(unusable)
            || self.check_samples(row, flags, work).contains(Flags::GLITCH)
        {
            return None;
        }
        let Workspace { loaded, sorted, .. } = work;
        let level_adc = baseline::estimate_baseline(loaded, sorted).level_adc;
        let sign = self.readout().polarity.sign();
        let extreme = if sign > 0.0 {
            loaded.highest
        } else {
            loaded.lowest
        };
        let n_samples = loaded.even.len() + loaded.odd.len();
        let edges = (0..EDGE_SAMPLES.min(n_samples))
            .chain(n_samples.saturating_sub(EDGE_SAMPLES)..n_samples);
        let mut edges = edges.filter_map(|index| loaded.sample(index));
        if edges.any(|sample| sample == extreme) {
            return None;
        }
        let height_adc = sign * (extreme - level_adc);
        let tops = loaded
            .even
            .iter()
            .chain(&loaded.odd)
            .map(|sample| sign * (sample - level_adc));
        let (area_adc_samples, n_top) = area_of_top(tops, height_adc);
        Some(PulseHeight {
            height_adc,
            area_adc_samples,
            area_noise_adc_samples: noise_adc * (n_top as f32).sqrt(),
            row,
        })
    }
}

/// Returns the sum of the samples of at least half of `height`, and their number.
pub(crate) fn area_of_top(upright: impl Iterator<Item = f32>, height: f32) -> (f32, u32) {
    let top = upright.filter(|&sample| sample >= TOP_SHARE * height);
    top.fold((0.0, 0), |(area, count), sample| (area + sample, count + 1))
}
