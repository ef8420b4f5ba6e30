//! The methods without deconvolution: `integral` and `coti`, on the baseline-subtracted waveform itself.
//!
//! A pulse begins where the waveform exceeds the threshold and ends where it falls below. `coti` (continuous over-threshold integral) sums
//! the samples over threshold, as a front end does; `integral` finds pulses in the smoothed waveform, sums the whole pulse, from before the
//! threshold crossing to after its end, and corrects for the part of the template outside its window.

use crate::math;
use crate::model::{ChannelCalibration, Flags, Hit};

/// Samples of a pulse before the crossing and after the end, as shares of the width of the template at half its peak.
const BEFORE: f32 = 0.5;
const AFTER: f32 = 1.0;
/// Share of the height at which the leading edge is read.
pub(crate) const EDGE_HEIGHT_SHARE: f32 = 0.2;

/// The properties of a template that these methods use.
#[derive(Clone, Debug, PartialEq)]
pub struct PulseShape {
    pub(crate) sampling_ns: f32,
    /// Area in ADC counts x samples.
    pub(crate) gain: f32,
    pub(crate) before: usize,
    pub(crate) after: usize,
    /// Share of the area of the template in the window of the integral, for a photoelectron of charge 1.
    pub(crate) covered: f32,
    /// Time at which the template crosses [`EDGE_HEIGHT_SHARE`] of its peak.
    pub(crate) edge_ns: f32,
    /// Samples over which `integral` smooths to find pulses: half the width of the template at half its peak.
    pub(crate) smoothing: usize,
}

impl PulseShape {
    /// Creates the properties of the template of `row` for a threshold of `threshold_sigma` times the noise.
    #[must_use]
    pub fn new(row: &ChannelCalibration, threshold_sigma: f32) -> Self {
        let template = &row.template_adc;
        let peak_adc = template.iter().copied().fold(0.0, f32::max);
        let width = template
            .iter()
            .filter(|&&value| value > 0.5 * peak_adc)
            .count()
            .max(1) as f32;
        // The undershoot is not part of the charge here: the gain is the area of the positive pulse.
        let first = template.iter().position(|&value| value > 0.0).unwrap_or(0);
        let peak = template
            .iter()
            .position(|&value| value == peak_adc)
            .unwrap_or(first);
        let end = template[peak..]
            .iter()
            .position(|&value| value <= 0.0)
            .map_or(template.len(), |offset| peak + offset);
        let gain: f32 = template[first..end].iter().sum();
        let mut pulse = Self {
            sampling_ns: row.sampling_ns,
            gain,
            before: (BEFORE * width).ceil() as usize,
            after: (AFTER * width).ceil() as usize,
            covered: 1.0,
            edge_ns: leading_edge(template, peak, EDGE_HEIGHT_SHARE) * row.sampling_ns,
            smoothing: (0.5 * width).round().max(1.0) as usize,
        };
        let threshold_adc = threshold_sigma * row.noise_adc / (pulse.smoothing as f32).sqrt();
        if let Some((begin, last)) = span(template, threshold_adc.min(0.5 * peak_adc)) {
            let begin = begin.saturating_sub(pulse.before);
            let stop = (last + 1 + pulse.after).min(end);
            pulse.covered =
                (template[begin..stop.max(begin)].iter().sum::<f32>() / gain).clamp(0.1, 1.0);
        }
        pulse
    }
}

/// Returns the first and the last sample over `threshold`.
fn span(pulse: &[f32], threshold: f32) -> Option<(usize, usize)> {
    let first = pulse.iter().position(|&value| value > threshold)?;
    let last = pulse.iter().rposition(|&value| value > threshold)?;
    Some((first, last))
}

/// Returns where `pulse` crosses `share` of its value at `peak` on the leading edge, in samples.
fn leading_edge(pulse: &[f32], peak: usize, share: f32) -> f32 {
    let Some(&height) = pulse.get(peak) else {
        return peak as f32;
    };
    let level = share * height;
    let mut index = peak;
    while index > 0 && pulse[index - 1] > level {
        index -= 1;
    }
    if index == 0 {
        return 0.0;
    }
    let (below, above) = (pulse[index - 1], pulse[index]);
    if above > below {
        index as f32 - (above - level) / (above - below)
    } else {
        index as f32
    }
}

/// Noise of a waveform, and the threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noise {
    /// Standard deviation of one sample.
    pub sample_adc: f32,
    /// Standard deviation of the baseline.
    pub baseline_adc: f32,
    /// Threshold in standard deviations of what it is applied to.
    pub threshold_sigma: f32,
}

/// Finds the hits of the method `integral` in an upright, baseline-subtracted waveform; `smooth` is scratch memory.
pub fn find_integral(
    upright: &[f32],
    pulse: &PulseShape,
    noise: Noise,
    smooth: &mut Vec<f32>,
    hits: &mut Vec<Hit>,
) {
    let width = pulse.smoothing;
    smooth.clear();
    let mut sum = 0.0_f64;
    let at = |index: usize| upright.get(index).copied().map_or(0.0, f64::from);
    // A running sum in double precision, centred.
    let ahead = width / 2;
    for index in 0..ahead {
        sum += at(index);
    }
    for index in 0..upright.len() {
        sum += at(index + ahead);
        if index + ahead >= width {
            sum -= at(index + ahead - width);
        }
        smooth.push((sum / width as f64) as f32);
    }
    let threshold_adc = noise.threshold_sigma * noise.sample_adc / (width as f32).sqrt();
    find_pulses(upright, smooth, pulse, threshold_adc, noise, true, hits);
}

