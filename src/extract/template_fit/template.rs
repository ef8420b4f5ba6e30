//! The template between its samples: a cubic spline, so that a photoelectron may stand anywhere.
//!
//! s(x) = sum_j c_j B(x - j) with the cubic B-spline B, x in samples after the photoelectron's time, and coefficients c such that s
//! goes through the template's samples (M. Unser, IEEE Signal Processing Magazine 16, 22, 1999). A photoelectron at i + f, i whole,
//! takes four neighbouring coefficients a sample, with weights that depend on f alone; so do the derivatives. What two photoelectrons
//! have in common follows from the coefficients' autocorrelation at seven lags.

#![expect(
    clippy::cast_possible_wrap,
    reason = "windows and templates have at most 65,536 samples"
)]

use std::ops::Range;

use multiversion::multiversion;

use crate::extract::load_samples::tree_sum;

/// Coefficients before the photoelectron's time and behind the template's end; there they have died away.
pub const PADDING: usize = 8;
/// Sums run over so many lanes, whatever the processor's vectors.
const LANES: usize = 16;
/// Share of the template's squares that shows a photoelectron.
const SEEN: f32 = 0.05;
/// The main pulse ends where the template last exceeds this share of its peak.
const MAIN_PULSE: f32 = 0.05;

/// A template as a spline, and its inner products.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// c, from [`PADDING`] before the photoelectron's time.
    pub coefficients: Vec<f32>,
    /// sum_k c_k c_{k + l} for each lag l.
    pub correlation: Vec<f32>,
    /// The template's main pulse at whole samples, from where the coefficients reach it, and zeros to the lanes' end and [`PADDING`] more.
    pub pulse: Vec<f32>,
    /// Sum of the coefficients before each place.
    pub sum: Vec<f32>,
    /// Shares of the squares of s, and of s', before each place.
    pub share: [Vec<f32>; 2],
    /// Squares of s, of its first and of its second derivative, summed over samples.
    pub squares: [f32; 3],
    /// How far apart two photoelectrons have to be to look different: sqrt(squares of s / squares of s'), in samples.
    pub scale: f32,
    /// Samples from the photoelectron's time to the main pulse's end.
    pub main: usize,
    /// Samples until so much of it has been seen that it can be told from nothing.
    pub seen: usize,
}

/// Weights of the four coefficients round a place for s, its first and its second derivative with respect to x.
#[derive(Clone, Copy, Debug)]
pub struct Weights(pub [[f32; 4]; 3]);

/// A photoelectron's time as the template's spline takes it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// The sample before it, or at it.
    pub sample: i32,
    /// The weights that belong to the rest.
    pub weights: Weights,
}

impl Place {
    /// The place of a time `at` in samples.
    #[must_use]
    pub fn of(at: f32) -> Self {
        let sample = at.floor();
        Self {
            sample: sample as i32,
            weights: Weights::of(at - sample),
        }
    }
}

impl Weights {
    /// The weights of a photoelectron a share `f` of a sample behind a sample.
    #[must_use]
    pub fn of(f: f32) -> Self {
        let g = 1.0 - f;
        Self([
            [
                g * g * g / 6.0,
                2.0 / 3.0 - f * f + 0.5 * f * f * f,
                2.0 / 3.0 - g * g + 0.5 * g * g * g,
                f * f * f / 6.0,
            ],
            [
                0.5 * g * g,
                2.0 * f - 1.5 * f * f,
                1.5 * g * g - 2.0 * g,
                -0.5 * f * f,
            ],
            [g, 3.0 * f - 2.0, 3.0 * g - 2.0, f],
        ])
    }

    /// The inner product of one of the three rows with what the four coefficients have in common with something.
    #[must_use]
    pub fn dot(&self, row: usize, values: &[f32; 4]) -> f32 {
        let weights = &self.0[row];
        (weights[0] * values[0] + weights[1] * values[1])
            + (weights[2] * values[2] + weights[3] * values[3])
    }

