//! The response to one photoelectron as a function of time: its description, and a table of its values.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::math;

/// Maximum number of entries of a table; enough for a tail a thousand times as long as the pulse.
const MAX_ENTRIES: usize = 1 << 21;
/// Fraction of the peak below which the tail is cut off.
const TABLE_TAIL: f64 = 1e-5;
/// Entries of the table per full width at half maximum: cubic interpolation is then exact to 1e-8.
const ENTRIES_PER_WIDTH: f64 = 512.0;
/// Full width at half maximum of a Gaussian in units of its standard deviation, `2 sqrt(2 ln 2)`.
const GAUSSIAN_FWHM: f64 = 2.354_820_045_030_949;

/// The response to one photoelectron as the detector file describes it. Its peak, without undershoots, is 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "shape", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Pulse {
    /// `V(t) = exp(-(ln(t / peak_ns) / width)^2 / 2)`.
    LogNormal {
        /// Time of the peak after the photoelectron.
        peak_ns: f64,
        /// Width in ln(t). The full width at half maximum is `2 peak_ns sinh(1.1774 width)`.
        width: f64,
        /// Slow tails of the other sign.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        undershoots: Vec<Undershoot>,
    },
    /// `exp(-t / tau_ns)` convolved with a Gaussian of `sigma_ns`, delayed by five sigma so that it begins at 0.
    Exponential {
        /// Time constant of the fall.
        tau_ns: f64,
        /// Standard deviation of the Gaussian that makes the rise.
        sigma_ns: f64,
        /// Slow tails of the other sign.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        undershoots: Vec<Undershoot>,
    },
    /// Measured values, joined by a Catmull-Rom cubic and scaled to a peak of 1.
    Tabulated {
        /// The values, the first at the photoelectron's time; 0 is assumed before and after.
        samples: Vec<f64>,
        /// Interval between them.
        step_ns: f64,
        /// Slow tails of the other sign, unless the samples contain them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        undershoots: Vec<Undershoot>,
    },
}

/// A slow tail of the other sign, `-(amplitude / area) (V convolved with exp(-t / tau_ns))` with `area` the pulse's own:
/// just after the pulse it is about `-amplitude` times the peak.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Undershoot {
    /// Depth as a share of the peak.
    pub amplitude: f64,
    /// Time constant of the recovery.
    pub tau_ns: f64,
}

impl Pulse {
    /// Returns the slow tails.
    #[must_use]
    pub fn undershoots(&self) -> &[Undershoot] {
        match self {
            Self::LogNormal { undershoots, .. }
            | Self::Exponential { undershoots, .. }
            | Self::Tabulated { undershoots, .. } => undershoots,
        }
    }

    /// Returns the slow tails, mutably.
    pub fn undershoots_mut(&mut self) -> &mut Vec<Undershoot> {
        match self {
            Self::LogNormal { undershoots, .. }
            | Self::Exponential { undershoots, .. }
            | Self::Tabulated { undershoots, .. } => undershoots,
        }
    }

    /// Returns the table of this pulse.
    ///
    /// # Errors
    /// As [`PulseShape::new`].
    pub fn shape(&self) -> Result<PulseShape> {
        PulseShape::new(self)
    }

    /// Returns the step of the table, and the end of the pulse without undershoots.
    fn step_and_end_ns(&self) -> (f64, f64) {
        match self {
            Self::LogNormal { peak_ns, width, .. } => {
                let fwhm_ns = 2.0 * peak_ns * math::sinh(0.5 * GAUSSIAN_FWHM * width);
                let end_ns = peak_ns * math::exp(width * (2.0 * math::ln(1e7_f64)).sqrt());
                // The rise of a wide log-normal is much faster than its fall.
                let rise_ns = peak_ns * (1.0 - math::exp(-0.5 * GAUSSIAN_FWHM * width));
                ((fwhm_ns.min(4.0 * rise_ns)) / ENTRIES_PER_WIDTH, end_ns)
            }
            Self::Exponential {
                tau_ns, sigma_ns, ..
            } => (
                GAUSSIAN_FWHM * sigma_ns / (0.5 * ENTRIES_PER_WIDTH),
                12.0 * sigma_ns + tau_ns * math::ln(1e7_f64),
            ),
            Self::Tabulated {
                samples, step_ns, ..
            } => (step_ns / 16.0, samples.len() as f64 * step_ns),
        }
    }

