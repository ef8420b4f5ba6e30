//! The cubic B-spline: the weights of the coefficients at any time.
//!
//! s(x) = sum_j c_j B(x - j) with the cubic B-spline B, x in samples after the time of the pulse, and coefficients c for which s
//! passes through the samples of the template (M. Unser, IEEE Signal Processing Magazine 16, 22, 1999). A sample of a pulse at i + f, i whole,
//! is a weighted sum of four neighbouring coefficients, with weights that depend only on f; so are the derivatives.

/// Weights of the four coefficients around a time for s, its first and its second derivative with respect to x.
#[derive(Clone, Copy, Debug)]
pub struct Weights(pub [[f32; 4]; 3]);

/// A time as whole sample and weights of the spline.
#[derive(Clone, Copy, Debug)]
pub struct SplinePosition {
    /// The sample at or before the time.
    pub sample: i32,
    /// The weights of the fraction.
    pub weights: Weights,
}

impl SplinePosition {
    /// Creates the position of a time in samples.
    #[must_use]
    pub fn new(time: f32) -> Self {
        let sample = time.floor();
        Self {
            sample: sample as i32,
            weights: Weights::new(time - sample),
        }
    }
}

impl Weights {
    /// Creates the weights of a pulse a fraction `f` of a sample after a sample.
    #[must_use]
    pub fn new(f: f32) -> Self {
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

    /// Returns the inner product of one of the three rows with the inner products of the four coefficients.
    #[must_use]
    pub fn inner_product(&self, row: usize, values: &[f32; 4]) -> f32 {
        let weights = &self.0[row];
        (weights[0] * values[0] + weights[1] * values[1])
            + (weights[2] * values[2] + weights[3] * values[3])
    }

    /// Returns the inner products of a pulse (one of the three rows) with each coefficient of another, given their
    /// [`correlation_lags`](super::template::Template::correlation_lags).
    #[must_use]
    pub fn correlate(&self, row: usize, lags: &[f32; 7]) -> [f32; 4] {
        let weights = &self.0[row];
        std::array::from_fn(|p| {
            (weights[0] * lags[3 + p] + weights[1] * lags[2 + p])
                + (weights[2] * lags[1 + p] + weights[3] * lags[p])
        })
    }
}