    /// What a photoelectron has in common with each of another one's coefficients, by one of the three rows and their
    /// [`lags`](Response::lags).
    #[must_use]
    pub fn common(&self, row: usize, lags: &[f32; 7]) -> [f32; 4] {
        let weights = &self.0[row];
        std::array::from_fn(|p| {
            (weights[0] * lags[3 + p] + weights[1] * lags[2 + p])
                + (weights[2] * lags[1 + p] + weights[3] * lags[p])
        })
    }
}

impl Response {
    /// The spline through `template`, a channel's response to one photoelectron.
    #[must_use]
    pub fn new(template: &[f32]) -> Self {
        let length = template.len() + 2 * PADDING;
        let mut c = vec![0.0_f64; length];
        for (value, &sample) in c[PADDING..].iter_mut().zip(template) {
            *value = f64::from(sample);
        }
        // The two recursive halves of the inverse of the spline's samples (1 4 1) / 6.
        let pole = 3.0_f64.sqrt() - 2.0;
        for index in 1..length {
            c[index] += pole * c[index - 1];
        }
        let mut behind = 0.0;
        for value in c.iter_mut().rev() {
            behind = pole * (behind - *value);
            *value = behind;
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
                .and_then(|index| template.get(index));
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
        let seen = share[0].iter().position(|&share| share > SEEN);
        let mut response = Self {
            sum: running(&mut c.iter().copied())
                .into_iter()
                .map(|value| value as f32)
                .collect(),
            share,
            coefficients: c.into_iter().map(|value| value as f32).collect(),
            correlation,
            pulse: Vec::new(),
            squares: [0.0; 3],
            scale: 0.0,
            main: main_pulse(template),
            seen: seen.unwrap_or(0).saturating_sub(PADDING),
        };
        let on = Weights::of(0.0);
        response.pulse = response
            .coefficients
            .windows(4)
            .take(response.main)
            .map(|c| on.dot(0, &[c[3], c[2], c[1], c[0]]))
            .collect();
        let whole = response.main.next_multiple_of(LANES);
        response.pulse.resize(whole + PADDING, 0.0);
        let between = Weights::of(0.5);
        let products: [[f32; 3]; 3] = response.products(0, &between, &between);
        response.squares = [products[0][0], products[1][1], products[2][2]];
        response.scale = (response.squares[0] / response.squares[1].max(f32::MIN_POSITIVE)).sqrt();
        response
    }

    /// Sum of the template over its main pulse.
    #[must_use]
    pub fn main_area(&self) -> f32 {
        let end = self.main + PADDING;
        self.sum.get(end).copied().unwrap_or(0.0)
    }

    /// The samples of a window of `length` that a photoelectron at `sample` reaches, and the coefficient that the first of them
    /// takes with the last of the four weights.
    #[must_use]
    pub fn reach(&self, sample: i32, length: usize) -> (usize, usize, usize) {
        let padding = PADDING as i32;
        let begin = (sample + 2 - padding).clamp(0, length as i32);
        let end =
            (sample - 1 - padding + self.coefficients.len() as i32).clamp(begin, length as i32);
        let first = begin - sample - 2 + padding;
        (begin as usize, end as usize, first.max(0) as usize)
    }

    /// Takes a photoelectron of charge `charge` at `place` off `samples`.
    pub fn subtract(&self, samples: &mut [f32], place: &Place, charge: f32) {
        let (begin, end, first) = self.reach(place.sample, samples.len());
        // Far before the window the coefficients end as well.
        if begin == end {
            return;
        }
        subtract(
            &mut samples[begin..end],
            &self.coefficients[first..],
            place.weights.0[0].map(|weight| weight * charge),
        );
    }

    /// What `samples` have in common with the main pulse of a photoelectron at each sample of `places`.
    pub fn common_with_pulse(&self, samples: &[f32], places: Range<usize>, into: &mut Vec<f32>) {
        into.clear();
        into.resize(places.len(), 0.0);
        common(samples, &self.pulse, places.start, into);
    }

    /// What `samples` have in common with each of the four coefficients of a photoelectron at `sample`.
    #[must_use]
    pub fn project(&self, samples: &[f32], sample: i32) -> [f32; 4] {
        let (begin, end, first) = self.reach(sample, samples.len());
        if begin == end {
            return [0.0; 4];
        }
        project(&samples[begin..end], &self.coefficients[first..])
    }

    /// What the coefficients of two photoelectrons, one `lag` samples before the other, have in common, from three samples before to three
    /// behind.
    #[must_use]
    pub fn lags(&self, lag: i32) -> [f32; 7] {
        let far = lag.unsigned_abs() as usize;
        let there = far
            .checked_sub(3)
            .and_then(|first| self.correlation.get(first..far + 4)?.first_chunk());
        match there {
            Some(&lags) if lag > 0 => lags,
            Some(&[a, b, c, d, e, f, g]) => [g, f, e, d, c, b, a],
            None => std::array::from_fn(|index| {
                let lag = (lag + index as i32 - 3).unsigned_abs() as usize;
                self.correlation.get(lag).copied().unwrap_or(0.0)
            }),
        }
    }

    /// Inner products of s, s' and s'' (or the first `N` of them) of one photoelectron (rows) with those of another (columns), `lag` whole
    /// samples before it.
    #[must_use]
    pub fn products<const N: usize>(
        &self,
        lag: i32,
        one: &Weights,
        other: &Weights,
    ) -> [[f32; N]; N] {
        let lags = self.lags(lag);
        let mut products = [[0.0; N]; N];
        for column in 0..N.min(3) {
            let common = other.common(column, &lags);
            for (row, products) in products.iter_mut().enumerate() {
                products[column] = one.dot(row, &common);
            }
        }
        products
    }

    /// Sum of the template, and shares of the squares of s and of s', inside a window of `length` for a photoelectron at `sample`.
    #[must_use]
    pub fn inside(&self, sample: i32, length: usize) -> (f32, [f32; 2]) {
        let last = self.coefficients.len() as i32;
        let begin = (PADDING as i32 - sample).clamp(0, last) as usize;
        let end = (PADDING as i32 - sample + length as i32).clamp(0, last) as usize;
        let between = |values: &[f32]| values[end] - values[begin];
        let share = |values: &Vec<f32>| between(values).max(0.0);
        (between(&self.sum), self.share.each_ref().map(share))
    }
}

/// Samples from the photoelectron's time to the end of `template`'s main pulse.
#[must_use]
pub fn main_pulse(template: &[f32]) -> usize {
    let peak = template.iter().copied().fold(0.0, f32::max);
    let last = template
        .iter()
        .rposition(|&value| value > MAIN_PULSE * peak);
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

/// What the main pulse of a photoelectron has in common with `samples`: one at sample `first`, and one at each behind it. The pulse begins
/// `PADDING` - 2 samples before, and ends in as many zeros as those before the window leave of it.
#[multiversion(targets = "simd")]
fn common(samples: &[f32], pulse: &[f32], first: usize, into: &mut [f32]) {
    let before = PADDING - 2;
    let length = pulse.len() - PADDING;
    for (place, common) in (first..).zip(into) {
        let begin = place.saturating_sub(before).min(samples.len());
        let end = (begin + length).min(samples.len());
        let (samples, rest) = samples[begin..end].as_chunks::<LANES>();
        let pulse = &pulse[before.saturating_sub(place)..];
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
        *common = tree_sum(sums);
    }
}

#[multiversion(targets = "simd")]
fn project(samples: &[f32], coefficients: &[f32]) -> [f32; 4] {
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
        let response = Response::new(&juno_template(0.0));
        for at in [100.0_f32, 100.25, 100.5, 100.9] {
            let mut samples = vec![0.0; 900];
            response.subtract(&mut samples, &Place::of(at), -1.0);
            for (sample, &value) in samples.iter().enumerate() {
                let expected = 115.0 * juno_pulse(sample as f64 - f64::from(at), 0.0);
                // Of 115: where the pulse sets in, faster than a cubic can.
                assert!(
                    (f64::from(value) - expected).abs() < 0.02,
                    "{at}, sample {sample}: {value} for {expected}"
                );
            }
        }
    }

    #[test]
    fn products_are_the_sums_over_samples() {
        let response = Response::new(&juno_template(0.05));
        let column = |at: f32, row: usize| {
            let mut samples = vec![0.0_f32; 2000];
            let mut place = Place::of(at);
            place.weights.0[0] = place.weights.0[row];
            response.subtract(&mut samples, &place, -1.0);
            samples
        };
        for (a, b) in [
            (500.0_f32, 500.0_f32),
            (500.3, 507.9),
            (500.7, 430.1),
            (500.0, 503.5),
        ] {
            let (one, other) = (Place::of(a), Place::of(b));
            let products: [[f32; 3]; 3] =
                response.products(one.sample - other.sample, &one.weights, &other.weights);
            for (row, products) in products.iter().enumerate() {
                for (col, &product) in products.iter().enumerate() {
                    let (x, y) = (column(a, row), column(b, col));
                    let sum: f64 = x.iter().zip(&y).map(|(x, y)| f64::from(x * y)).sum();
                    let size = (response.squares[row] * response.squares[col]).sqrt();
                    assert!(
                        (f64::from(product) - sum).abs() < 1e-4 * f64::from(size),
                        "{a}, {b}, {row}, {col}: {product} for {sum}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_lies_outside_a_window_leaves_it_alone() {
        // A template without a tail, whose coefficients end soon behind its pulse.
        let response = Response::new(&juno_template(0.0)[..40]);
        for at in [-500.0_f32, -60.0, -54.5, 108.0, 5000.0] {
            let place = Place::of(at);
            let mut samples = vec![1.0; 100];
            response.subtract(&mut samples, &place, 1.0);
            assert!(samples.iter().all(|&sample| sample == 1.0), "{at}");
            assert_eq!(response.project(&samples, place.sample), [0.0; 4], "{at}");
        }
    }

    #[test]
    fn projections_are_the_sums_over_samples_at_the_edges_too() {
        let response = Response::new(&juno_template(0.05));
        let samples: Vec<f32> = (0..1000).map(|k| ((k * 37) % 101) as f32 - 50.0).collect();
        for at in [-20.0_f32, -3.5, 0.0, 400.25, 960.75, 998.0] {
            let place = Place::of(at);
            let found = place
                .weights
                .dot(0, &response.project(&samples, place.sample));
            let mut column = vec![0.0; 1000];
            response.subtract(&mut column, &place, -1.0);
            let sum: f32 = column.iter().zip(&samples).map(|(x, y)| x * y).sum();
            assert!(
                (found - sum).abs() < 0.05 + 1e-4 * sum.abs(),
                "{at}: {found} for {sum}"
            );
        }
    }

    #[test]
    fn the_main_pulse_is_looked_for_at_every_sample_of_a_window() {
        let response = Response::new(&juno_template(0.05));
        let samples: Vec<f32> = (0..300).map(|k| ((k * 7919) % 101) as f32 - 50.0).collect();
        for length in [0, 5, 40, 300] {
            let samples = &samples[..length];
            let mut found = vec![1.0];
            response.common_with_pulse(samples, 0..length + 3, &mut found);
            assert_eq!(found.len(), length + 3);
            for (place, &found) in found.iter().enumerate() {
                let sum: f64 = samples
                    .iter()
                    .enumerate()
                    .filter_map(|(sample, &value)| {
                        let at = (sample + PADDING - 2).checked_sub(place)?;
                        let pulse = response.pulse.get(at)?;
                        Some(f64::from(value * pulse))
                    })
                    .sum();
                assert!(
                    (f64::from(found) - sum).abs() < 0.05,
                    "{length}, {place}: {found} for {sum}"
                );
            }
        }
    }
}
