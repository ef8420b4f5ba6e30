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
    direct: AlignedBuffer,
    mirrored: AlignedBuffer,
    forward: Arc<dyn Fft<f32>>,
    backward: Arc<dyn Fft<f32>>,
}

/// Scratch memory of [`PackedFilter::apply`].
#[derive(Debug, Default)]
pub(super) struct PackedWorkspace {
    reversed: AlignedBuffer,
    scratch: AlignedBuffer,
}

impl PackedFilter {
    /// Creates the filter with the bins 0 to n / 2 of `spectrum`, which includes the factor 1 / n of a transform of n samples.
    pub(super) fn new(spectrum: &[Complex64]) -> Self {
        let half = spectrum.len() - 1;
        let mut planner = FftPlanner::<f32>::new();
        // The factors A and B (see the module docs); those of the packed transform are twice as large.
        let (direct, mirrored): (Vec<_>, Vec<_>) = (0..half)
            .map(|k| {
                let (p, q) = packed_factors(spectrum, k);
                let (sin, cos) = math::sin_cos(std::f64::consts::PI * k as f64 / half as f64);
                (
                    to_complex32(p - q * sin),
                    to_complex32(Complex64::I * q * cos),
                )
            })
            .unzip();
        Self {
            direct: direct.into_iter().collect(),
            mirrored: mirrored.into_iter().collect(),
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
        work.reversed.resize(2 * packed.len(), 0.0);
        mirror(packed, work.reversed.as_complex_mut());
        filter(
            packed,
            work.reversed.as_complex(),
            self.direct.as_complex(),
            self.mirrored.as_complex(),
        );
        self.backward.process_with_scratch(packed, scratch);
    }
}

/// Returns P and Q of bin `k` (see the module docs), times two.
pub(crate) fn packed_factors(spectrum: &[Complex64], k: usize) -> (Complex64, Complex64) {
    let (here, there) = (spectrum[k], spectrum[spectrum.len() - 1 - k].conj());
    (here + there, here - there)
}

pub(crate) fn to_complex32(value: Complex64) -> Complex32 {
    Complex32::new(value.re as f32, value.im as f32)
}

/// Writes conj(Z(M - k)) for every k.
#[multiversion::multiversion(targets = "simd")]
fn mirror(bins: &[Complex32], out: &mut [Complex32]) {
    let Some((first, rest)) = bins.split_first() else {
        return;
    };
    out[0] = first.conj();
    let count = rest.len();
    let out = &mut out[1..][..count];
    for index in 0..count {
        let bin = rest[count - 1 - index];
        out[index] = Complex32 {
            re: bin.re,
            im: -bin.im,
        };
    }
}

#[multiversion::multiversion(targets = "simd")]
fn filter(
    bins: &mut [Complex32],
    reversed: &[Complex32],
    direct: &[Complex32],
    mirrored: &[Complex32],
) {
    for (((bin, reversed), a), b) in bins.iter_mut().zip(reversed).zip(direct).zip(mirrored) {
        *bin = Complex32::new(
            (a.re * bin.re - a.im * bin.im) + (b.re * reversed.re - b.im * reversed.im),
            (a.re * bin.im + a.im * bin.re) + (b.re * reversed.im + b.im * reversed.re),
        );
    }
}
