//! Templates whose tail cancels the area of their pulse, as AC coupling makes them.

use crate::math;

/// Smallest area of a template, as a share of the area of its pulse.
const MIN_AREA: f64 = 0.2;

/// Returns the template, with a tail that decays faster if the area of the tail would cancel that of the pulse.
///
/// With AC coupling the area of a pulse and its tail is 0: a change of the light level and one of the baseline look alike after a
/// while, and the inverse grows beyond all bounds. The tail after the pulse is multiplied by a decaying exponential, so that
/// [`MIN_AREA`] remains; what is missing of the tail is slow, and is followed like a baseline that moves.
pub(super) fn with_min_area(template_adc: &[f32]) -> Vec<f64> {
    let mut template: Vec<f64> = template_adc.iter().map(|&value| f64::from(value)).collect();
    // The pulse ends where the sum is at its maximum.
    let (mut end, mut pulse, mut sum) = (0, 0.0, 0.0);
    for (index, value) in template.iter().enumerate() {
        sum += value;
        if sum > pulse {
            (end, pulse) = (index + 1, sum);
        }
    }
    if sum >= MIN_AREA * pulse {
        return template;
    }
    let tail = &mut template[end..];
    let area = |rate: f64| {
        let terms = tail.iter().enumerate();
        pulse
            + terms
                .map(|(at, value)| value * math::exp(-rate * at as f64))
                .sum::<f64>()
    };
    // By bisection, between a decay over the whole tail and one over a part of a sample.
    let (mut slow, mut fast) = (0.0, 16.0);
    for _ in 0..60 {
        let rate = 0.5 * (slow + fast);
        if area(rate) < MIN_AREA * pulse {
            slow = rate;
        } else {
            fast = rate;
        }
    }
    for (at, value) in tail.iter_mut().enumerate() {
        *value *= math::exp(-fast * at as f64);
    }
    template
}
