//! The templates as the kernels know them: plans, spectra in bit-reversed order, tables, twiddle factors.
//!
//! The host keeps them too: a new device starts from them.

use std::collections::HashMap;

use bytemuck::Zeroable as _;
use num_complex::{Complex32, Complex64};

use super::device::Device;
use super::kernels::numbers::{ANGLES_AT, MAX_BINS};
use super::kernels::shared_types::TemplatePlan;
use crate::extract::deconvolution::deconvolve::DeconvolutionPlan;
use crate::extract::deconvolution::packed_filter::packed_factors;
use crate::extract::deconvolution::{charge, hit_finding, residual_baseline};
use crate::extract::extractor::{Channel, PlanKey};
use crate::extract::flat_top;
use crate::extract::template_fit::template::Template;
use crate::math;

/// The plans and tables of all templates so far.
#[derive(Default)]
pub struct TemplateTables {
    plans: Vec<TemplatePlan>,
    spectra: Vec<[f32; 4]>,
    numbers: Vec<f32>,
    indices: HashMap<PlanKey, u32>,
    /// The fields of plans that come from a template of the fit, by calibration row.
    templates: HashMap<usize, TemplatePlan>,
}

/// The tables on a device.
pub struct DeviceTables {
    pub(super) plans: wgpu::Buffer,
    pub(super) spectra: wgpu::Buffer,
    pub(super) tables: wgpu::Buffer,
    pub(super) twiddles: wgpu::Buffer,
    /// Number of plans on the device: later tables have more.
    pub(super) generation: usize,
}

impl TemplateTables {
    /// Returns the index of the plan of `key`, if there is one.
    #[must_use]
    pub fn get(&self, key: PlanKey) -> Option<u32> {
        self.indices.get(&key).copied()
    }

    /// Adds a plan for `channel`, with what a fit needs if there is a `template`, and returns its index; `None` if the tables would no
    /// longer fit bindings of `binding_bytes`.
    pub fn add_plan(
        &mut self,
        key: PlanKey,
        channel: &Channel,
        plan: &DeconvolutionPlan,
        template: Option<&Template>,
        binding_bytes: u64,
    ) -> Option<u32> {
        let spectrum = channel.design.spectrum(plan.n_fft);
        let bins = plan.n_fft / 2;
        let tables: [&[f32]; 7] = [
            &plan.baseline_response,
            &plan.block_response,
            &plan.share_before_end,
            &plan.charge_noise,
            &plan.kernel_integral.values,
            &plan.lead_ramp,
            &plan.tail_ramp,
        ];
        let fitted = match template {
            Some(template) => self.add_template(key.0, channel, template, binding_bytes)?,
            None => TemplatePlan::zeroed(),
        };
        let more: usize = tables.iter().map(|table| table.len()).sum();
        let fits = |length: usize, bytes: usize| (length * bytes) as u64 <= binding_bytes;
        if !fits(self.numbers.len() + more, 4) || !fits(self.spectra.len() + bins / 2 + 1, 16) {
            return None;
        }
        let spectrum_at = self.spectra.len() as u32;
        self.spectra.extend(
            (0..bins / 2)
                .map(|pair| bin_of(pair, bins))
                .chain([bins / 2])
                .map(|k| {
                    let (p, q) = packed_factors(&spectrum, k);
                    let (p, q): (Complex32, Complex32) = (to_complex32(p), to_complex32(q));
                    [p.re, p.im, q.re, q.im]
                }),
        );
        let [
            response,
            block_response,
            shares,
            charge_noise,
            kernel_integral,
            lead,
            tail,
        ] = tables.map(|table| {
            let at = self.numbers.len() as u32;
            self.numbers.extend_from_slice(table);
            (at, table.len() as u32)
        });
        Some(self.push(
            key,
            TemplatePlan {
                spectrum_at,
                response_at: response.0,
                n_response: response.1,
                block_response_at: block_response.0,
                n_block_response: block_response.1,
                shares_at: shares.0,
                n_shares: shares.1,
                charge_noise_at: charge_noise.0,
                n_charge_noise: charge_noise.1,
                kernel_integral_at: kernel_integral.0,
                n_kernel_integral: kernel_integral.1,
                lead_ramp_at: lead.0,
                n_lead_ramp: lead.1,
                tail_ramp_at: tail.0,
                n_tail_ramp: tail.1,
                decimation: channel.design.decimation as u32,
                smoothing: plan.smoothing() as u32,
                margin: residual_baseline::margin(plan) as u32,
                reach: hit_finding::reach(plan) as u32,
                edge_reach: charge::edge_reach(plan) as u32,
                step_ns: plan.step_ns,
                kernel_sigma_ns: plan.kernel_sigma_ns,
                noise_gain: plan.noise_gain,
                noise_adc: channel.noise_adc,
                kernel_lead_ns: plan.kernel_integral.lead_ns,
                kernel_per_ns: plan.kernel_integral.per_ns,
                ..with_limits(channel, fitted)
            },
        ))
    }

