//! Padding: runs of one constant value from or to the edge of the window, as records of different lengths get when they are stored in one
//! array. They are no samples; the rest is extracted as a shorter window.

use std::ops::Range;

use super::load_samples::{LoadedSamples, load_samples};
use super::{baseline, flat_top};
use crate::model::{Flags, SamplesRef};

/// Number of equal samples at an edge from which any value may be padding; fewer have to be one of the usual values of padding.
pub(crate) const MIN_PADDING_RUN: usize = 8;
/// Least number of samples that are left.
pub(crate) const MIN_PADDING_REST: usize = 16;
/// Distance of a run from the baseline from which it is padding, in standard deviations of the noise; ...
const MIN_DISTANCE: f32 = 5.0;
/// ... for a run that noise does not make; ...
const MIN_LONG_DISTANCE: f32 = 1.0;
/// ... and for fewer samples than [`MIN_PADDING_RUN`].
const MIN_SHORT_DISTANCE: f32 = 20.0;
/// Least difference of a run and the sample next to it, in standard deviations of the noise.
pub(crate) const MIN_PADDING_JUMP: f32 = 2.0;
/// Distance from the baseline up to which the sample next to a run is no part of a pulse that saturates, in standard deviations of the noise.
const MAX_NEIGHBOUR_DISTANCE: f32 = 8.0;
/// Least step of a pulse that rises to saturation, in standard deviations of the noise, ...
const MIN_RISE: f32 = 2.0;
/// ... and the factor by which the next step may be larger.
const MAX_STEP_GROWTH: f32 = 30.0;

/// The properties of the channel that decide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PaddingLimits {
    /// Calibrated noise of a sample; 0 if not known.
    pub(crate) noise_adc: f32,
    /// Lowest and highest value of the digitizer.
    pub(crate) rails: (f32, f32),
    /// Samples of a run at a rail up to which a steep pulse may have made it; 0 if no pulse rises within one sample.
    pub(crate) max_saturated: usize,
}

/// Returns the part of the window that holds samples. `edges` are those that [`constant_edges`] found; `loaded` is scratch memory.
pub(crate) fn window_without_padding(
    samples: SamplesRef<'_>,
    edges: Range<usize>,
    limits: PaddingLimits,
    loaded: &mut LoadedSamples,
    sorted: &mut Vec<f32>,
) -> Range<usize> {
    let length = samples.len();
    let rest = samples.range(edges.clone());
    let flags = load_samples(rest, limits.rails, loaded);
    if flags.contains(Flags::NON_FINITE) {
        return 0..length;
    }
    let noise_adc = limits
        .noise_adc
        .max(baseline::measured_noise_adc(loaded, sorted));
    let level_adc = baseline::estimate_baseline(loaded, sorted).level_adc;
    let last = edges.len() - 1;
    let equal_run = flat_top::equal_run(noise_adc);
    // `neighbour` is the sample next to the run, `further` the one beyond it.
    let is_padding = |run: usize, value: f32, neighbour: usize, further: usize| {
        if run == 0 {
            return false;
        }
        if value.is_nan() {
            return true;
        }
        let min_distance = if run < MIN_PADDING_RUN {
            MIN_SHORT_DISTANCE
        } else if run < equal_run {
            MIN_DISTANCE
        } else {
            MIN_LONG_DISTANCE
        };
        let neighbour = loaded.sample(neighbour).unwrap_or(level_adc);
        let further = loaded.sample(further).unwrap_or(level_adc);
        (value - level_adc).abs() > min_distance * noise_adc
            && !may_saturate(
                [further, neighbour, value].map(|sample| sample - level_adc),
                noise_adc,
            )
            && (run > limits.max_saturated || !is_rail(value, limits.rails))
    };
    let value_at = |index: usize| samples.sample(index).unwrap_or(f32::NAN);
    let begin = if is_padding(edges.start, value_at(0), 0, 1) {
        edges.start
    } else {
        0
    };
    let trailing = length - edges.end;
    let end = if is_padding(trailing, value_at(length - 1), last, last.saturating_sub(1)) {
        edges.end
    } else {
        length
    };
    begin..end
}

/// True if a pulse that rises over the first two samples may saturate in the third. All are distances from the baseline.
fn may_saturate([first, second, value]: [f32; 3], noise_adc: f32) -> bool {
    let sign = value.signum();
    let (first, second, value) = (sign * first, sign * second, sign * value);
    let near = MAX_NEIGHBOUR_DISTANCE * noise_adc;
    if second.abs() <= near {
        return false;
    }
    // A pulse that has just begun may rise by any factor.
    if first.abs() <= near && second > first {
        return true;
    }
    let step = second - first;
    step > MIN_RISE * noise_adc && value - second <= MAX_STEP_GROWTH * step
}

fn is_rail(value: f32, rails: (f32, f32)) -> bool {
    value <= rails.0 || value >= rails.1
}

/// Returns the window without runs at its edges that may be padding; `None` if there are none, or nothing else.
pub(crate) fn constant_edges(
    samples: SamplesRef<'_>,
    limits: PaddingLimits,
) -> Option<Range<usize>> {
    match samples {
        SamplesRef::U16(samples) => {
            edges_of(samples.len(), |index| f32::from(samples[index]), limits)
        }
        SamplesRef::F32(samples) => edges_of(samples.len(), |index| samples[index], limits),
    }
}