/// Finds the hits of the method `coti` in an upright, baseline-subtracted waveform.
pub fn find_coti(upright: &[f32], pulse: &PulseShape, noise: Noise, hits: &mut Vec<Hit>) {
    find_pulses(
        upright,
        upright,
        pulse,
        noise.threshold_sigma * noise.sample_adc,
        noise,
        false,
        hits,
    );
}

fn find_pulses(
    upright: &[f32],
    searched: &[f32],
    pulse: &PulseShape,
    threshold_adc: f32,
    noise: Noise,
    whole: bool,
    hits: &mut Vec<Hit>,
) {
    let mut index = 0;
    let mut previous_end = 0;
    while index < upright.len() {
        if searched[index] <= threshold_adc {
            index += 1;
            continue;
        }
        let first = index;
        // Largest distance of two samples over threshold in one pulse: 1, or, for whole pulses, the distance at which windows overlap.
        let gap = if whole { pulse.before + pulse.after } else { 1 };
        let mut last = index;
        while index < upright.len() && index <= last + gap {
            if searched[index] > threshold_adc {
                last = index;
            }
            index += 1;
        }
        index = last + 1;
        let (begin, end) = if whole {
            (
                first.saturating_sub(pulse.before).max(previous_end),
                (last + 1 + pulse.after).min(upright.len()),
            )
        } else {
            (first, last + 1)
        };
        previous_end = end;
        let peak = (first..=last).fold(first, |best, index| {
            if upright[index] > upright[best] {
                index
            } else {
                best
            }
        });
        // A single sample over threshold is noise unless the template is as narrow.
        if !whole && last == first && pulse.before > 1 {
            continue;
        }
        let covered = if whole { pulse.covered } else { 1.0 };
        let sum: f32 = upright[begin..end].iter().sum();
        let width = (end - begin) as f32;
        let mut flags = Flags::NONE;
        if first == 0 || last + 1 == upright.len() {
            flags |= Flags::TRUNCATED_AT_EDGE;
        }
        hits.push(Hit {
            time_ns: f64::from(
                leading_edge(upright, peak, EDGE_HEIGHT_SHARE) * pulse.sampling_ns - pulse.edge_ns,
            ),
            charge_pe: sum / (pulse.gain * covered),
            charge_sigma_pe: math::hypot(
                noise.sample_adc * width.sqrt(),
                noise.baseline_adc * width,
            ) / (pulse.gain * covered),
            time_sigma_ns: 0.0,
            flags,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::tests::helpers::{PEAK_ADC, juno_row, juno_template};

    const QUIET: Noise = Noise {
        sample_adc: 1.0,
        baseline_adc: 0.0,
        threshold_sigma: 5.0,
    };

    /// Two photoelectrons' worth of light at sample 100 and one at 300.
    fn upright() -> Vec<f32> {
        let mut upright = vec![0.0; 500];
        for (index, value) in juno_template(0.0).into_iter().enumerate().take(150) {
            upright[100 + index] += 2.0 * value;
            upright[300 + index] += value;
        }
        upright
    }

    #[test]
    fn a_pulse_is_one_hit_of_all_its_samples_over_threshold() {
        let pulse = PulseShape::new(&juno_row(0.0, 1.0 / PEAK_ADC), QUIET.threshold_sigma);
        let mut hits = Vec::new();
        find_coti(&upright(), &pulse, QUIET, &mut hits);
        let over: Vec<f32> = [100..300, 300..500]
            .map(|range| upright()[range].iter().filter(|&&value| value > 5.0).sum())
            .to_vec();
        assert_eq!(hits.len(), 2, "{hits:?}");
        for (hit, over) in hits.iter().zip(over) {
            assert!(
                (hit.charge_pe / (over / pulse.gain) - 1.0).abs() < 1e-5,
                "{hit:?}"
            );
        }
        assert!((hits[0].time_ns - 100.0).abs() < 0.5, "{hits:?}");
        assert!((hits[1].time_ns - 300.0).abs() < 0.5, "{hits:?}");
    }

    #[test]
    fn the_whole_integral_is_the_charge() {
        let pulse = PulseShape::new(&juno_row(0.0, 1.0 / PEAK_ADC), QUIET.threshold_sigma);
        let mut hits = Vec::new();
        find_integral(&upright(), &pulse, QUIET, &mut Vec::new(), &mut hits);
        assert_eq!(hits.len(), 2, "{hits:?}");
        for (hit, charge_pe) in hits.iter().zip([2.0, 1.0]) {
            assert!((hit.charge_pe / charge_pe - 1.0).abs() < 0.01, "{hit:?}");
        }
    }

    #[test]
    fn one_sample_over_threshold_is_no_hit() {
        let pulse = PulseShape::new(&juno_row(0.0, 1.0 / PEAK_ADC), QUIET.threshold_sigma);
        let mut spike = vec![0.0; 200];
        spike[77] = 50.0;
        let mut hits = Vec::new();
        find_coti(&spike, &pulse, QUIET, &mut hits);
        assert!(hits.is_empty(), "{hits:?}");
        spike[78] = 50.0;
        find_coti(&spike, &pulse, QUIET, &mut hits);
        assert_eq!(hits.len(), 1);
    }
}