    /// Adds the template of a calibration row, once for all lengths of transform; returns the fields of plans that come from it.
    fn add_template(
        &mut self,
        row: usize,
        channel: &Channel,
        template: &Template,
        binding_bytes: u64,
    ) -> Option<TemplatePlan> {
        if let Some(known) = self.templates.get(&row) {
            return Some(*known);
        }
        let tables: [&[f32]; 6] = [
            &template.coefficients,
            &template.correlation,
            &template.cumulative_sum,
            &template.cumulative_share[0],
            &template.cumulative_share[1],
            &template.main_pulse,
        ];
        let more: usize = tables.iter().map(|table| table.len()).sum();
        if ((self.numbers.len() + more) * size_of::<f32>()) as u64 > binding_bytes {
            return None;
        }
        let [
            coefficients_at,
            correlation_at,
            sum_at,
            share_at,
            slope_share_at,
            main_pulse_at,
        ] = tables.map(|table| {
            let at = self.numbers.len() as u32;
            self.numbers.extend_from_slice(table);
            at
        });
        let of_template = TemplatePlan {
            coefficients_at,
            n_coefficients: template.coefficients.len() as u32,
            correlation_at,
            sum_at,
            share_at,
            slope_share_at,
            main_pulse_at,
            main_samples: template.main_samples as u32,
            seen: template.seen as u32,
            scale: template.scale,
            squares: template.squares[0],
            squares_of_curvature: template.squares[2],
            main_area: template.main_area(),
            peak_adc: channel.peak_adc,
            charge_sigma_pe: channel.charge_sigma_pe,
            ..TemplatePlan::zeroed()
        };
        self.templates.insert(row, of_template);
        Some(of_template)
    }

    /// Adds what the methods without deconvolution need of `channel`, and returns the index of the plan.
    pub fn add_pulse(&mut self, key: PlanKey, channel: &Channel) -> u32 {
        let pulse = &channel.pulse;
        self.push(
            key,
            TemplatePlan {
                decimation: 1,
                smoothing: pulse.smoothing as u32,
                step_ns: pulse.sampling_ns,
                noise_adc: channel.noise_adc,
                gain: pulse.gain,
                covered: pulse.covered,
                edge_ns: pulse.edge_ns,
                before: pulse.before as u32,
                after: pulse.after as u32,
                ..with_limits(channel, TemplatePlan::zeroed())
            },
        )
    }

    fn push(&mut self, key: PlanKey, plan: TemplatePlan) -> u32 {
        let index = self.plans.len() as u32;
        self.plans.push(plan);
        self.indices.insert(key, index);
        index
    }

    /// Uploads the tables, if there are new ones.
    pub fn upload<'a>(
        &self,
        device: &Device,
        on_device: &'a mut Option<DeviceTables>,
    ) -> &'a DeviceTables {
        // New templates come at the beginning of a run: replacing the buffers each time costs little then, and nothing later.
        on_device.take_if(|there| there.generation != self.plans.len());
        on_device.get_or_insert_with(|| DeviceTables {
            plans: filled(device, "plans", bytemuck::cast_slice(&self.plans)),
            spectra: filled(device, "spectra", bytemuck::cast_slice(&self.spectra)),
            tables: filled(device, "tables", bytemuck::cast_slice(&self.numbers)),
            twiddles: filled(device, "twiddles", bytemuck::cast_slice(&twiddles())),
            generation: self.plans.len(),
        })
    }
}

/// Makes a storage buffer with `bytes`.
fn filled(device: &Device, label: &str, bytes: &[u8]) -> wgpu::Buffer {
    let buffer = device.inner.create_buffer(&wgpu::BufferDescriptor {
        label: Some(label),
        // An empty table still has to be bound.
        size: (bytes.len() as u64).max(64),
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    if !bytes.is_empty() {
        device.queue.write_buffer(&buffer, 0, bytes);
    }
    buffer
}

/// Returns the first bin of pair `pair` of a transform of `bins` points; `filter_pair` in `deconvolve.wgsl` takes the pairs in
/// bit-reversed order.
fn bin_of(pair: usize, bins: usize) -> usize {
    let Some(high) = pair.checked_ilog2() else {
        return 0;
    };
    let index = pair + (1 << high);
    index.reverse_bits() >> (usize::BITS - bins.ilog2())
}

/// Returns exp(-2 pi i j / n) at n + j for every power of two n up to [`MAX_BINS`], and after them for every number M of bins
/// cos and sin of pi k / M in the order of the pairs, at [`ANGLES_AT`] + M / 2.
fn twiddles() -> Vec<[f32; 2]> {
    let mut twiddles = vec![[0.0; 2]; ANGLES_AT + MAX_BINS];
    let mut n = 1;
    while n <= MAX_BINS {
        for j in 0..n {
            let (sin, cos) = math::sin_cos(-2.0 * std::f64::consts::PI * j as f64 / n as f64);
            twiddles[n + j] = [cos as f32, sin as f32];
        }
        for pair in 0..n / 2 {
            let (sin, cos) =
                math::sin_cos(std::f64::consts::PI * bin_of(pair, n) as f64 / n as f64);
            twiddles[ANGLES_AT + n / 2 + pair] = [cos as f32, sin as f32];
        }
        n *= 2;
    }
    twiddles
}
/// Returns `plan` with what the samples of the channel's pulses can be.
fn with_limits(channel: &Channel, plan: TemplatePlan) -> TemplatePlan {
    // Shaders have no infinity: a negative number means no limit.
    let [one, two] = channel.limits.sharpness.map(|sharpness| {
        if sharpness.is_finite() {
            sharpness
        } else {
            -1.0
        }
    });
    TemplatePlan {
        sharpness_of_one: one,
        sharpness_of_two: two,
        peak_width: channel.limits.peak_width,
        equal_run: flat_top::equal_run(channel.noise_adc) as u32,
        baseline_noise_ratio: channel.baseline_noise_ratio,
        ..plan
    }
}

fn to_complex32(value: Complex64) -> Complex32 {
    Complex32::new(value.re as f32, value.im as f32)
}
