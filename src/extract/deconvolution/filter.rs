//! Design of the deconvolution of one template: low-pass filter, decimation, kernel and noise.
//!
//! Computed once per template in double precision. The deconvolved trace of a photoelectron at time t0 with charge q is
//! q K(t - t0), in PE per ns, where K, the kernel, is the low-pass F in time: K = IFFT(F). For the Gaussian
//! F(f) = exp(-f^2 / 2 s^2) it is a Gaussian with a standard deviation of 1 / (2 pi s). The filter's shape and the
//! method follow arXiv:1707.03699 and arXiv:2411.07620.

use num_complex::Complex64;
use rustfft::FftPlanner;

use super::auto_filter::{REGULARIZATION, auto_sigma, find_band, pass_of_notches, widest_sigma};
use super::decimate;
use super::template_area::with_min_area;
use crate::error::{Error, Hint, Result};
use crate::extract::parameters::Filter;
use crate::math;
use crate::model::ChannelCalibration;

/// Noise for `auto` if the calibration has none, as a share of the peak of the template.
const AUTO_NOISE: f64 = 0.1;
/// Largest value of the filter beyond [`HALVED_BAND`] for which the rate is halved: aliasing is then a thousandth of the noise.
const FILTER_END: f64 = 2e-3;
/// In cycles per sample; the band of the halved rate ends at 0.25.
const HALVED_BAND: f64 = 0.22;
/// Values of the kernel per sample.
const KERNEL_STEPS: usize = 8;
/// Share of the absolute sum of the inverse that may wrap around the end of the transform.
const WRAP: f64 = 0.01;

/// The low-pass filter, frequencies in cycles per sample.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    /// `notch_power` is |S|^2 at which the filter has fallen to half in a notch of the spectrum; 0 without notches.
    Flat {
        flat: f64,
        sigma: f64,
        notch_power: f64,
    },
    Wiener {
        noise_power: f64,
    },
}

/// The deconvolution of one template, for waveforms of any length.
#[derive(Clone, Debug)]
pub struct Design {
    template_adc: Vec<f64>,
    shape: Shape,
    /// Largest |S|, for the regularization.
    peak_spectrum: f64,
    /// Samples of the waveform per sample of the deconvolved trace: 1 or 2.
    pub decimation: usize,
    /// Sampling interval.
    pub sampling_ns: f64,
    /// Standard deviation of the Gaussian with the height of the kernel.
    pub kernel_sigma_ns: f64,
    /// Samples after the window that keep the tail of the inverse from wrapping around.
    pub padding: usize,
    /// Integral of the kernel from minus infinity, [`KERNEL_STEPS`] values per sample from `-kernel_lead`.
    kernel_integral: Vec<f64>,
    /// Samples after which the kernel, and the response of the inverse before its time, vanish.
    pub kernel_lead: usize,
    /// Standard deviation of the deconvolved trace in PE/ns for white noise of 1 ADC count per sample.
    pub noise_gain: f64,
    /// Full-rate response of the inverse, low-passed, in PE/ns for one ADC count in one sample: the second half is
    /// before time 0, as the transform is circular.
    pub(super) inverse: Vec<f64>,
}

