//! The template as a cubic spline ([`spline`](super::spline)), so that a pulse may be at any time.
//!
//! A sample of a pulse is a weighted sum of four neighbouring coefficients; so are the derivatives. Inner products of two pulses follow from
//! the autocorrelation of the coefficients at seven lags.

#![expect(
    clippy::cast_possible_wrap,
    reason = "windows and templates have at most 65,536 samples"
)]

use std::ops::Range;

use multiversion::multiversion;

use super::spline::{SplinePosition, Weights};
use crate::extract::load_samples::tree_sum;

/// Coefficients before the time of the pulse and after the end of the template, where they have decayed.
pub const PADDING: usize = 8;
/// Lanes of sums over samples, for any vector width of the processor.
const LANES: usize = 16;
/// Share of the template's squares from which a pulse is visible.
const MIN_SEEN_SHARE: f32 = 0.05;
/// The main pulse ends where the template last exceeds this share of its peak.
const MAIN_PULSE_SHARE: f32 = 0.05;

/// A template as a spline, and its inner products.
#[derive(Clone, Debug, Default)]
pub struct Template {
    /// c, from [`PADDING`] before the time of the pulse.
    pub coefficients: Vec<f32>,
    /// sum_k c_k c_{k + l} for each lag l.
    pub correlation: Vec<f32>,
    /// The main pulse at whole samples, from where the coefficients reach it; then zeros to a multiple of the lanes and [`PADDING`] more.
    pub main_pulse: Vec<f32>,
    /// Sum of the coefficients before each one.
    pub cumulative_sum: Vec<f32>,
    /// Shares of the squares of s, and of s', before each coefficient.
    pub cumulative_share: [Vec<f32>; 2],
    /// Squares of s, of its first and of its second derivative, summed over samples.
    pub squares: [f32; 3],
    /// Distance at which two pulses look different: sqrt(squares of s / squares of s'), in samples.
    pub scale: f32,
    /// Samples from the time of the pulse to the end of the main pulse.
    pub main_samples: usize,
    /// Samples after the time of the pulse from which it is visible.
    pub seen: usize,
}

impl Template {
    /// Creates the spline through `samples`, the response of a channel to one photoelectron.
    #[must_use]
    pub fn new(samples: &[f32]) -> Self {
        let length = samples.len() + 2 * PADDING;
        let mut c = vec![0.0_f64; length];
        for (value, &sample) in c[PADDING..].iter_mut().zip(samples) {
            *value = f64::from(sample);
        }
        // The inverse of the samples (1 4 1) / 6 of the spline, as two recursive filters.
        let pole = 3.0_f64.sqrt() - 2.0;
        for index in 1..length {
            c[index] += pole * c[index - 1];
        }
        let mut next = 0.0;
        for value in c.iter_mut().rev() {
            next = pole * (next - *value);
            *value = next;
        }
        for value in &mut c {
            *value *= 6.0;
        }
        let correlation = (0..length)
            .map(|lag| c[lag..].iter().zip(&c).map(|(a, b)| a * b).sum::<f64>() as f32)
            .collect();
        let running = |values: &mut dyn Iterator<Item = f64>| {
            let mut sum = 0.0;
            let mut all = vec![0.0];
            all.extend(values.map(|value| {
                sum += value;
                sum
            }));
            all
        };
        let squares = running(&mut (0..length).map(|index| {
            let sample = index
                .checked_sub(PADDING)
                .and_then(|index| samples.get(index));
            f64::from(sample.copied().unwrap_or(0.0)).powi(2)
        }));
        let slope_squares = running(&mut (0..length).map(|index| {
            let coefficient = |index: usize| c.get(index).copied().unwrap_or(0.0);
            let slope = 0.5 * (coefficient(index + 1) - coefficient(index.wrapping_sub(1)));
            slope * slope
        }));
        let share = [&squares, &slope_squares].map(|squares| {
            let all = squares.last().copied().unwrap_or(0.0);
            let share = |&value: &f64| (value / all.max(f64::MIN_POSITIVE)) as f32;
            squares.iter().map(share).collect::<Vec<f32>>()
        });
        let seen = share[0].iter().position(|&share| share > MIN_SEEN_SHARE);
        let mut template = Self {
            cumulative_sum: running(&mut c.iter().copied())
                .into_iter()
                .map(|value| value as f32)
                .collect(),
            cumulative_share: share,
            coefficients: c.into_iter().map(|value| value as f32).collect(),
            correlation,
            main_pulse: Vec::new(),
            squares: [0.0; 3],
            scale: 0.0,
            main_samples: main_pulse_samples(samples),
            seen: seen.unwrap_or(0).saturating_sub(PADDING),
        };
        let on_sample = Weights::new(0.0);
        template.main_pulse = template
            .coefficients
            .windows(4)
            .take(template.main_samples)
            .map(|c| on_sample.inner_product(0, &[c[3], c[2], c[1], c[0]]))
            .collect();
        let whole = template.main_samples.next_multiple_of(LANES);
        template.main_pulse.resize(whole + PADDING, 0.0);
        let between = Weights::new(0.5);
        let products: [[f32; 3]; 3] = template.products(0, &between, &between);
        template.squares = [products[0][0], products[1][1], products[2][2]];
        template.scale = (template.squares[0] / template.squares[1].max(f32::MIN_POSITIVE)).sqrt();
        template
    }

