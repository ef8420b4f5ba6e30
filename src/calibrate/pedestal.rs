//! Robust estimate of the pedestal of a waveform: level and noise of the samples without pulses.

/// Level and noise of samples without light.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pedestal {
    /// Mean of the samples without light.
    pub level_adc: f64,
    /// Their standard deviation.
    pub noise_adc: f64,
}

/// Minimum noise of integers: their rounding alone has 1/sqrt(12).
pub(super) const MIN_NOISE_ADC: f64 = 0.29;
/// Minimum noise of other numbers, whatever their unit, as a share of the range of the samples.
const MIN_NOISE_SHARE: f64 = 1e-5;
const CLIP_SIGMA: f64 = 3.5;
/// Distance from the center within which every sample counts, in units of the minimum noise: half a step of integers.
const ALWAYS_WITHIN: f64 = 0.5 / MIN_NOISE_ADC;
/// Standard deviation of a normal distribution over that of the same cut at 3.5 sigma.
const CLIP_CORRECTION: f64 = 1.001;

/// Returns the least noise that the samples can have.
pub(super) fn min_noise_adc(samples: &[f32]) -> f64 {
    if samples.iter().all(|sample| sample.fract() == 0.0) {
        return MIN_NOISE_ADC;
    }
    let (low, high) = samples.iter().fold(
        (f32::INFINITY, f32::NEG_INFINITY),
        |(low, high), &sample| (low.min(sample), high.max(sample)),
    );
    MIN_NOISE_SHARE * f64::from(high - low)
}

/// Returns mean and standard deviation of the samples (upright: light is positive) within 3.5 sigma of the median, where
/// sigma comes from the samples below the median, which contain no pulses. `None` if a sample is not finite or there are fewer
/// than 8.
pub(super) fn estimate_pedestal(samples: &[f32], scratch: &mut Vec<f32>) -> Option<Pedestal> {
    if samples.len() < 8 || samples.iter().any(|sample| !sample.is_finite()) {
        return None;
    }
    scratch.clear();
    scratch.extend_from_slice(samples);
    let half = scratch.len() / 2;
    let (below, &mut median, _) = scratch.select_nth_unstable_by(half, f32::total_cmp);
    // 15.87 % of a normal distribution lie more than one sigma below its median.
    let (_, &mut low, _) =
        below.select_nth_unstable_by((half as f64 * 0.3173) as usize, f32::total_cmp);
    let mut center = f64::from(median);
    let min_noise_adc = min_noise_adc(samples);
    let mut sigma = (center - f64::from(low)).max(min_noise_adc);
    // The second round is centred on the mean: the median of integers is one itself.
    for _ in 0..2 {
        let mut n = 0.0_f64;
        let mut sum = 0.0;
        let mut sum_squares = 0.0;
        for &sample in samples {
            let distance = f64::from(sample) - center;
            if distance.abs() <= CLIP_SIGMA * sigma + ALWAYS_WITHIN * min_noise_adc {
                n += 1.0;
                sum += distance;
                sum_squares += distance * distance;
            }
        }
        if n < 2.0 {
            return None;
        }
        let mean = sum / n;
        sigma = (sum_squares / n - mean * mean).max(0.0).sqrt() * CLIP_CORRECTION;
        sigma = sigma.max(min_noise_adc);
        center += mean;
    }
    Some(Pedestal {
        level_adc: center,
        noise_adc: sigma,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_distr::{Distribution, Normal};

    #[test]
    fn level_and_noise_survive_pulses_and_rounding() {
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for noise in [0.8_f64, 4.0, 30.0] {
            let normal = Normal::new(0.0, noise).expect("valid");
            for level in [120.4, 15_500.7] {
                let samples: Vec<f32> = (0..20_000)
                    .map(|index| {
                        let light = if index % 10 == 0 { 25.0 * noise } else { 0.0 };
                        (level + normal.sample(&mut random) + light).round() as f32
                    })
                    .collect();
                let found = estimate_pedestal(&samples, &mut Vec::new()).expect("found");
                assert!((found.level_adc - level).abs() < 0.03 * noise, "{found:?}");
                let expected = (noise * noise + 1.0 / 12.0_f64).sqrt();
                assert!((found.noise_adc / expected - 1.0).abs() < 0.03, "{found:?}");
            }
        }
    }

    #[test]
    fn a_sample_that_is_not_finite_makes_it_unknown() {
        let mut samples = vec![1.0; 100];
        assert!(estimate_pedestal(&samples, &mut Vec::new()).is_some());
        samples[50] = f32::NAN;
        assert_eq!(estimate_pedestal(&samples, &mut Vec::new()), None);
    }
}
