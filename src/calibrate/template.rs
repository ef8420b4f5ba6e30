//! The mean single-photoelectron pulse: aligned between samples, its time reference, its tail.

use super::first_pass::{Span, span_above};
use crate::math;
use crate::model::template_tail::{TailEnd, TailFit};

/// Samples of the mean kept before its peak.
const LEAD: usize = 96;
/// Half height to the photoelectron's time, in units of the 10 % to 90 % rise time. See [`time_reference`].
const HALF_HEIGHT_RISES: f64 = 1.45;
const CORE_FRACTION: f64 = 0.05;
/// Half of the range of heights, as share of the peak, over which the steepness of an edge is determined.
const EDGE_STEP: f64 = 0.05;

/// Finds the time of a pulse by correlation with a mean pulse.
#[derive(Clone, Debug)]
pub(super) struct Aligner {
    core: Vec<f64>,
    before_peak: usize,
}

impl Aligner {
    /// Creates an aligner from a mean pulse with its peak at sample `peak`.
    pub fn new(pulse: &[f64], peak: usize) -> Option<Self> {
        let Span { from, to } = span_above(pulse, peak, CORE_FRACTION)?;
        Some(Self {
            core: pulse[from..to].to_vec(),
            before_peak: peak - from,
        })
    }

    /// Returns the number of samples of the pulse from its peak on.
    pub fn after_peak(&self) -> usize {
        self.core.len() - self.before_peak
    }

    /// Returns the position of the mean pulse's peak in `samples`, with sub-sample precision, searched around `guess`; `None` if
    /// the best position is at the edge of the search range or of the window.
    pub fn find(&self, samples: &[f64], guess: usize) -> Option<f64> {
        let reach = (self.core.len() / 3).max(4);
        let start = guess.checked_sub(self.before_peak)?;
        let correlation = |lag: usize| -> Option<f64> {
            let from = (start + lag).checked_sub(reach)?;
            let part = samples.get(from..from + self.core.len())?;
            Some(part.iter().zip(&self.core).map(|(a, b)| a * b).sum())
        };
        let values: Vec<Option<f64>> = (0..=2 * reach).map(correlation).collect();
        let (best, _) = values
            .iter()
            .enumerate()
            .filter_map(|(lag, value)| Some((lag, (*value)?)))
            .max_by(|a, b| a.1.total_cmp(&b.1))?;
        let before = (*values.get(best.checked_sub(1)?)?)?;
        let after = (*values.get(best + 1)?)?;
        let top = (*values.get(best)?)?;
        // The top of a parabola through the three; a correlation is smooth on the scale of a sample.
        let curvature = before - 2.0 * top + after;
        if curvature >= 0.0 {
            return None;
        }
        let shift = 0.5 * (before - after) / curvature;
        Some((guess + best) as f64 - reach as f64 + shift)
    }
}

/// Sum of aligned pulses on a grid of sampling intervals, on which the alignment point is sample [`LEAD`].
#[derive(Clone, Debug, Default)]
pub(super) struct MeanPulse {
    sum: Vec<f64>,
    count: Vec<u32>,
    pub n_pulses: u64,
}

impl MeanPulse {
    /// A mean for waveforms of `n_samples`.
    pub fn new(n_samples: usize) -> Self {
        Self {
            sum: vec![0.0; LEAD + n_samples],
            count: vec![0; LEAD + n_samples],
            n_pulses: 0,
        }
    }

    /// Adds `samples`, whose pulse is at `time` samples.
    pub fn add(&mut self, samples: &[f64], time: f64) {
        let Some((whole, weights)) = cubic(time) else {
            return;
        };
        self.n_pulses += 1;
        for index in 0..self.sum.len() {
            let part = (index + whole)
                .checked_sub(LEAD + 1)
                .and_then(|from| samples.get(from..from + 4));
            if let Some(part) = part {
                self.sum[index] += part.iter().zip(&weights).map(|(a, b)| a * b).sum::<f64>();
                self.count[index] += 1;
            }
        }
    }