    /// Returns the sum of the template over its main pulse.
    #[must_use]
    pub fn main_area(&self) -> f32 {
        let end = self.main_samples + PADDING;
        self.cumulative_sum.get(end).copied().unwrap_or(0.0)
    }

    /// Returns the range of samples (begin, end) of a window of `length` that a pulse at `sample` reaches, and the index of the coefficient
    /// that the first of them takes with the last of the four weights.
    #[must_use]
    pub fn sample_range(&self, sample: i32, length: usize) -> (usize, usize, usize) {
        let padding = PADDING as i32;
        let begin = (sample + 2 - padding).clamp(0, length as i32);
        let end =
            (sample - 1 - padding + self.coefficients.len() as i32).clamp(begin, length as i32);
        let first = begin - sample - 2 + padding;
        (begin as usize, end as usize, first.max(0) as usize)
    }

    /// Subtracts a pulse of charge `charge` at `position` from `samples`.
    pub fn subtract(&self, samples: &mut [f32], position: &SplinePosition, charge: f32) {
        let (begin, end, first) = self.sample_range(position.sample, samples.len());
        // A pulse far before the window does not reach it.
        if begin == end {
            return;
        }
        subtract(
            &mut samples[begin..end],
            &self.coefficients[first..],
            position.weights.0[0].map(|weight| weight * charge),
        );
    }

    /// Computes the inner products of `samples` with the main pulse of a pulse at each sample of `range`.
    pub fn main_pulse_products(
        &self,
        samples: &[f32],
        range: Range<usize>,
        products: &mut Vec<f32>,
    ) {
        products.clear();
        products.resize(range.len(), 0.0);
        main_pulse_products(samples, &self.main_pulse, range.start, products);
    }

    /// Returns the inner products of `samples` with each of the four coefficients of a pulse at `sample`.
    #[must_use]
    pub fn inner_products(&self, samples: &[f32], sample: i32) -> [f32; 4] {
        let (begin, end, first) = self.sample_range(sample, samples.len());
        if begin == end {
            return [0.0; 4];
        }
        inner_products(&samples[begin..end], &self.coefficients[first..])
    }

    /// Returns the autocorrelation of the coefficients from three samples before `lag` to three after.
    #[must_use]
    pub fn correlation_lags(&self, lag: i32) -> [f32; 7] {
        let far = lag.unsigned_abs() as usize;
        let lags = far
            .checked_sub(3)
            .and_then(|first| self.correlation.get(first..far + 4)?.first_chunk());
        match lags {
            Some(&lags) if lag > 0 => lags,
            Some(&[a, b, c, d, e, f, g]) => [g, f, e, d, c, b, a],
            None => std::array::from_fn(|index| {
                let lag = (lag + index as i32 - 3).unsigned_abs() as usize;
                self.correlation.get(lag).copied().unwrap_or(0.0)
            }),
        }
    }

    /// Returns the inner products of s, s' and s'' (or the first `N` of them) of one pulse (rows) with those of another (columns), `lag` whole
    /// samples before it.
    #[must_use]
    pub fn products<const N: usize>(
        &self,
        lag: i32,
        one: &Weights,
        other: &Weights,
    ) -> [[f32; N]; N] {
        let lags = self.correlation_lags(lag);
        let mut products = [[0.0; N]; N];
        for column in 0..N.min(3) {
            let of_coefficients = other.correlate(column, &lags);
            for (row, products) in products.iter_mut().enumerate() {
                products[column] = one.inner_product(row, &of_coefficients);
            }
        }
        products
    }