    /// Returns the pulse without undershoots at every `step_ns`, scaled to a peak of 1.
    fn tabulate(&self, step_ns: f64, entries: usize) -> Vec<f64> {
        let mut values: Vec<f64> = match self {
            Self::LogNormal { peak_ns, width, .. } => (0..entries)
                .map(|entry| {
                    let time_ns = entry as f64 * step_ns;
                    // At 0 the logarithm is -infinity and the value 0, as it should be.
                    math::exp(-0.5 * (math::ln(time_ns / peak_ns) / width).powi(2))
                })
                .collect(),
            Self::Exponential {
                tau_ns, sigma_ns, ..
            } => {
                let gaussian: Vec<f64> = (0..entries)
                    .map(|entry| {
                        let distance = entry as f64 * step_ns / sigma_ns - 5.0;
                        math::exp(-0.5 * distance.powi(2))
                    })
                    .collect();
                convolve_with_exponential(&gaussian, step_ns, *tau_ns)
            }
            Self::Tabulated {
                samples,
                step_ns: sample_ns,
                ..
            } => (0..entries)
                .map(|entry| catmull_rom(samples, entry as f64 * step_ns / sample_ns))
                .collect(),
        };
        let peak = values.iter().copied().fold(0.0, f64::max);
        for value in &mut values {
            *value /= peak;
        }
        values
    }
}

/// Returns `values` convolved with `exp(-t / tau_ns)` for `t >= 0` (trapezoids, exact decay from entry to entry).
fn convolve_with_exponential(values: &[f64], step_ns: f64, tau_ns: f64) -> Vec<f64> {
    let decay = math::exp(-step_ns / tau_ns);
    let (mut sum, mut last) = (0.0, 0.0);
    values
        .iter()
        .map(|&value| {
            sum = sum * decay + 0.5 * step_ns * (last * decay + value);
            last = value;
            sum
        })
        .collect()
}

/// Returns the Catmull-Rom cubic through `samples` at `place` (in samples); 0 is assumed before and after them.
fn catmull_rom(samples: &[f64], place: f64) -> f64 {
    let base = place.floor();
    let x = place - base;
    let at = |offset: isize| {
        (base as usize)
            .checked_add_signed(offset)
            .and_then(|index| samples.get(index))
            .copied()
            .unwrap_or(0.0)
    };
    let (before, left, right, after) = (at(-1), at(0), at(1), at(2));
    let slope = 0.5 * (right - before);
    let curve = before - 2.5 * left + 2.0 * right - 0.5 * after;
    let twist = 0.5 * (after - before) + 1.5 * (left - right);
    left + x * (slope + x * (curve + x * twist))
}

/// A finely tabulated pulse with its undershoots, in units of the peak without them.
#[derive(Clone, Debug, PartialEq)]
pub struct PulseShape {
    step_ns: f64,
    values: Vec<f64>,
    main_area_ns: f64,
}

impl PulseShape {
    /// Tabulates `pulse`.
    ///
    /// # Errors
    /// If the pulse's tail is too long relative to its rise for a table of reasonable size, if it has no positive
    /// peak, or if the undershoots have more charge than the pulse.
    pub fn new(pulse: &Pulse) -> Result<Self> {
        let (step_ns, main_end_ns) = pulse.step_and_end_ns();
        let end_ns = pulse
            .undershoots()
            .iter()
            .map(|tail| {
                main_end_ns + tail.tau_ns * math::ln((tail.amplitude.abs() / TABLE_TAIL).max(1.0))
            })
            .fold(main_end_ns, f64::max);
        let entries = (end_ns / step_ns).ceil() + 2.0;
        if !(step_ns > 0.0 && entries <= MAX_ENTRIES as f64) {
            return Err(Error::usage(format!(
                "the pulse has a tail of {end_ns} ns, too long against its rise (a step of {step_ns:.3} ns is needed)"
            ))
            .with_hint("make the rise slower or the decay constants shorter"));
        }
        let mut values = pulse.tabulate(step_ns, entries as usize);
        let main_area_ns = step_ns * values.iter().sum::<f64>();
        if !(main_area_ns.is_finite() && main_area_ns > 0.0) {
            return Err(
                Error::usage("the pulse has no positive area and peak").with_hint(
                    "pulses are described as positive; `polarity` in `[readout]` inverts them",
                ),
            );
        }
        let main = values.clone();
        for tail in pulse.undershoots() {
            let slow = convolve_with_exponential(&main, step_ns, tail.tau_ns);
            for (value, slow) in values.iter_mut().zip(slow) {
                *value -= tail.amplitude / main_area_ns * slow;
            }
        }
        let used = values
            .iter()
            .rposition(|value| value.abs() >= TABLE_TAIL)
            .map_or(1, |last| last + 1);
        values.truncate(used);
        let shape = Self {
            step_ns,
            values,
            main_area_ns,
        };
        if shape.area_ns() <= 0.0 {
            return Err(Error::usage(format!(
                "the undershoots take {:.1} ns x peak out of a pulse of {main_area_ns:.1}: nothing is left of its charge",
                main_area_ns - shape.area_ns()
            ))
            .with_hint("the sum of amplitude x tau_ns has to stay below the pulse's area"));
        }
        Ok(shape)
    }