impl Design {
    /// Designs the deconvolution of the template of `row` with `filter`.
    ///
    /// # Errors
    /// If the filter is wider than the sampling allows.
    pub fn new(row: &ChannelCalibration, filter: Filter) -> Result<Self> {
        let template_adc = with_min_area(&row.template_adc);
        let sampling_ns = f64::from(row.sampling_ns);
        let length = (4 * template_adc.len()).next_power_of_two().max(4096);
        let spectrum = spectrum_of(&template_adc, length);
        let magnitude: Vec<f64> = spectrum[..=length / 2]
            .iter()
            .map(|bin| math::hypot(bin.re, bin.im))
            .collect();
        let peak_spectrum = magnitude.iter().copied().fold(0.0, f64::max);
        let noise_adc = if row.noise_adc > 0.0 {
            f64::from(row.noise_adc)
        } else {
            AUTO_NOISE * template_adc.iter().copied().fold(0.0, f64::max)
        };
        // Power of white noise in the same transform as |S|^2, over the length of the pulse.
        let noise_power = noise_adc * noise_adc * template_adc.len().min(64) as f64;
        let per_sample = |mhz: f64| mhz * 1e-3 * sampling_ns;
        let shape = match filter {
            Filter::Auto => {
                let (end, notch_power) = find_band(&magnitude, peak_spectrum, noise_power);
                let widest = widest_sigma(end as f64 / length as f64);
                Shape::Flat {
                    flat: 0.0,
                    sigma: auto_sigma(&magnitude, widest, notch_power, noise_adc),
                    notch_power,
                }
            }
            Filter::Gaussian { sigma_mhz } => Shape::Flat {
                flat: 0.0,
                sigma: per_sample(sigma_mhz),
                notch_power: 0.0,
            },
            Filter::Flat {
                flat_mhz,
                sigma_mhz,
            } => Shape::Flat {
                flat: per_sample(flat_mhz),
                sigma: per_sample(sigma_mhz),
                notch_power: 0.0,
            },
            Filter::Wiener => Shape::Wiener { noise_power },
        };
        if let Shape::Flat { flat, sigma, .. } = shape
            && (flat + sigma > 0.5 || sigma < 1e-3)
        {
            return Err(Error::usage(format!(
                "the filter `{filter}` does not fit a sampling interval of {sampling_ns} ns"
            ))
            .with_hint(Hint::ChooseFilter {
                max_mhz: 500.0 / sampling_ns,
            }));
        }
        let mut design = Self {
            template_adc,
            shape,
            peak_spectrum,
            decimation: 1,
            sampling_ns,
            kernel_sigma_ns: 0.0,
            padding: 0,
            kernel_integral: Vec::new(),
            kernel_lead: 0,
            noise_gain: 0.0,
            inverse: Vec::new(),
        };
        let beyond = ((HALVED_BAND * length as f64) as usize..=length / 2)
            .map(|bin| design.filter(bin as f64 / length as f64, magnitude[bin]))
            .fold(0.0, f64::max);
        design.decimation = if beyond < FILTER_END { 2 } else { 1 };
        design.derive_kernels(&spectrum);
        Ok(design)
    }

    /// Returns the low-pass at `frequency` (cycles per sample), where the spectrum of the template has the magnitude `magnitude`.
    fn filter(&self, frequency: f64, magnitude: f64) -> f64 {
        match self.shape {
            Shape::Flat {
                flat,
                sigma,
                notch_power,
            } => {
                let over = ((frequency - flat) / sigma).max(0.0);
                math::exp(-0.5 * over * over) * pass_of_notches(magnitude, notch_power)
            }
            Shape::Wiener { noise_power } => {
                magnitude * magnitude / (magnitude * magnitude + noise_power)
            }
        }
    }

    /// Returns F conj(S) / (|S|^2 + e^2) in PE/ns per ADC count.
    fn inverse_at(&self, frequency: f64, bin: Complex64) -> Complex64 {
        let magnitude = math::hypot(bin.re, bin.im);
        let smallest = REGULARIZATION * self.peak_spectrum;
        bin.conj()
            * (self.filter(frequency, magnitude)
                / (magnitude * magnitude + smallest * smallest)
                / self.sampling_ns)
    }

    fn derive_kernels(&mut self, spectrum: &[Complex64]) {
        let length = spectrum.len();
        // The kernel is needed between the samples too: a longer transform, zero beyond the band, interpolates it.
        let mut kernel = vec![Complex64::ZERO; KERNEL_STEPS * length];
        let mut inverse = vec![Complex64::ZERO; length];
        for bin in 0..length {
            let frequency = bin.min(length - bin) as f64 / length as f64;
            inverse[bin] = self.inverse_at(frequency, spectrum[bin]);
            let position = if bin <= length / 2 {
                bin
            } else {
                bin + (KERNEL_STEPS - 1) * length
            };
            kernel[position] = Complex64::from(
                self.filter(frequency, math::hypot(spectrum[bin].re, spectrum[bin].im)),
            );
        }
        let power: f64 = inverse.iter().map(Complex64::norm_sqr).sum();
        self.noise_gain = (power / length as f64).sqrt();
        let mut planner = FftPlanner::new();
        planner.plan_fft_inverse(kernel.len()).process(&mut kernel);
        planner.plan_fft_inverse(length).process(&mut inverse);
        let scale = 1.0 / length as f64;
        // A Gaussian of height h and area 1 has a standard deviation of 1 / (h sqrt(2 pi)).
        let height = kernel[0].re * scale / self.sampling_ns;
        self.kernel_sigma_ns = 1.0 / (height * (2.0 * std::f64::consts::PI).sqrt());
        let sigma_samples = self.kernel_sigma_ns / self.sampling_ns;
        self.kernel_lead = ((8.0 * sigma_samples).ceil() as usize + 2).min(length / 4);
        let lead = self.kernel_lead;
        let fine_lead = KERNEL_STEPS * lead;
        let mut sum = 0.0;
        self.kernel_integral = (0..=2 * fine_lead)
            .map(|offset| {
                let value = kernel[(offset + kernel.len() - fine_lead) % kernel.len()].re * scale
                    / KERNEL_STEPS as f64;
                sum += value;
                // Half of each value lies before its time, half after it.
                sum - 0.5 * value
            })
            .collect();
        self.inverse = inverse.iter().map(|value| value.re * scale).collect();
        let absolute: f64 = self.inverse.iter().map(|value| value.abs()).sum();
        let longest_of = |response: &mut dyn Iterator<Item = &f64>| {
            let mut tail = 0.0;
            length / 2
                - response
                    .take_while(|value| {
                        tail += value.abs();
                        tail <= 0.5 * WRAP * absolute
                    })
                    .count()
        };
        let (after, before) = self.inverse.split_at(length / 2);
        let (after, before) = (
            longest_of(&mut after.iter().rev()),
            longest_of(&mut before.iter()),
        );
        self.padding = (after + before).max(4 * lead);
    }