    /// Returns the sum of the template, and the shares of the squares of s and of s', inside a window of `length` for a pulse at `sample`.
    #[must_use]
    pub fn inside(&self, sample: i32, length: usize) -> (f32, [f32; 2]) {
        let last = self.coefficients.len() as i32;
        let begin = (PADDING as i32 - sample).clamp(0, last) as usize;
        let end = (PADDING as i32 - sample + length as i32).clamp(0, last) as usize;
        let between = |values: &[f32]| values[end] - values[begin];
        let share = |values: &Vec<f32>| between(values).max(0.0);
        (
            between(&self.cumulative_sum),
            self.cumulative_share.each_ref().map(share),
        )
    }
}

/// Returns the number of samples from the time of the pulse to the end of the main pulse of `template`.
#[must_use]
pub fn main_pulse_samples(template: &[f32]) -> usize {
    let peak = template.iter().copied().fold(0.0, f32::max);
    let last = template
        .iter()
        .rposition(|&value| value > MAIN_PULSE_SHARE * peak);
    last.unwrap_or(0) + 1
}

#[multiversion(targets = "simd")]
fn subtract(samples: &mut [f32], coefficients: &[f32], weights: [f32; 4]) {
    let count = samples.len();
    let (c0, c1, c2, c3) = (
        &coefficients[3..][..count],
        &coefficients[2..][..count],
        &coefficients[1..][..count],
        &coefficients[..count],
    );
    for k in 0..count {
        samples[k] -=
            (weights[0] * c0[k] + weights[1] * c1[k]) + (weights[2] * c2[k] + weights[3] * c3[k]);
    }
}

/// Computes the inner products of `samples` with a main pulse at sample `first` and at each one after it. The pulse begins `PADDING` - 2
/// samples earlier, and ends in as many zeros as its part before the window has samples.
#[multiversion(targets = "simd")]
fn main_pulse_products(samples: &[f32], pulse: &[f32], first: usize, products: &mut [f32]) {
    let before = PADDING - 2;
    let length = pulse.len() - PADDING;
    for (index, product) in (first..).zip(products) {
        let begin = index.saturating_sub(before).min(samples.len());
        let end = (begin + length).min(samples.len());
        let (samples, rest) = samples[begin..end].as_chunks::<LANES>();
        let pulse = &pulse[before.saturating_sub(index)..];
        let mut sums = [0.0_f32; LANES];
        for (lane, (sample, pulse)) in rest.iter().zip(&pulse[samples.len() * LANES..]).enumerate()
        {
            sums[lane] += sample * pulse;
        }
        for (samples, pulse) in samples.iter().zip(pulse.as_chunks::<LANES>().0) {
            for lane in 0..LANES {
                sums[lane] += samples[lane] * pulse[lane];
            }
        }
        *product = tree_sum(sums);
    }
}

