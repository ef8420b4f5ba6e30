//! The integral of the kernel of the deconvolution.

use super::filter::Design;

/// A table of the integral of the kernel from minus infinity.
pub(crate) struct KernelIntegral {
    pub(crate) lead_ns: f32,
    pub(crate) per_ns: f32,
    pub(crate) values: Vec<f32>,
}

impl KernelIntegral {
    pub(super) fn new(design: &Design) -> Self {
        let lead_ns = design.kernel_lead as f64 * design.sampling_ns;
        let per_ns = 8.0 / design.kernel_sigma_ns;
        let values = (0..=(2.0 * lead_ns * per_ns) as usize)
            .map(|index| design.kernel_integral(index as f64 / per_ns - lead_ns) as f32)
            .collect();
        Self {
            lead_ns: lead_ns as f32,
            per_ns: per_ns as f32,
            values,
        }
    }

    pub(super) fn at(&self, time_ns: f32) -> f32 {
        let position = ((time_ns + self.lead_ns) * self.per_ns).max(0.0);
        let index = position as usize;
        match (self.values.get(index), self.values.get(index + 1)) {
            (Some(a), Some(b)) => a + (b - a) * (position - index as f32),
            _ => 1.0,
        }
    }
}
