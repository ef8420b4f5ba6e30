//! A filter of real samples by FFT, in place.
//!
//! The transform of n real samples is that of n / 2 complex ones, even samples real and odd ones imaginary. The
//! filter H is applied without unpacking: with Z the packed transform and M = n / 2,
//! Z'(k) = A(k) Z(k) + B(k) conj(Z(M - k)), A = P - Q sin(pi k / M), B = i Q cos(pi k / M),
//! P and Q = (H(k) +- conj(H(M - k))) / 2. Two waveforms are never packed into one transform: by rounding, the hits of one would depend on
//! the other.

use std::sync::Arc;

use num_complex::{Complex32, Complex64};
use rustfft::{Fft, FftPlanner};

use crate::extract::aligned_buffer::AlignedBuffer;
use crate::math;

/// A filter for one length of the transform.
pub(super) struct PackedFilter {
    /// Real and imaginary parts of A and of B, one after the other: loads of separate parts need no shuffles.
    factors: AlignedBuffer,
    forward: Arc<dyn Fft<f32>>,
    backward: Arc<dyn Fft<f32>>,
}

/// Scratch memory of [`PackedFilter::apply`].
#[derive(Debug, Default)]
pub(super) struct PackedWorkspace {
    /// Real parts of conj(Z(M - k)), then the imaginary parts.
    mirrored: AlignedBuffer,
    scratch: AlignedBuffer,
}

impl PackedFilter {
    /// Creates the filter with the bins 0 to n / 2 of `spectrum`, which includes the factor 1 / n of a transform of n samples.
    pub(super) fn new(spectrum: &[Complex64]) -> Self {
        let half = spectrum.len() - 1;
        let mut planner = FftPlanner::<f32>::new();
        let mut factors = AlignedBuffer::default();
        factors.resize(4 * half, 0.0);
        // The factors A and B (see the module docs); those of the packed transform are twice as large.
        for k in 0..half {
            let (p, q) = packed_factors(spectrum, k);
            let (sin, cos) = math::sin_cos(std::f64::consts::PI * k as f64 / half as f64);
            let (direct, mirrored) = (p - q * sin, Complex64::I * q * cos);
            let parts = [direct.re, direct.im, mirrored.re, mirrored.im];
            for (part, value) in parts.into_iter().enumerate() {
                factors[part * half + k] = value as f32;
            }
        }
        Self {
            factors,
            forward: planner.plan_fft_forward(half),
            backward: planner.plan_fft_inverse(half),
        }
    }

    /// Filters `samples`, as many as the transform has.
    pub(super) fn apply(&self, samples: &mut AlignedBuffer, work: &mut PackedWorkspace) {
        let packed = samples.as_complex_mut();
        let scratch = self
            .forward
            .get_inplace_scratch_len()
            .max(self.backward.get_inplace_scratch_len());
        work.scratch.resize(2 * scratch, 0.0);
        let scratch = work.scratch.as_complex_mut();
        self.forward.process_with_scratch(packed, scratch);
        work.mirrored.resize(2 * packed.len(), 0.0);
        mirror(packed, &mut work.mirrored);
        filter(packed, &work.mirrored, &self.factors);
        self.backward.process_with_scratch(packed, scratch);
    }
}

/// Returns P and Q of bin `k` (see the module docs), times two.
pub(crate) fn packed_factors(spectrum: &[Complex64], k: usize) -> (Complex64, Complex64) {
    let (here, there) = (spectrum[k], spectrum[spectrum.len() - 1 - k].conj());
    (here + there, here - there)
}

/// Writes the real parts of conj(Z(M - k)) for every k, then the imaginary parts.
#[multiversion::multiversion(targets = "simd")]
fn mirror(bins: &[Complex32], out: &mut [f32]) {
    let Some((first, rest)) = bins.split_first() else {
        return;
    };
    let (re, im) = out.split_at_mut(bins.len());
    (re[0], im[0]) = (first.re, -first.im);
    let count = rest.len();
    let (re, im) = (&mut re[1..][..count], &mut im[1..][..count]);
    for index in 0..count {
        let bin = rest[count - 1 - index];
        (re[index], im[index]) = (bin.re, -bin.im);
    }
}

/// Replaces Z(k) by A(k) Z(k) + B(k) conj(Z(M - k)).
#[multiversion::multiversion(targets = "simd")]
fn filter(bins: &mut [Complex32], mirrored: &[f32], factors: &[f32]) {
    let count = bins.len();
    let (mirrored_re, mirrored_im) = mirrored.split_at(count);
    let (a_re, rest) = factors.split_at(count);
    let (a_im, rest) = rest.split_at(count);
    let (b_re, b_im) = rest.split_at(count);
    let (mirrored_im, b_im) = (&mirrored_im[..count], &b_im[..count]);
    for (k, bin) in bins.iter_mut().enumerate() {
        let (re, im) = (mirrored_re[k], mirrored_im[k]);
        *bin = Complex32::new(
            (a_re[k] * bin.re - a_im[k] * bin.im) + (b_re[k] * re - b_im[k] * im),
            (a_re[k] * bin.im + a_im[k] * bin.re) + (b_re[k] * im + b_im[k] * re),
        );
    }
}
