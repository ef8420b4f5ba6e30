//! Limits of the samples that the pulses of a channel can make, which tell glitches, padding and flat tops from light.

/// Margin of the sharpness of pulses: templates are interpolated linearly between samples, which rounds their peak.
const SHARPNESS_MARGIN: f32 = 1.3;
/// The same, added.
const SHARPNESS_SLACK: f32 = 0.05;
/// Sharpness above which a spike cannot be told from a pulse.
const MAX_SHARPNESS: f32 = 3.0;
/// Part of the template's peak from which its samples count.
const MIN_SHARPNESS_SHARE: f32 = 0.1;
/// Positions of the template between two samples.
const PHASES: usize = 4;
/// Samples from the beginning of the template to its peak up to which a saturated pulse may rise within one sample.
const MAX_STEEP_RISE: usize = 2;

/// The limits of one template.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PulseLimits {
    /// Most by which one sample, or the mean of two, exceeds the mean of its neighbours, as a share of that mean. Infinite if a pulse may be
    /// as narrow as that.
    pub(crate) sharpness: [f32; 2],
    /// Index of the template's highest sample.
    pub(crate) peak_index: usize,
    /// Width of the peak in samples: the height falls by x^2 / (2 width^2) at a distance x.
    pub(crate) peak_width: f32,
    /// True if a pulse may rise to its peak within one sample.
    pub(crate) is_steep: bool,
}

impl PulseLimits {
    /// Derives the limits of a template.
    pub(crate) fn new(template_adc: &[f32]) -> Self {
        let at = |position: usize, phase: usize| {
            let share = phase as f32 / PHASES as f32;
            let value = |index: Option<usize>| {
                index
                    .and_then(|index| template_adc.get(index))
                    .copied()
                    .unwrap_or(0.0)
            };
            // The pulse begins `share` of a sample later.
            value(Some(position)) * (1.0 - share) + value(position.checked_sub(1)) * share
        };
        let (peak_index, peak) =
            template_adc
                .iter()
                .enumerate()
                .fold((0, 0.0_f32), |best, (index, &value)| {
                    if value > best.1 { (index, value) } else { best }
                });
        let sharpness = [1, 2].map(|count| {
            let mut sharpest = 0.0_f32;
            for phase in 0..PHASES {
                for index in 0..=template_adc.len() {
                    let inside = (0..count)
                        .map(|offset| at(index + offset, phase))
                        .sum::<f32>()
                        / count as f32;
                    if inside < MIN_SHARPNESS_SHARE * peak {
                        continue;
                    }
                    let before = index.checked_sub(1).map_or(0.0, |index| at(index, phase));
                    let outside = 0.5 * (before + at(index + count, phase));
                    sharpest = sharpest.max(if outside > 0.0 {
                        inside / outside - 1.0
                    } else {
                        f32::INFINITY
                    });
                }
            }
            let limit = SHARPNESS_MARGIN * sharpest + SHARPNESS_SLACK;
            if limit < MAX_SHARPNESS {
                limit
            } else {
                f32::INFINITY
            }
        });
        let before = peak_index
            .checked_sub(1)
            .map_or(0.0, |index| template_adc[index]);
        let after = template_adc.get(peak_index + 1).copied().unwrap_or(0.0);
        let bend = (2.0 * peak - before - after).max(f32::MIN_POSITIVE);
        Self {
            sharpness,
            peak_index,
            peak_width: (peak / bend).max(0.0).sqrt(),
            is_steep: peak_index <= MAX_STEEP_RISE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::tests::helpers::juno_template;

    #[test]
    fn a_pulse_of_the_template_stays_within_its_limits() {
        let template = juno_template(0.05);
        for step in [1, 2, 4] {
            let coarse: Vec<f32> = template.iter().step_by(step).copied().collect();
            let limits = PulseLimits::new(&coarse);
            for phase in 0..step {
                let shifted: Vec<f32> =
                    template.iter().skip(phase).step_by(step).copied().collect();
                for three in shifted.windows(3) {
                    let outside = 0.5 * (three[0] + three[2]);
                    if three[1] > 12.0 && outside > 0.0 {
                        assert!(
                            three[1] / outside - 1.0 <= limits.sharpness[0],
                            "{step} {phase} {three:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_template_of_one_sample_has_no_limit() {
        let limits = PulseLimits::new(&[100.0, 0.0, 0.0]);
        assert_eq!(limits.sharpness[0], f32::INFINITY);
        assert!(limits.is_steep);
    }
}
