//! The charge of single photoelectrons.

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Exp1, StandardNormal};

use crate::detector::PmtType;

/// A PMT type's single-photoelectron charge, of mean 1: a Gaussian cut at 0, or the exponential tail, over the mean of
/// the two (see [`PmtType::unscaled_mean_charge`]).
#[derive(Clone, Copy, Debug)]
pub(super) struct ChargeSpectrum {
    sigma_pe: f64,
    tail_fraction: f64,
    tail_decay_pe: f64,
    mean: f64,
}

impl ChargeSpectrum {
    pub(super) fn new(pmt: &PmtType) -> Self {
        Self {
            sigma_pe: pmt.charge_sigma_pe,
            tail_fraction: pmt.tail_fraction,
            tail_decay_pe: pmt.tail_decay_pe,
            mean: pmt.unscaled_mean_charge(),
        }
    }

    /// Draws a charge.
    pub(super) fn draw_pe(&self, rng: &mut ChaCha8Rng) -> f64 {
        if self.tail_fraction > 0.0 && rng.random::<f64>() < self.tail_fraction {
            let tail: f64 = Exp1.sample(rng);
            return tail * self.tail_decay_pe / self.mean;
        }
        loop {
            let normal: f64 = StandardNormal.sample(rng);
            let charge = 1.0 + self.sigma_pe * normal;
            if charge > 0.0 {
                return charge / self.mean;
            }
        }
    }
}
