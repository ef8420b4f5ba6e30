//! The first look of the method `auto`: is there any light at all?
//!
//! Nine waveforms of ten have none in a detector of the JUNO class. The means of the blocks that [`load_samples`](super::load_samples) has made
//! anyway tell: without light they agree to noise / sqrt(samples). A block, or two neighbours together, that lies higher, any that lies lower,
//! and every waveform whose blocks are not known well enough go the whole way.

use super::load_samples::{BLOCKS, LoadedSamples};
use crate::extract::template_fit::template::Template;

/// Standard deviations above the others from which a block may hold light. Without light 8 in 100 waveforms exceed it; a pulse
/// that the deconvolution's threshold just reaches has 3 to 4.
pub(crate) const EMPTY_MAX_ABOVE_SIGMA: f32 = 2.8;
/// Standard deviations below the others from which a block speaks of an undershoot or a baseline that drifts.
pub(crate) const EMPTY_MAX_BELOW_SIGMA: f32 = 4.5;
/// Fewest blocks.
pub(crate) const EMPTY_MIN_BLOCKS: usize = 12;
/// Least significance of a pulse in the mean of the block that holds it, as a share of what a matched filter would give.
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
    // Whole blocks only: the last samples of a window have to be nearly all in one.
    let covered = means.len() * BLOCKS[loaded.class] + BLOCKS[loaded.class] / 2 >= samples;
    if means.len() < EMPTY_MIN_BLOCKS || !covered || share < EMPTY_MIN_SHARE || noise_adc <= 0.0 {
        return None;
    }
    // About the first one: sums of whole levels would lose digits.
    let pivot = means[0];
    let mean = pivot + means.iter().map(|mean| mean - pivot).sum::<f32>() / means.len() as f32;
    let sigma = noise_adc / block.sqrt();
    let (lit, low) = (
        EMPTY_MAX_ABOVE_SIGMA * sigma,
        -EMPTY_MAX_BELOW_SIGMA * sigma,
    );
    let pair = EMPTY_MAX_ABOVE_SIGMA * sigma * std::f32::consts::SQRT_2;
    let mut before = 0.0;
    for &level in means {
        let above = sign * (level - mean);
        if above > lit || above < low || before + above > pair {
            return None;
        }
        before = above;
    }
    Some(EmptyBaseline {
        level_adc: mean,
        sigma_adc: noise_adc / (samples as f32).sqrt(),
    })
}