fn edges_of(
    length: usize,
    sample: impl Fn(usize) -> f32,
    limits: PaddingLimits,
) -> Option<Range<usize>> {
    if length <= MIN_PADDING_REST {
        return None;
    }
    let is_usual = |value: f32| {
        value.is_nan() || is_rail(value, limits.rails) || [0.0, -1.0, 65535.0].contains(&value)
    };
    let is_same = |a: f32, b: f32| a == b || (a.is_nan() && b.is_nan());
    let first = sample(0);
    let leading = (1..length).find(|&index| !is_same(sample(index), first))?;
    let last = sample(length - 1);
    let trailing = (1..length).find(|&index| !is_same(sample(length - 1 - index), last))?;
    // Where the noise is less than a count, equal samples are common.
    let may_be_padding = |run: usize, value: f32, neighbour: f32| {
        (run >= MIN_PADDING_RUN || is_usual(value))
            && (value.is_nan() || (value - neighbour).abs() > MIN_PADDING_JUMP * limits.noise_adc)
    };
    let begin = if may_be_padding(leading, first, sample(leading)) {
        leading
    } else {
        0
    };
    let neighbour = sample(length - 1 - trailing);
    let end = if may_be_padding(trailing, last, neighbour) {
        length - trailing
    } else {
        length
    };
    ((begin > 0 || end < length) && begin + MIN_PADDING_REST <= end).then_some(begin..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::tests::helpers::{PEAK_ADC, gaussian, juno_pulse};

    fn found(samples: &[f32], rails: (f32, f32)) -> Option<Range<usize>> {
        let limits = PaddingLimits {
            noise_adc: 8.0,
            rails,
            max_saturated: 0,
        };
        window_of(samples, limits)
    }

    /// Returns the window without padding; `None` if it is all of it.
    fn window_of(samples: &[f32], limits: PaddingLimits) -> Option<Range<usize>> {
        let samples = SamplesRef::F32(samples);
        let (loaded, sorted) = (&mut LoadedSamples::default(), &mut Vec::new());
        let edges = constant_edges(samples, limits)?;
        let window = window_without_padding(samples, edges, limits, loaded, sorted);
        (window.len() < samples.len()).then_some(window)
    }

    fn noisy(length: usize) -> Vec<f32> {
        gaussian(5, length)
            .into_iter()
            .map(|value| (4000.0 + 8.0 * value).round())
            .collect()
    }

    const RAILS: (f32, f32) = (0.0, 16383.0);

    #[test]
    fn runs_of_one_value_at_the_edges_are_padding() {
        for n in [1, 2, 10, 100, 700] {
            for value in [0.0, -1.0, 65535.0, f32::NAN] {
                let mut samples = noisy(1000);
                samples[1000 - n..].fill(value);
                assert_eq!(found(&samples, RAILS), Some(0..1000 - n), "{n} {value}");
                let mut samples = noisy(1000);
                samples[..n].fill(value);
                assert_eq!(found(&samples, RAILS), Some(n..1000), "{n} {value}");
            }
        }
        let mut samples = noisy(1000);
        samples[900..].fill(1234.0);
        samples[..20].fill(0.0);
        assert_eq!(found(&samples, RAILS), Some(20..900));
    }

    #[test]
    fn the_baseline_and_saturated_pulses_are_no_padding() {
        assert_eq!(found(&noisy(1000), RAILS), None);
        // Suppressed to the baseline.
        let mut samples = noisy(1000);
        samples[600..].fill(4003.0);
        assert_eq!(found(&samples, RAILS), None);
        // A pulse that is still saturated at the end of the window.
        let mut samples = noisy(1000);
        for (index, sample) in samples.iter_mut().enumerate().skip(950) {
            *sample = (*sample - 800.0 * (index - 949) as f32).max(0.0);
        }
        assert_eq!(found(&samples, RAILS), None);
        assert_eq!(found(&[0.0; 1000], RAILS), None);
    }

    #[test]
    fn a_pulse_without_noise_that_saturates_at_the_end_is_no_padding() {
        let samples: Vec<f32> = (0..1000)
            .map(|index| {
                let pulse = juno_pulse(f64::from(index) - 990.0, 0.05);
                (4000.0 - 1000.0 * PEAK_ADC * pulse as f32).max(0.0).round()
            })
            .collect();
        let limits = PaddingLimits {
            noise_adc: 0.0,
            rails: RAILS,
            max_saturated: 0,
        };
        assert_eq!(window_of(&samples, limits), None);
    }

    #[test]
    fn padding_after_a_pulse_that_it_cuts_is_padding() {
        for charge in [1.0, 5.0, 20.0] {
            for (since, value) in [(15.0, 0.0), (25.0, 0.0), (40.0, 0.0), (20.0, 16383.0)] {
                let mut samples = noisy(1000);
                for (index, sample) in samples.iter_mut().enumerate().take(900) {
                    *sample -=
                        PEAK_ADC * charge * juno_pulse(index as f64 - 900.0 + since, 0.05) as f32;
                }
                samples[900..].fill(value);
                assert_eq!(
                    found(&samples, RAILS),
                    Some(0..900),
                    "{charge} {since} {value}"
                );
            }
        }
    }
}