    /// Returns the spectrum that multiplies that of the decimated waveform, for a transform of `n_fft` decimated samples:
    /// bins 0 to `n_fft / 2`, including the factor `1 / n_fft` of the transform.
    #[must_use]
    pub fn spectrum(&self, n_fft: usize) -> Vec<Complex64> {
        let full = n_fft * self.decimation;
        let spectrum = spectrum_of(&self.template_adc, full);
        (0..=n_fft / 2)
            .map(|bin| {
                let frequency = bin as f64 / full as f64;
                let folded = if self.decimation == 2 {
                    decimate::low_pass_response(frequency)
                } else {
                    1.0
                };
                // Both halves of the band alias to the last bin of a halved rate; the filter has ended there.
                if self.decimation == 2 && 2 * bin == n_fft {
                    return Complex64::ZERO;
                }
                let bin = self.inverse_at(frequency, spectrum[bin]);
                bin / (folded * n_fft as f64)
            })
            .collect()
    }

    /// Writes the decimated pulse of a photoelectron from its time on, in ADC counts.
    pub fn decimated_template(&self, out: &mut [f32]) {
        let at = |index: usize| self.template_adc.get(index).copied().unwrap_or(0.0);
        for (position, sample) in out.iter_mut().enumerate() {
            let centre = position * self.decimation;
            *sample = if self.decimation == 2 {
                // There is no pulse before the time of the photoelectron.
                let sum: f64 = decimate::LOW_PASS_WEIGHTS
                    .iter()
                    .enumerate()
                    .filter_map(|(tap, weight)| Some(weight * at((centre + tap).checked_sub(3)?)))
                    .sum();
                (sum / 64.0) as f32
            } else {
                at(centre) as f32
            };
        }
    }

    /// Returns the integral of the kernel from minus infinity to `time_ns`.
    #[must_use]
    pub fn kernel_integral(&self, time_ns: f64) -> f64 {
        let position = time_ns / self.sampling_ns + self.kernel_lead as f64;
        interpolate(&self.kernel_integral, KERNEL_STEPS as f64 * position)
    }

    /// Returns the height of the template over its area above 0, per ns.
    #[must_use]
    pub fn height_per_area(&self) -> f64 {
        let (peak, area) = self
            .template_adc
            .iter()
            .fold((0.0_f64, 0.0), |(peak, area), &value| {
                (peak.max(value), area + value.max(0.0))
            });
        peak / (area * self.sampling_ns).max(f64::MIN_POSITIVE)
    }

    /// Returns the spectrum by which that of a deconvolved trace is multiplied to get decimated samples in ADC counts, for a transform of
    /// `n_fft` decimated samples: bins 0 to `n_fft / 2`, including the factor `1 / n_fft` of the transform.
    #[must_use]
    pub fn decimated_template_spectrum(&self, n_fft: usize) -> Vec<Complex64> {
        let full = n_fft * self.decimation;
        let spectrum = spectrum_of(&self.template_adc, full);
        (0..=n_fft / 2)
            .map(|bin| {
                let folded = if self.decimation == 2 {
                    decimate::low_pass_response(bin as f64 / full as f64)
                } else {
                    1.0
                };
                spectrum[bin] * (folded * self.sampling_ns / n_fft as f64)
            })
            .collect()
    }

