//! What the stages' unit tests share: a JUNO-like template and reproducible noise.

use rand::RngExt as _;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::model::{ChannelCalibration, Flags};

/// Peak of [`juno_template`].
pub const PEAK_ADC: f32 = 115.0;

/// `count` numbers of a standard normal distribution.
pub fn gaussian(seed: u64, count: usize) -> Vec<f32> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| random.sample(StandardNormal)).collect()
}

/// Value at `t_ns` of a log-normal pulse (peak 1 at 13 ns) with an undershoot of `undershoot`, decaying in 100 ns.
pub fn juno_pulse(t_ns: f64, undershoot: f64) -> f64 {
    let log_normal = |t: f64| if t > 0.0 { (-0.5 * ((t / 13.0).ln() / 0.43).powi(2)).exp() } else { 0.0 };
    if t_ns <= 0.0 {
        return 0.0;
    }
    // Convolution with the decay, by the midpoint rule over the pulse.
    let step = 0.25;
    let tail: f64 = (0..(t_ns.min(80.0) / step).ceil() as usize)
        .map(|index| {
            let at = (index as f64 + 0.5) * step;
            if at < t_ns { log_normal(at) * (-(t_ns - at) / 100.0).exp() * step } else { 0.0 }
        })
        .sum();
    log_normal(t_ns) - undershoot / 15.37 * tail
}

/// The pulse at whole nanoseconds, 700 of them, with a peak of [`PEAK_ADC`].
pub fn juno_template(undershoot: f32) -> Vec<f32> {
    (0..700).map(|t| PEAK_ADC * juno_pulse(f64::from(t), f64::from(undershoot)) as f32).collect()
}

/// A calibration row with that template, and noise of `noise` of its peak.
pub fn juno_row(undershoot: f32, noise: f32) -> ChannelCalibration {
    ChannelCalibration {
        template_adc: juno_template(undershoot),
        noise_adc: noise * PEAK_ADC,
        time_offset_ns: 0.0,
        dark_rate_hz: 0.0,
        charge_sigma_pe: 0.3,
        time_sigma_ns: 1.3,
        sampling_ns: 1.0,
        flags: Flags::NONE,
    }
}