    /// Returns the response `time_ns` after the photoelectron; 0 before it and after the end of the table.
    #[must_use]
    pub fn value(&self, time_ns: f64) -> f64 {
        if time_ns < 0.0 || time_ns >= self.length_ns() {
            return 0.0;
        }
        let place = time_ns / self.step_ns;
        let base = place.floor();
        let x = place - base;
        let base = base as usize;
        let at = |index: usize| self.values.get(index).copied().unwrap_or(0.0);
        let before = if base == 0 { 0.0 } else { at(base - 1) };
        // Lagrange's cubic through the four entries around the place.
        before * (-x * (x - 1.0) * (x - 2.0) / 6.0)
            + at(base) * ((x + 1.0) * (x - 1.0) * (x - 2.0) / 2.0)
            + at(base + 1) * (-(x + 1.0) * x * (x - 2.0) / 2.0)
            + at(base + 2) * ((x + 1.0) * x * (x - 1.0) / 6.0)
    }

    /// Returns the duration of the response.
    #[must_use]
    pub fn length_ns(&self) -> f64 {
        self.values.len() as f64 * self.step_ns
    }

    /// Returns the area of the pulse without its undershoots, in ns x peak.
    #[must_use]
    pub fn main_area_ns(&self) -> f64 {
        self.main_area_ns
    }

    /// Returns the area of the response with its undershoots, in ns x peak.
    #[must_use]
    pub fn area_ns(&self) -> f64 {
        self.step_ns * self.values.iter().sum::<f64>()
    }

    /// Returns the time of the peak after the photoelectron.
    #[must_use]
    pub fn peak_time_ns(&self) -> f64 {
        let (peak, _) = self.peak();
        peak as f64 * self.step_ns
    }

    /// Returns the full width at half maximum.
    #[must_use]
    pub fn fwhm_ns(&self) -> f64 {
        let (peak, height) = self.peak();
        let above = |value: &f64| *value >= 0.5 * height;
        let rise = self.values[..peak]
            .iter()
            .rposition(|value| !above(value))
            .map_or(0, |last| last + 1);
        let fall = self.values[peak..]
            .iter()
            .position(|value| !above(value))
            .map_or(self.values.len(), |first| peak + first);
        (fall - rise) as f64 * self.step_ns
    }

    fn peak(&self) -> (usize, f64) {
        self.values
            .iter()
            .copied()
            .enumerate()
            .fold(
                (0, f64::MIN),
                |best, next| {
                    if next.1 > best.1 { next } else { best }
                },
            )
    }

