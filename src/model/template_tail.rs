//! Does a template end before its tail does? The tail is then continued by an exponential.
//!
//! A template that stops while its undershoot is still recovering has a step at its end. Deconvolution turns the part of every pulse after
//! that step into light.

use std::ops::Range;

use super::MAX_SAMPLES;
use crate::math;

/// A template has come to rest where the mean of its last tenth is below this share of its peak.
const REST_SHARE: f64 = 1e-3;
/// The same mean in standard deviations; less may be noise.
const REST_SIGMA: f64 = 3.0;
/// The tail begins where the template stays below this share of its peak.
const TAIL_SHARE: f64 = 0.05;
/// Minimum number of samples of a fit.
const MIN_FIT_SAMPLES: usize = 16;
/// A continued tail ends below this share of the peak.
const END_SHARE: f64 = 1e-4;
/// A continued template has at most so many samples, or twice its own.
const MAX_CONTINUED: usize = 16_384;
/// The decay has to be visible with this significance.
const MIN_SIGNIFICANCE: f64 = 3.0;
/// Decay constants that are tried: per factor of e.
const STEPS: f64 = 40.0;
/// Parts of the tail that are fitted, from its end on.
const PARTS: [f64; 3] = [1.0 / 3.0, 0.5, 0.75];
/// A longer part is used if the variance about it is at most so many times that of the shortest.
const MAX_SCATTER: f64 = 1.3;

/// The end of a template.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Tail {
    /// The template has come to rest.
    AtRest,
    /// The template ended before its tail; an exponential continues it.
    Continued {
        /// Its decay constant in samples.
        decay_samples: f64,
        /// Samples after which the tail is below a thousandth of the peak.
        rest_samples: usize,
    },
    /// The template ends before its tail, whose decay its end does not show.
    Undetermined,
}

/// Continues the tail of `template` if it has not come to rest; else it stays as it is. A template whose last sample is 0 ends where the program that
/// made it wanted it to end.
pub(crate) fn continue_tail(template: &mut Vec<f32>) -> Tail {
    if template.last().is_none_or(|&last| last == 0.0) {
        return Tail::AtRest;
    }
    let samples: Vec<f64> = template.iter().map(|&value| f64::from(value)).collect();
    let noise = noise_of(&samples[last_tenth(samples.len())]);
    let Some(end) = TailEnd::new(&samples, noise, 0.0) else {
        return Tail::AtRest;
    };
    match end.fit {
        Some(fit) => {
            template.extend(fit.samples().map(|value| value as f32));
            fit.outcome()
        }
        None => Tail::Undetermined,
    }
}

/// The end of a template that has not come to rest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TailEnd {
    /// Mean of the last tenth, as share of the peak.
    pub share: f64,
    /// The exponential that continues it, if one is determined.
    pub fit: Option<TailFit>,
}

impl TailEnd {
    /// Returns the end of a template with a white `noise` per sample and a `level_error` common to all samples; `None` if it has come to
    /// rest.
    pub fn new(template: &[f64], noise: f64, level_error: f64) -> Option<Self> {
        let peak = template.iter().copied().fold(0.0, f64::max);
        let last = &template[last_tenth(template.len())];
        let mean = mean(last);
        let error = math::hypot(noise / (last.len() as f64).sqrt(), level_error);
        if peak <= 0.0 || mean.abs() <= (REST_SHARE * peak).max(REST_SIGMA * error) {
            return None;
        }
        Some(Self {
            share: mean / peak,
            fit: TailFit::new(template, peak, mean, noise),
        })
    }
}

/// An exponential through the end of a template.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TailFit {
    /// Its value at the first sample after the template.
    next: f64,
    /// Samples of the template.
    length: usize,
    peak: f64,
    pub decay_samples: f64,
}