    /// Returns the mean pulse, as far as at least half of the pulses reach (zero before that), and the index of its peak.
    pub fn pulse(&self) -> Option<(Vec<f64>, usize)> {
        let enough = |count: u32| count > 0 && 2 * u64::from(count) >= self.n_pulses;
        let end = self.count.iter().rposition(|&count| enough(count))? + 1;
        let pulse: Vec<f64> = self.sum[..end]
            .iter()
            .zip(&self.count)
            .map(|(sum, &count)| {
                if enough(count) {
                    sum / f64::from(count)
                } else {
                    0.0
                }
            })
            .collect();
        // Aligned to the peak of the last mean, the peak is close to the alignment point.
        let near = LEAD.saturating_sub(16)..(LEAD + 16).min(end);
        let peak = near.max_by(|&a, &b| pulse[a].total_cmp(&pulse[b]))?;
        Some((pulse, peak))
    }
}

/// Returns the sample before `time` and the weights of the four samples around it (third-order Lagrange polynomial).
fn cubic(time: f64) -> Option<(usize, [f64; 4])> {
    if !(time.is_finite() && time >= 0.0) {
        return None;
    }
    let whole = time.floor();
    let t = time - whole;
    let weights = [
        -t * (t - 1.0) * (t - 2.0) / 6.0,
        (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0,
        -(t + 1.0) * t * (t - 2.0) / 2.0,
        (t + 1.0) * t * (t - 1.0) / 6.0,
    ];
    Some((whole as usize, weights))
}

/// A finished template.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Template {
    /// Sample `k` is `k` intervals after the photoelectron.
    pub samples: Vec<f64>,
    /// From the alignment point to the photoelectron's time, in samples (negative).
    pub reference: f64,
    /// Full width at half maximum, in samples.
    pub fwhm: f64,
    /// Height.
    pub peak: f64,
    /// Noise of a sample of the mean.
    pub noise: f64,
    /// Steepness at half of the height, per sample: the smaller one of the two edges.
    pub slope: f64,
    /// Error of `reference` from the noise of the mean, in samples.
    pub reference_error: f64,
    /// Where the tail has not come to rest within the window.
    pub cut: Option<CutTail>,
}

/// A tail that goes on after the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CutTail {
    /// Samples of the template that were measured.
    pub measured_samples: usize,
    /// Mean of the last tenth of the measured template, as share of the peak.
    pub share: f64,
    /// The exponential that continues it: its decay constant, and the samples after which it is below a thousandth of the peak. `None` if
    /// the tail does not show its decay.
    pub decay: Option<(f64, usize)>,
}

/// Interpolates between the samples.
fn at(pulse: &[f64], position: f64) -> Option<f64> {
    let (whole, weights) = cubic(position)?;
    let part = pulse.get(whole.checked_sub(1)?..whole + 3)?;
    Some(part.iter().zip(&weights).map(|(a, b)| a * b).sum())
}

/// Returns where the pulse crosses `fraction` of its height before (`rising`) or after its peak.
fn crossing(pulse: &[f64], peak: usize, fraction: f64, rising: bool) -> Option<f64> {
    let level = fraction * pulse.get(peak)?;
    let is_below = |value: &f64| *value < level;
    let (mut below, mut above) = if rising {
        let below = pulse[..peak].iter().rposition(is_below)? as f64;
        (below, below + 1.0)
    } else {
        let below = (peak + pulse[peak..].iter().position(is_below)?) as f64;
        (below, below - 1.0)
    };
    for _ in 0..20 {
        let middle = 0.5 * (below + above);
        if at(pulse, middle)? < level {
            below = middle;
        } else {
            above = middle;
        }
    }
    Some(0.5 * (below + above))
}

/// Returns the photoelectron's time on the grid of `pulse`, by convention: the half height of the rising edge minus 1.45 times
/// the rise time from 10 % to 90 %.
///
/// For a log-normal pulse `exp(-ln(t / w)^2 / (2 mu^2))` a fraction f of the height is reached at
/// `w exp(-mu sqrt(2 ln(1 / f)))`. With w = 13 ns and mu = 0.43 the half height is 1.4235 rise times after the
/// photoelectron; an undershoot of 5 %, which begins with the pulse, makes that 1.45. So the convention is true for such a
/// pulse, 0.15 ns early without undershoot and as much late with one of 10 %. Other shapes have another difference (0.8 ns for
/// w = 8 ns, mu = 0.5), always the same for all charges and all pulses of a channel.
fn time_reference(pulse: &[f64], peak: usize) -> Option<f64> {
    let half = crossing(pulse, peak, 0.5, true)?;
    let rise = crossing(pulse, peak, 0.9, true)? - crossing(pulse, peak, 0.1, true)?;
    Some(half - HALF_HEIGHT_RISES * rise)
}