    /// Returns the spectrum by which that of a deconvolved trace, interpolated to the sampling rate, is multiplied to get samples in ADC
    /// counts: bins 0 to `n_samples / 2`, including the factor `1 / n_samples` of the transform.
    #[must_use]
    pub fn template_spectrum(&self, n_samples: usize) -> Vec<Complex64> {
        let scale = self.sampling_ns / n_samples as f64;
        let mut spectrum = spectrum_of(&self.template_adc, n_samples);
        spectrum.truncate(n_samples / 2 + 1);
        for bin in &mut spectrum {
            *bin *= scale;
        }
        spectrum
    }

    /// Returns the length of the transform in decimated samples for a window of `n_samples`: a power of two.
    ///
    /// Lengths with a factor of 3 would pad less, but cost as much as the next power of two and suit shaders less.
    #[must_use]
    pub fn n_fft(&self, n_samples: usize) -> usize {
        // Each is rounded up: half a sample of either is a whole one at the halved rate.
        let padding = self.padding.min(n_samples + self.template_adc.len());
        let least = n_samples.div_ceil(self.decimation) + padding.div_ceil(self.decimation);
        least.max(32).next_power_of_two()
    }
}

/// Returns the discrete spectrum of `template` at the bins of a transform of `length` samples (a longer template is folded, which keeps the
/// spectrum at these bins exact).
fn spectrum_of(template: &[f64], length: usize) -> Vec<Complex64> {
    let mut spectrum = vec![Complex64::ZERO; length];
    for (index, &value) in template.iter().enumerate() {
        spectrum[index % length] += value;
    }
    FftPlanner::new()
        .plan_fft_forward(length)
        .process(&mut spectrum);
    spectrum
}

fn interpolate(values: &[f64], position: f64) -> f64 {
    let (Some(first), Some(last)) = (values.first(), values.last()) else {
        return 0.0;
    };
    if position <= 0.0 {
        return *first;
    }
    let index = position.floor() as usize;
    match (values.get(index), values.get(index + 1)) {
        (Some(a), Some(b)) => a + (b - a) * (position - index as f64),
        _ => *last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::tests::helpers::juno_row;

    fn design(undershoot: f32, filter: Filter) -> Design {
        Design::new(&juno_row(undershoot, 0.1), filter).expect("a valid filter")
    }

    #[test]
    fn auto_gives_the_wanted_significance() {
        let design = Design::new(&juno_row(0.05, 0.1), Filter::Auto).expect("a valid filter");
        let height = 1.0 / (design.kernel_sigma_ns * (2.0 * std::f64::consts::PI).sqrt());
        let significance = height / (design.noise_gain * f64::from(juno_row(0.05, 0.1).noise_adc));
        assert!(
            (significance - super::super::auto_filter::AUTO_SIGNIFICANCE).abs() < 0.1,
            "{significance}"
        );
        assert_eq!(design.decimation, 2);
    }

    #[test]
    fn a_gaussian_filter_has_the_kernel_of_its_width() {
        let design = design(0.05, Filter::Gaussian { sigma_mhz: 45.0 });
        let expected = 1e3 / (2.0 * std::f64::consts::PI * 45.0);
        assert!(
            (design.kernel_sigma_ns / expected - 1.0).abs() < 1e-3,
            "{} for {expected}",
            design.kernel_sigma_ns
        );
        assert!((design.kernel_integral(0.0) - 0.5).abs() < 1e-6);
        assert!((design.kernel_integral(expected) - 0.841_345).abs() < 2e-3);
        assert!((design.kernel_integral(100.0) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn a_filter_beyond_the_sampling_is_refused() {
        let error = Design::new(&juno_row(0.05, 0.1), Filter::Gaussian { sigma_mhz: 900.0 })
            .expect_err("too wide");
        assert_eq!(error.hints(), [Hint::ChooseFilter { max_mhz: 500.0 }]);
    }

    #[test]
    fn longer_undershoots_get_longer_padding() {
        let short = design(0.0, Filter::Auto).padding;
        let long = design(0.10, Filter::Auto).padding;
        assert!(short < 200 && long > 300, "{short} {long}");
    }
}