#[multiversion(targets = "simd")]
fn inner_products(samples: &[f32], coefficients: &[f32]) -> [f32; 4] {
    let count = samples.len();
    let mut sums = [[0.0_f32; LANES]; 4];
    let whole = count / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        let samples = &samples[start..start + LANES];
        let coefficients = &coefficients[start..start + LANES + 3];
        for lane in 0..LANES {
            sums[0][lane] += samples[lane] * coefficients[lane + 3];
            sums[1][lane] += samples[lane] * coefficients[lane + 2];
            sums[2][lane] += samples[lane] * coefficients[lane + 1];
            sums[3][lane] += samples[lane] * coefficients[lane];
        }
    }
    for index in whole..count {
        let lane = index - whole;
        sums[0][lane] += samples[index] * coefficients[index + 3];
        sums[1][lane] += samples[index] * coefficients[index + 2];
        sums[2][lane] += samples[index] * coefficients[index + 1];
        sums[3][lane] += samples[index] * coefficients[index];
    }
    sums.map(tree_sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::tests::helpers::{juno_pulse, juno_template};

    #[test]
    fn the_spline_goes_through_the_samples_and_between_them() {
        // Without an undershoot, which the test's pulse integrates in steps.
        let template = Template::new(&juno_template(0.0));
        for time in [100.0_f32, 100.25, 100.5, 100.9] {
            let mut samples = vec![0.0; 900];
            template.subtract(&mut samples, &SplinePosition::new(time), -1.0);
            for (sample, &value) in samples.iter().enumerate() {
                let expected = 115.0 * juno_pulse(sample as f64 - f64::from(time), 0.0);
                // Of 115: where the pulse sets in, faster than a cubic can.
                assert!(
                    (f64::from(value) - expected).abs() < 0.02,
                    "{time}, sample {sample}: {value} for {expected}"
                );
            }
        }
    }

    #[test]
    fn products_are_the_sums_over_samples() {
        let template = Template::new(&juno_template(0.05));
        let column = |time: f32, row: usize| {
            let mut samples = vec![0.0_f32; 2000];
            let mut position = SplinePosition::new(time);
            position.weights.0[0] = position.weights.0[row];
            template.subtract(&mut samples, &position, -1.0);
            samples
        };
        for (a, b) in [
            (500.0_f32, 500.0_f32),
            (500.3, 507.9),
            (500.7, 430.1),
            (500.0, 503.5),
        ] {
            let (one, other) = (SplinePosition::new(a), SplinePosition::new(b));
            let products: [[f32; 3]; 3] =
                template.products(one.sample - other.sample, &one.weights, &other.weights);
            for (row, products) in products.iter().enumerate() {
                for (col, &product) in products.iter().enumerate() {
                    let (x, y) = (column(a, row), column(b, col));
                    let sum: f64 = x.iter().zip(&y).map(|(x, y)| f64::from(x * y)).sum();
                    let size = (template.squares[row] * template.squares[col]).sqrt();
                    assert!(
                        (f64::from(product) - sum).abs() < 1e-4 * f64::from(size),
                        "{a}, {b}, {row}, {col}: {product} for {sum}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_pulse_outside_the_window_changes_nothing() {
        // A template without a tail, whose coefficients end soon after its pulse.
        let template = Template::new(&juno_template(0.0)[..40]);
        for time in [-500.0_f32, -60.0, -54.5, 108.0, 5000.0] {
            let position = SplinePosition::new(time);
            let mut samples = vec![1.0; 100];
            template.subtract(&mut samples, &position, 1.0);
            assert!(samples.iter().all(|&sample| sample == 1.0), "{time}");
            assert_eq!(
                template.inner_products(&samples, position.sample),
                [0.0; 4],
                "{time}"
            );
        }
    }

    #[test]
    fn projections_are_the_sums_over_samples_at_the_edges_too() {
        let template = Template::new(&juno_template(0.05));
        let samples: Vec<f32> = (0..1000).map(|k| ((k * 37) % 101) as f32 - 50.0).collect();
        for time in [-20.0_f32, -3.5, 0.0, 400.25, 960.75, 998.0] {
            let position = SplinePosition::new(time);
            let found = position
                .weights
                .inner_product(0, &template.inner_products(&samples, position.sample));
            let mut column = vec![0.0; 1000];
            template.subtract(&mut column, &position, -1.0);
            let sum: f32 = column.iter().zip(&samples).map(|(x, y)| x * y).sum();
            assert!(
                (found - sum).abs() < 0.05 + 1e-4 * sum.abs(),
                "{time}: {found} for {sum}"
            );
        }
    }

    #[test]
    fn main_pulse_products_are_the_sums_at_every_sample_of_a_window() {
        let template = Template::new(&juno_template(0.05));
        let samples: Vec<f32> = (0..300).map(|k| ((k * 7919) % 101) as f32 - 50.0).collect();
        for length in [0, 5, 40, 300] {
            let samples = &samples[..length];
            let mut found = vec![1.0];
            template.main_pulse_products(samples, 0..length + 3, &mut found);
            assert_eq!(found.len(), length + 3);
            for (first, &found) in found.iter().enumerate() {
                let sum: f64 = samples
                    .iter()
                    .enumerate()
                    .filter_map(|(sample, &value)| {
                        let index = (sample + PADDING - 2).checked_sub(first)?;
                        let pulse = template.main_pulse.get(index)?;
                        Some(f64::from(value * pulse))
                    })
                    .sum();
                assert!(
                    (f64::from(found) - sum).abs() < 0.05,
                    "{length}, {first}: {found} for {sum}"
                );
            }
        }
    }
}