/// Turns the mean pulse into a template that begins at the photoelectron's time; the tail is smoothed, and cut where it has
/// vanished. `noise` is the standard deviation of a sample of the mean, `level_error` that of its baseline.
pub(super) fn finish_template(mean: &MeanPulse, noise: f64, level_error: f64) -> Option<Template> {
    let (pulse, peak) = mean.pulse()?;
    let reference = time_reference(&pulse, peak)?;
    let fwhm = crossing(&pulse, peak, 0.5, false)? - crossing(&pulse, peak, 0.5, true)?;
    let slope = [true, false].map(|rising| edge_slope(&pulse, peak, 0.5, rising));
    let [early, late] = [0.1, 0.9].map(|at| noise / edge_slope(&pulse, peak, at, true));
    let of_rise = HALF_HEIGHT_RISES * math::hypot(early, late);
    let reference_error = math::hypot(noise / slope[0], of_rise);
    let core = span_above(&pulse, peak, CORE_FRACTION)?;
    let (mut tail, reaches_end) = smooth_tail(&pulse, core.to, noise, level_error);
    let end = reaches_end
        .then(|| TailEnd::new(&pulse, noise, level_error))
        .flatten();
    let measured = tail.len();
    match end.and_then(|end| end.fit) {
        Some(fit) => tail.extend(fit.samples()),
        // Four more for the interpolation.
        None if end.is_none() => tail.extend([0.0; 4]),
        // Zeros after a tail that goes on would be a step.
        None => {}
    }
    let samples: Vec<f64> = (0_u32..)
        .map_while(|sample| at(&tail, reference + f64::from(sample)))
        .collect();
    let peak = samples.iter().copied().fold(0.0, f64::max);
    let before = reference.max(0.0) as usize;
    let cut = end.map(|end| CutTail {
        measured_samples: measured.saturating_sub(before),
        share: end.share,
        decay: end
            .fit
            .map(|fit: TailFit| (fit.decay_samples, fit.rest_samples().saturating_sub(before))),
    });
    (peak > 0.0).then_some(Template {
        samples,
        reference: reference - LEAD as f64,
        fwhm,
        peak,
        noise,
        slope: slope[0].min(slope[1]),
        reference_error,
        cut,
    })
}

/// Returns the steepness of an edge at `fraction` of the height, per sample.
fn edge_slope(pulse: &[f64], peak: usize, fraction: f64, rising: bool) -> f64 {
    let places = [-EDGE_STEP, EDGE_STEP].map(|step| crossing(pulse, peak, fraction + step, rising));
    let [Some(low), Some(high)] = places else {
        return 0.0;
    };
    2.0 * EDGE_STEP * pulse.get(peak).copied().unwrap_or(0.0) / (high - low).abs().max(1e-6)
}

