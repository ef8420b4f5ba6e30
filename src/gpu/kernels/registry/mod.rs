//! The registry of kernels, and the order in which they run over a waveform.
//!
//! A new kernel needs its shader, a file here that describes it, and its line in [`KERNELS`] (and in [`Sequence::kernels`] if
//! it is to run over every waveform). docs/developer/adding-a-kernel.md describes the steps.

use self::extract::{ExtractVariant, Memory};
use self::template_fit::FitVariant;
use super::kernel::{Kernel, Target};
use crate::extract::Method;

pub mod compact;
pub mod extract;
pub mod template_fit;

/// For every kernel the function that returns its variants on a device.
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the tests of every kernel read it")
)]
pub const KERNELS: &[fn(&Target) -> Vec<Kernel>] =
    &[extract::variants, template_fit::variants, compact::variants];

/// The kernels that turn waveforms into hits. Waveforms with equal sequences are dispatched together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sequence {
    /// The variant of the extraction.
    pub extract: ExtractVariant,
    /// The variant of the fit, where the method has one.
    pub fit: Option<FitVariant>,
}

impl Sequence {
    /// Returns true if `target` has enough workgroup memory for the kernels of waveforms of `n_samples`.
    #[must_use]
    pub fn is_supported(method: Method, n_samples: usize, target: &Target) -> bool {
        !method.fits() || FitVariant::new(n_samples).fits(target)
    }

    /// Returns the sequence for waveforms of `n_samples` whose transform has `n_fft` samples (0 for methods without a
    /// transform).
    #[must_use]
    pub fn new(
        method: Method,
        n_samples: usize,
        decimation: usize,
        n_fft: usize,
        target: &Target,
    ) -> Self {
        Self {
            extract: ExtractVariant::new(method, n_samples, decimation, n_fft).on(target),
            fit: method.fits().then(|| FitVariant::new(n_samples)),
        }
    }

    /// Returns the kernels in the order in which they run.
    #[must_use]
    pub fn kernels(&self, target: &Target) -> Vec<Kernel> {
        let mut kernels = vec![self.extract.kernel(target)];
        kernels.extend(self.fit.map(|fit| fit.kernel(target)));
        kernels
    }

    /// Returns the words of device memory that the state of a waveform takes.
    #[must_use]
    pub fn state_words(&self) -> u32 {
        match self.extract.memory {
            Memory::Workgroup => 0,
            Memory::Device => self.extract.state_layout().words,
        }
    }
}