impl TailFit {
    /// Fits the last third of the tail, or more of it as far as the same exponential describes that. Where no decay is visible there, an
    /// undershoot takes back the area of the pulse; `None` if it cannot.
    fn new(template: &[f64], peak: f64, end_mean: f64, noise: f64) -> Option<Self> {
        let begin = template
            .iter()
            .rposition(|value| value.abs() > TAIL_SHARE * peak)?
            + 1;
        let tail = template.get(begin..)?;
        let mut parts = PARTS.iter().map(|part| {
            let n = (part * tail.len() as f64) as usize;
            let n = n.max(MIN_FIT_SAMPLES);
            Some(Decay::new(&tail[tail.len().checked_sub(n)?..], noise))
        });
        let last = parts.next()??;
        let longer = parts
            .flatten()
            .rfind(|part| part.scatter < MAX_SCATTER * last.scatter);
        let decay = longer.unwrap_or(last);
        let continued = |samples: f64, amplitude: f64| {
            let next = amplitude * math::exp(-1.0 / samples);
            (next * end_mean > 0.0).then_some(Self {
                next,
                length: template.len(),
                peak,
                decay_samples: samples,
            })
        };
        if decay.is_seen {
            return continued(decay.samples, decay.amplitude);
        }
        // The undershoot of a coupling capacitor takes back the area of the pulse, which determines its decay where its end does not.
        let n = (PARTS[0] * tail.len() as f64) as usize;
        let part = tail.get(tail.len().checked_sub(n)?..)?;
        let samples = -template.iter().sum::<f64>() / end_mean;
        if n < MIN_FIT_SAMPLES || samples < n as f64 {
            return None;
        }
        let (amplitude, squares) = residuals(part, samples);
        let is_possible = squares - last.least
            <= MIN_SIGNIFICANCE * MIN_SIGNIFICANCE * last.scatter.max(noise * noise);
        is_possible.then(|| continued(samples, amplitude)).flatten()
    }

    /// Returns the value `index` samples after the end of the template.
    fn at(&self, index: usize) -> f64 {
        self.next * math::exp(-(index as f64) / self.decay_samples)
    }

    /// Returns the number of samples after the template until the tail is below `share` of the peak.
    fn samples_to(&self, share: f64) -> usize {
        let ratio = self.next.abs() / (share * self.peak);
        (self.decay_samples * math::ln(ratio).max(0.0)).ceil() as usize
    }

    /// Returns the samples that continue the template.
    pub fn samples(&self) -> impl Iterator<Item = f64> {
        // Independent of the length: a template that was continued up to it is not continued again.
        let longest = MAX_CONTINUED.min(MAX_SAMPLES);
        let n = self.samples_to(END_SHARE);
        let range: Range<usize> = 0..n.min(longest.saturating_sub(self.length));
        let fit = *self;
        range.map(move |index| fit.at(index))
    }

    /// Returns the length of a template whose tail has fallen below a thousandth of the peak.
    pub fn rest_samples(&self) -> usize {
        self.length + self.samples_to(REST_SHARE)
    }

    fn outcome(&self) -> Tail {
        Tail::Continued {
            decay_samples: self.decay_samples,
            rest_samples: self.rest_samples(),
        }
    }
}

/// The exponential closest to the end of a tail.
#[derive(Clone, Copy, Debug)]
struct Decay {
    samples: f64,
    /// Value at the last sample.
    amplitude: f64,
    /// Variance of the differences.
    scatter: f64,
    /// Sum of squares of the differences.
    least: f64,
    /// True if a constant describes the tail clearly worse.
    is_seen: bool,
}

impl Decay {
    fn new(part: &[f64], noise: f64) -> Self {
        let n = part.len() as f64;
        // Decay constants from two samples to twenty times the length of the fit, where nothing decays any more.
        let n_steps = (math::ln(10.0 * n) * STEPS).ceil() as usize;
        let scan = (0..=n_steps).map(|step| {
            let decay = 2.0 * math::exp(step as f64 / STEPS);
            let (amplitude, squares) = residuals(part, decay);
            (decay, amplitude, squares)
        });
        let (mut best, mut flat) = ((2.0, 0.0, f64::INFINITY), 0.0);
        for one in scan {
            if one.2 < best.2 {
                best = one;
            }
            flat = one.2;
        }
        let (samples, amplitude, least) = best;
        let scatter = (least / (n - 2.0).max(1.0)).max(noise * noise);
        let all: f64 = part.iter().map(|value| value * value).sum();
        Self {
            samples,
            amplitude,
            scatter,
            least,
            is_seen: flat - least > MIN_SIGNIFICANCE * MIN_SIGNIFICANCE * scatter
                && least < (0.5 * all).max(2.0 * n * noise * noise),
        }
    }
}

/// Returns the last tenth of a template of `length` samples.
fn last_tenth(length: usize) -> Range<usize> {
    length - length.div_ceil(10)..length
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Returns the white noise of `values`, from the differences of neighbours.
fn noise_of(values: &[f64]) -> f64 {
    let squares: f64 = values
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).powi(2))
        .sum();
    (squares / (2.0 * values.len().saturating_sub(1).max(1) as f64)).sqrt()
}

