//! The noise of sums and filters of the deconvolved trace, for white noise of the samples.

use num_complex::Complex64;
use rustfft::FftPlanner;

use super::filter::Design;

impl Design {
    /// Returns the standard deviation of the charge in 0, 1, .. `longest` decimated samples, for white noise of 1 ADC count.
    #[must_use]
    pub fn charge_noise_pe(&self, longest: usize) -> Vec<f64> {
        let all_covariances = self.trace_covariance();
        let step_ns = self.decimation as f64 * self.sampling_ns;
        let covariance =
            |lag: usize| all_covariances[lag % all_covariances.len()] * step_ns * step_ns;
        // var(w + 1) = var(w) + c(0) + 2 (c(1) + .. + c(w))
        let (mut variance, mut ahead) = (0.0_f64, 0.0);
        let mut all = vec![0.0];
        for width in 0..longest {
            if width > 0 {
                ahead += 2.0 * covariance(width);
            }
            variance += covariance(0) + ahead;
            all.push(variance.max(0.0).sqrt());
        }
        all
    }

    /// Returns the standard deviation of the trace in PE/ns after a filter with the weights `taps`, for white noise of 1 ADC count.
    #[must_use]
    pub fn filtered_noise(&self, taps: &[f64]) -> f64 {
        let covariance = self.trace_covariance();
        let mut variance = 0.0;
        for (i, a) in taps.iter().enumerate() {
            for (j, b) in taps.iter().enumerate() {
                variance += a * b * covariance[i.abs_diff(j) % covariance.len()];
            }
        }
        variance.max(0.0).sqrt()
    }

    /// Returns the covariance of the samples of the trace by their distance, in (PE/ns)^2 for white noise of 1 ADC count.
    fn trace_covariance(&self) -> Vec<f64> {
        let length = self.inverse.len();
        let mut spectrum: Vec<Complex64> = self
            .inverse
            .iter()
            .map(|&value| Complex64::from(value))
            .collect();
        let mut planner = FftPlanner::new();
        planner.plan_fft_forward(length).process(&mut spectrum);
        for bin in &mut spectrum {
            *bin = Complex64::from(bin.norm_sqr() / length as f64);
        }
        planner.plan_fft_inverse(length).process(&mut spectrum);
        spectrum
            .iter()
            .step_by(self.decimation)
            .map(|bin| bin.re)
            .collect()
    }
}
