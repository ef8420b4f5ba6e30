//! Test of the method `auto` for an empty waveform, one without light (zero suppression).
//!
//! In a detector of the JUNO class nine of ten waveforms are empty. The means of the blocks that [`load_samples`](super::load_samples) computes
//! show it: without light they agree to noise / sqrt(samples). A waveform with a block, or with two neighbouring blocks, above, with any block
//! below, or with blocks that are not precise enough, is extracted in full.

use super::load_samples::{BLOCKS, LoadedSamples};
use crate::extract::template_fit::template::Template;

/// Standard deviations above the mean from which a block may hold light. 8 of 100 empty waveforms exceed it; a pulse at the threshold of
/// the deconvolution has 3 to 4.
pub(crate) const EMPTY_MAX_ABOVE_SIGMA: f32 = 2.8;
/// Standard deviations below the mean from which a block may hold an undershoot or a baseline that drifts.
pub(crate) const EMPTY_MAX_BELOW_SIGMA: f32 = 4.5;
/// Least number of blocks.
pub(crate) const EMPTY_MIN_BLOCKS: usize = 12;
/// Least significance of a pulse in the mean of its block, relative to a matched filter.
pub(crate) const EMPTY_MIN_SHARE: f32 = 0.6;

/// Baseline of an empty waveform.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EmptyBaseline {
    /// Level in ADC counts as recorded.
    pub level_adc: f32,
    /// Standard deviation of that level.
    pub sigma_adc: f32,
}

/// Returns the baseline if the waveform is empty. `sign` is the polarity of pulses, `noise_adc` the noise of a sample.
#[must_use]
pub fn find_empty_baseline(
    loaded: &LoadedSamples,
    template: &Template,
    sign: f32,
    noise_adc: f32,
) -> Option<EmptyBaseline> {
    let means = loaded.block_mean.as_slice();
    let block = BLOCKS[loaded.class] as f32;
    let samples = loaded.even.len() + loaded.odd.len();
    let share = template.main_area() / (block * template.squares[0]).sqrt();
    if means.len() < EMPTY_MIN_BLOCKS || share < EMPTY_MIN_SHARE || noise_adc <= 0.0 {
        return None;
    }
    // Differences to the first level are summed: sums of whole levels would lose digits.
    let pivot = means[0];
    let mean = pivot + means.iter().map(|mean| mean - pivot).sum::<f32>() / means.len() as f32;
    let sigma = noise_adc / block.sqrt();
    let max_above = EMPTY_MAX_ABOVE_SIGMA * sigma;
    let max_below = EMPTY_MAX_BELOW_SIGMA * sigma;
    let max_pair = EMPTY_MAX_ABOVE_SIGMA * sigma * std::f32::consts::SQRT_2;
    let mut before = 0.0;
    for &level in means {
        let above = sign * (level - mean);
        if above > max_above || above < -max_below || before + above > max_pair {
            return None;
        }
        before = above;
    }
    // There are whole blocks only: if they do not end with the window, its last samples are one more block.
    let size = BLOCKS[loaded.class];
    if means.len() * size < samples {
        let sum: f32 = (samples - size..samples)
            .filter_map(|index| loaded.sample(index))
            .map(|sample| sample - mean)
            .sum();
        let above = sign * sum / block;
        if above > max_above || above < -max_below {
            return None;
        }
    }
    Some(EmptyBaseline {
        level_adc: mean,
        sigma_adc: noise_adc / (samples as f32).sqrt(),
    })
}