/// Returns the value at the last sample of the exponential with `decay` that is closest to `values`, and the sum of squares of the
/// differences.
fn residuals(values: &[f64], decay: f64) -> (f64, f64) {
    let factor = math::exp(1.0 / decay);
    let (mut product, mut squares, mut shape) = (0.0, 0.0, 1.0);
    for value in values.iter().rev() {
        product += value * shape;
        squares += shape * shape;
        shape *= factor;
    }
    let amplitude = product / squares;
    let (mut sum, mut shape) = (0.0, 1.0);
    for value in values.iter().rev() {
        sum += (value - amplitude * shape).powi(2);
        shape *= factor;
    }
    (amplitude, sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulse(t: f64) -> f64 {
        if t > 0.0 {
            100.0 * math::exp(-0.5 * (math::ln(t / 13.0) / 0.43).powi(2))
        } else {
            0.0
        }
    }

    /// A pulse after a coupling with the time constant `decay`, of `length` samples.
    fn coupled(decay: f64, length: usize) -> Vec<f32> {
        let mut stored = 0.0;
        (0..length)
            .map(|sample| {
                let value = pulse(sample as f64);
                let out = value - stored;
                stored += out / decay;
                out as f32
            })
            .collect()
    }

    #[test]
    fn a_cut_undershoot_is_continued_as_it_would_have_been() {
        for (decay, length) in [
            (3000.0, 1400),
            (1000.0, 800),
            (300.0, 400),
            (10_000.0, 2000),
        ] {
            let whole = coupled(decay, 8192);
            let mut template = whole[..length].to_vec();
            let Tail::Continued {
                decay_samples,
                rest_samples,
            } = continue_tail(&mut template)
            else {
                panic!("{decay}: not continued");
            };
            assert!(
                (decay_samples / decay - 1.0).abs() < 0.02,
                "{decay_samples}"
            );
            assert!(rest_samples > length);
            assert_eq!(template[..length], whole[..length]);
            for (index, (found, expected)) in template.iter().zip(&whole).enumerate() {
                assert!(
                    (found - expected).abs() < 0.02,
                    "{index}: {found} {expected}"
                );
            }
        }
    }

    #[test]
    fn a_template_at_rest_stays_as_it_is() {
        for length in [200, 1000, 3000] {
            let template = coupled(40.0, length.max(600));
            let mut same = template.clone();
            assert_eq!(continue_tail(&mut same), Tail::AtRest);
            assert_eq!(same, template);
        }
        // Noise of one percent of the peak in every sample.
        let mut noisy = coupled(40.0, 600);
        for (index, value) in noisy.iter_mut().enumerate() {
            *value += if (index * 7919) % 13 < 6 { 1.0 } else { -0.85 };
        }
        let template = noisy.clone();
        assert_eq!(continue_tail(&mut noisy), Tail::AtRest);
        assert_eq!(noisy, template);
    }

    #[test]
    fn an_undershoot_whose_decay_is_hidden_by_noise_takes_back_the_area() {
        let whole = coupled(3000.0, 8192);
        let mut template: Vec<f32> = whole[..700]
            .iter()
            .enumerate()
            .map(|(index, value)| value + if (index * 7919) % 13 < 6 { 0.35 } else { -0.3 })
            .collect();
        let Tail::Continued { decay_samples, .. } = continue_tail(&mut template) else {
            panic!("not continued");
        };
        assert!(
            (decay_samples / 3000.0 - 1.0).abs() < 0.1,
            "{decay_samples}"
        );
        for (index, (found, expected)) in template.iter().zip(&whole).enumerate().skip(700) {
            assert!(
                (found - expected).abs() < 0.06,
                "{index}: {found} {expected}"
            );
        }
    }

    #[test]
    fn what_shows_no_decay_is_not_continued() {
        let mut level: Vec<f32> = coupled(40.0, 600).iter().map(|value| value - 1.0).collect();
        let before = level.clone();
        assert_eq!(continue_tail(&mut level), Tail::Undetermined);
        assert_eq!(level, before);
        let mut short = vec![0.0, 20.0, 60.0, 35.0, 10.0];
        assert_eq!(continue_tail(&mut short), Tail::Undetermined);
        let mut within = coupled(40.0, 16);
        assert_eq!(continue_tail(&mut within), Tail::Undetermined);
    }
}
