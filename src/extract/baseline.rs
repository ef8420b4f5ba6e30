//! Stage 2: baseline (pedestal) and noise from the raw samples, robust against pulses and their undershoot.
//!
//! A block of samples is quiet if its variance is that of noise. Undershoot tails are quiet too, but their levels are spread out while
//! the blocks without light agree: the baseline is the densest cluster of the means of quiet blocks.

use super::load_samples::{BLOCKS, LoadedSamples, ROUNDING_ADC};
use super::select_nth::select_nth;

/// Quantile of the block variances that gives the noise: low, so that light in up to 70 % of the blocks does not matter.
pub(crate) const NOISE_QUANTILE: f32 = 0.25;
/// The 25 % quantile of the variance of 8, 16 and 32 Gaussian samples (the sizes of [`BLOCKS`]), in units of the true
/// variance (chi-square with 7, 15 and 31 degrees of freedom).
pub(crate) const NOISE_QUANTILE_OF_GAUSSIAN: [f32; 3] = [0.6078, 0.7358, 0.8190];
/// Largest variance of a quiet block, in units of the variance of the noise (the 99.9 % quantiles).
pub(crate) const QUIET_VARIANCE: [f32; 3] = [3.475, 2.513, 1.971];
/// Half width of the cluster of block means, in standard deviations of the mean of a block.
pub(crate) const CLUSTER_SIGMA: f32 = 2.0;
/// Number of agreeing blocks below which the baseline is flagged as unstable.
pub(crate) const MIN_BASELINE_BLOCKS: usize = 4;

/// Baseline and noise from the raw samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Baseline {
    /// Level without light, in ADC counts as recorded.
    pub level_adc: f32,
    /// Standard deviation of that level.
    pub sigma_adc: f32,
    /// Standard deviation of one sample where there is no light.
    pub noise_adc: f32,
    /// Blocks that agree on the level.
    pub n_blocks: usize,
}

/// Returns the noise of a sample from the variances of the blocks; `sorted` is scratch memory.
///
/// Formula: the square root of the 25 % quantile of the block variances over that of Gaussian noise.
#[must_use]
pub fn measured_noise_adc(loaded: &LoadedSamples, sorted: &mut Vec<f32>) -> f32 {
    if loaded.block_variance.is_empty() {
        return 0.0;
    }
    sorted.clear();
    sorted.extend_from_slice(&loaded.block_variance);
    let rank = ((sorted.len() - 1) as f32 * NOISE_QUANTILE) as usize;
    (select_nth(sorted, rank) / NOISE_QUANTILE_OF_GAUSSIAN[loaded.class]).sqrt()
}

/// Returns the level of the quietest block: fast, and good enough where a later stage corrects it.
#[must_use]
pub fn rough_level_adc(loaded: &LoadedSamples) -> f32 {
    let mut best = (f32::INFINITY, 0.0);
    for (&mean, &variance) in loaded.block_mean.iter().zip(&loaded.block_variance) {
        if variance < best.0 {
            best = (variance, mean);
        }
    }
    best.1
}

/// Returns baseline and noise of a waveform from means and variances of its blocks; `sorted` is scratch memory.
#[must_use]
pub fn estimate_baseline(loaded: &LoadedSamples, sorted: &mut Vec<f32>) -> Baseline {
    let noise_adc = measured_noise_adc(loaded, sorted);
    let quiet = QUIET_VARIANCE[loaded.class];
    let block = BLOCKS[loaded.class] as f32;
    // Rounding adds this uncertainty even without noise.
    let noise_floor = noise_adc.max(ROUNDING_ADC);
    sorted.clear();
    sorted.extend(
        loaded
            .block_mean
            .iter()
            .zip(&loaded.block_variance)
            .filter(|&(_, &variance)| variance <= quiet * noise_floor * noise_floor)
            .map(|(&mean, _)| mean),
    );
    sorted.sort_unstable_by(f32::total_cmp);
    let width = 2.0 * CLUSTER_SIGMA * noise_floor / block.sqrt();
    let (mut begin, mut best) = (0, 0..0);
    for end in 1..=sorted.len() {
        while sorted[end - 1] - sorted[begin] > width {
            begin += 1;
        }
        if end - begin > best.len() {
            best = begin..end;
        }
    }
    let cluster = sorted.get(best).unwrap_or_default();
    if cluster.is_empty() {
        return Baseline {
            level_adc: rough_level_adc(loaded),
            noise_adc,
            ..Baseline::default()
        };
    }
    // Differences to the highest level are summed: sums of whole levels would lose digits.
    let highest = cluster.last().copied().unwrap_or_default();
    let below: f32 = cluster.iter().map(|level| highest - level).sum();
    let level_adc = highest - below / cluster.len() as f32;
    let sigma_adc = noise_floor / (cluster.len() as f32 * block).sqrt();
    Baseline {
        level_adc,
        sigma_adc,
        noise_adc,
        n_blocks: cluster.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::load_samples::load_samples;
    use super::*;
    use crate::extract::tests::helpers::{gaussian, juno_template};
    use crate::model::SamplesRef;

    fn baseline_of(samples: &[f32]) -> Baseline {
        let mut loaded = LoadedSamples::default();
        load_samples(
            SamplesRef::F32(samples),
            (f32::NEG_INFINITY, f32::INFINITY),
            &mut loaded,
        );
        estimate_baseline(&loaded, &mut Vec::new())
    }

    fn noisy(seed: u64, level: f32, noise: f32) -> Vec<f32> {
        gaussian(seed, 1000)
            .into_iter()
            .map(|value| level + noise * value)
            .collect()
    }

    #[test]
    fn level_and_noise_of_noise_alone() {
        let all: Vec<Baseline> = (0..200)
            .map(|seed| baseline_of(&noisy(seed, 4000.0, 3.0)))
            .collect();
        let mean = all.iter().map(|one| one.level_adc - 4000.0).sum::<f32>() / 200.0;
        let noise = all.iter().map(|one| one.noise_adc).sum::<f32>() / 200.0;
        assert!(mean.abs() < 0.05, "bias {mean}");
        assert!((noise - 3.0).abs() < 0.05, "noise {noise}");
        let pull = all
            .iter()
            .map(|one| ((one.level_adc - 4000.0) / one.sigma_adc).powi(2))
            .sum::<f32>()
            / 200.0;
        assert!((0.7..1.6).contains(&pull), "the stated error holds: {pull}");
    }

    #[test]
    fn an_early_pulse_and_its_undershoot_do_not_move_it() {
        let template = juno_template(0.10);
        for at in [0, 5, 40, 300] {
            let mut samples = noisy(7, 4000.0, 3.0);
            for (sample, response) in samples[at..].iter_mut().zip(&template) {
                *sample -= 20.0 * response;
            }
            let found = baseline_of(&samples);
            assert!(
                (found.level_adc - 4000.0).abs() < 1.5,
                "pulse at {at}: {found:?}"
            );
            assert!(
                (found.noise_adc - 3.0).abs() < 0.7,
                "pulse at {at}: {found:?}"
            );
        }
    }

    #[test]
    fn a_noiseless_waveform_has_its_level() {
        let found = baseline_of(&[812.0; 100]);
        assert_eq!((found.level_adc, found.noise_adc), (812.0, 0.0));
    }
}