    /// Returns the response at every `sampling_ns`, the first sample at the photoelectron's time. It ends where the tail stays
    /// below `tail` (a fraction of the peak) or at `max_samples`.
    #[must_use]
    pub fn template(&self, sampling_ns: f64, tail: f64, max_samples: usize) -> Vec<f64> {
        let all = ((self.length_ns() / sampling_ns).ceil() as usize).clamp(1, max_samples.max(1));
        let mut template: Vec<f64> = (0..all)
            .map(|sample| self.value(sample as f64 * sampling_ns))
            .collect();
        let used = template
            .iter()
            .rposition(|value| value.abs() >= tail)
            .map_or(1, |last| last + 1);
        template.truncate(used);
        template
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_normal(undershoots: Vec<Undershoot>) -> Pulse {
        Pulse::LogNormal {
            peak_ns: 13.0,
            width: 0.43,
            undershoots,
        }
    }

    #[test]
    fn the_juno_pulse_has_its_published_width_and_area() {
        let shape = log_normal(Vec::new()).shape().expect("a plain pulse");
        assert!(
            (shape.fwhm_ns() - 13.74).abs() < 0.05,
            "{}",
            shape.fwhm_ns()
        );
        let area_ns =
            13.0 * 0.43 * (2.0 * std::f64::consts::PI).sqrt() * math::exp(0.5 * 0.43_f64.powi(2));
        assert!((area_ns - 15.37).abs() < 0.01);
        assert!((shape.area_ns() / area_ns - 1.0).abs() < 1e-5);
        assert!((shape.peak_time_ns() - 13.0).abs() < 0.05);
        let rise_ns = 13.0 * (1.0 - math::exp(-1.1774 * 0.43_f64));
        assert!((rise_ns - 5.2).abs() < 0.1);
    }

    #[test]
    fn a_looked_up_value_is_the_formula_between_the_entries() {
        let shape = log_normal(Vec::new()).shape().expect("a plain pulse");
        for step in 1..12_000 {
            let time_ns = f64::from(step) * 0.010_37;
            let exact = math::exp(-0.5 * (math::ln(time_ns / 13.0) / 0.43).powi(2));
            assert!(
                (shape.value(time_ns) - exact).abs() < 1.1e-5,
                "{time_ns} ns"
            );
        }
        assert_eq!(shape.value(-0.1), 0.0);
        assert_eq!(shape.value(1e6), 0.0);
    }

    #[test]
    fn an_undershoot_has_its_depth_area_and_recovery() {
        let tail = Undershoot {
            amplitude: 0.05,
            tau_ns: 200.0,
        };
        let shape = log_normal(vec![tail]).shape().expect("area stays positive");
        let expected_ns = shape.main_area_ns() - 0.05 * 200.0;
        assert!((shape.area_ns() - expected_ns).abs() < 0.005);
        // After the pulse: -A x (mean of exp(t' / tau) over the pulse) x exp(-t / tau).
        let ratio = shape.value(400.0) / shape.value(300.0);
        assert!((ratio - math::exp(-0.5_f64)).abs() < 1e-4, "{ratio}");
        let start = shape.value(200.0) * math::exp(1.0_f64);
        assert!((-0.056..-0.05).contains(&start), "{start}");
    }

    #[test]
    fn an_exponential_pulse_falls_with_its_time_constant() {
        let pulse = Pulse::Exponential {
            tau_ns: 9.5,
            sigma_ns: 1.5,
            undershoots: Vec::new(),
        };
        let shape = pulse.shape().expect("a plain pulse");
        let ratio = shape.value(40.0) / shape.value(30.5);
        assert!((ratio - math::exp(-1.0_f64)).abs() < 1e-5, "{ratio}");
        assert!((shape.value(shape.peak_time_ns()) - 1.0).abs() < 1e-6);
        assert!(shape.value(0.0) < 1e-5);
    }

    #[test]
    fn a_tabulated_pulse_goes_through_its_samples() {
        let samples = vec![0.0, 0.2, 1.5, 3.0, 2.0, 1.0, 0.4, 0.0];
        let pulse = Pulse::Tabulated {
            samples: samples.clone(),
            step_ns: 2.0,
            undershoots: Vec::new(),
        };
        let shape = pulse.shape().expect("a plain pulse");
        let peak = 3.0 / shape.value(6.0);
        for (place, sample) in samples.iter().enumerate() {
            assert!((shape.value(2.0 * place as f64) * peak - sample).abs() < 1e-6);
        }
    }

    #[test]
    fn a_pulse_without_charge_left_is_refused() {
        let tail = Undershoot {
            amplitude: 0.1,
            tau_ns: 200.0,
        };
        let error = log_normal(vec![tail]).shape().expect_err("20 > 15.4");
        assert!(error.to_string().contains("undershoots"), "{error}");
        let flat = Pulse::Tabulated {
            samples: vec![-1.0, -2.0],
            step_ns: 1.0,
            undershoots: Vec::new(),
        };
        assert!(flat.shape().is_err());
    }
}