/// Averages the tail over a length that grows with the distance from the core: tails vary slowly, and their noise would
/// become an error of the charge. Cuts it where it has vanished within two standard deviations; the second value is true if it has not
/// vanished by the end.
fn smooth_tail(pulse: &[f64], core_end: usize, noise: f64, level_error: f64) -> (Vec<f64>, bool) {
    let half_width = |index: usize| {
        let wanted = index.saturating_sub(core_end) / 4;
        wanted.min(pulse.len() - 1 - index)
    };
    let mut smooth: Vec<f64> = (0..pulse.len())
        .map(|index| {
            let half = half_width(index);
            let part = &pulse[index - half..=index + half];
            part.iter().sum::<f64>() / part.len() as f64
        })
        .collect();
    let is_there = |index: usize| {
        let average = 2.0 * half_width(index) as f64 + 1.0;
        let error = (noise * noise / average + level_error * level_error).sqrt();
        smooth[index].abs() > 2.0 * error
    };
    // The last samples are averaged over few samples; structures only there are noise.
    let quarter = pulse.len() - (pulse.len() - core_end.min(pulse.len())) / 8;
    let end = (core_end..quarter)
        .rev()
        .find(|&index| is_there(index))
        .map_or(core_end, |last| {
            if last + 1 == quarter {
                pulse.len()
            } else {
                last + 1
            }
        });
    smooth.truncate(end);
    (smooth, end == pulse.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_normal(t: f64, width: f64, spread: f64) -> f64 {
        if t <= 0.0 {
            0.0
        } else {
            math::exp(-0.5 * (math::ln(t / width) / spread).powi(2))
        }
    }

    fn waveform(time: f64, width: f64, spread: f64) -> Vec<f64> {
        (0..400)
            .map(|sample| log_normal(f64::from(sample) - time, width, spread))
            .collect()
    }

    #[test]
    fn pulses_anywhere_between_samples_give_one_sharp_template() {
        let first = waveform(100.0, 13.0, 0.43);
        let aligner = Aligner::new(&first, 113).expect("a pulse");
        let mut mean = MeanPulse::new(400);
        for step in 0..50 {
            let time = 100.0 + f64::from(step) * 0.173;
            let samples = waveform(time, 13.0, 0.43);
            let found = aligner.find(&samples, 115).expect("found");
            assert!((found - time - 13.0).abs() < 0.02, "{found} {time}");
            mean.add(&samples, found);
        }
        let template = finish_template(&mean, 1e-4, 1e-4).expect("a template");
        for (sample, &value) in template.samples.iter().enumerate() {
            // The convention's difference is one of time, not of shape.
            let time = sample as f64 + template.reference + 13.0;
            let expected = log_normal(time, 13.0, 0.43);
            assert!(
                (value - expected).abs() < 0.005,
                "{sample}: {value} {expected}"
            );
        }
        assert!((template.reference + 13.0).abs() < 0.2, "{template:?}");
        assert!((template.fwhm - 13.7).abs() < 0.1);
    }

    #[test]
    fn the_time_reference_is_the_photoelectron_for_any_width() {
        for width in [5.0, 13.0, 20.0] {
            let pulse = waveform(50.0, width, 0.43);
            let found = time_reference(&pulse, 50 + width as usize).expect("found");
            assert!((found - 50.0).abs() < 0.02 * width, "{width}: {found}");
        }
        let pulse = waveform(50.0, 8.0, 0.5);
        let found = time_reference(&pulse, 58).expect("found");
        assert!((found - 50.0).abs() < 0.9, "{found}");
    }

    #[test]
    fn a_pulse_at_the_border_is_not_found() {
        let aligner = Aligner::new(&waveform(100.0, 13.0, 0.43), 113).expect("a pulse");
        assert_eq!(aligner.find(&waveform(-10.0, 13.0, 0.43), 3), None);
        assert_eq!(aligner.find(&waveform(390.0, 13.0, 0.43), 399), None);
        assert_eq!(aligner.find(&[0.0; 400], 100), None);
    }

    #[test]
    fn an_undershoot_stays_and_a_noisy_end_goes() {
        let undershoot = |t: f64| {
            if t > 0.0 {
                -0.05 * math::exp(-t / 40.0)
            } else {
                0.0
            }
        };
        let pulse: Vec<f64> = (0..600)
            .map(|sample| {
                let t = f64::from(sample) - 50.0;
                let noise = if sample % 2 == 0 { 0.004 } else { -0.004 };
                log_normal(t, 13.0, 0.43) + undershoot(t) + noise
            })
            .collect();
        let (tail, reaches_end) = smooth_tail(&pulse, 90, 0.004, 0.0005);
        assert!(!reaches_end);
        assert!(tail.len() > 160 && tail.len() < 450, "{}", tail.len());
        for index in [120_u32, 140, 160] {
            let expected = undershoot(f64::from(index) - 50.0);
            let found = tail[index as usize];
            assert!(
                (found - expected).abs() < 0.004,
                "{index}: {found} {expected}"
            );
        }
    }
}
