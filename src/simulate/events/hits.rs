//! Simulation of hit finding directly from a channel's photoelectrons, without their waveform.

use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

use crate::model::{ChannelHit, Flags, Photoelectron};

/// The parameters of a hit finder: pair separation, resolutions, threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HitFinder {
    /// Photoelectrons closer than this to the previous one belong to the same hit.
    pub separation_ns: f64,
    /// Standard deviation of a hit's time around that of its first photoelectron.
    pub time_sigma_ns: f64,
    /// Standard deviation of a hit's charge.
    pub charge_sigma_pe: f64,
    /// Minimum charge of a hit.
    pub threshold_pe: f64,
}

impl Default for HitFinder {
    fn default() -> Self {
        Self {
            separation_ns: 10.0,
            time_sigma_ns: 0.5,
            charge_sigma_pe: 0.05,
            threshold_pe: 0.2,
        }
    }
}

impl HitFinder {
    /// Appends the hits of one channel's photoelectrons, which are sorted by time.
    pub(super) fn find(
        &self,
        photoelectrons: &[Photoelectron],
        rng: &mut ChaCha8Rng,
        hits: &mut Vec<ChannelHit>,
    ) {
        for group in photoelectrons.chunk_by(|a, b| b.time_ns - a.time_ns < self.separation_ns) {
            let Some(first) = group.first() else { continue };
            let mut normal = || -> f64 { StandardNormal.sample(rng) };
            let time_ns = first.time_ns + self.time_sigma_ns * normal();
            let light_pe: f64 = group.iter().map(|one| f64::from(one.charge_pe)).sum();
            let charge_pe = light_pe + self.charge_sigma_pe * normal();
            if charge_pe >= self.threshold_pe {
                hits.push(ChannelHit {
                    channel_id: first.channel_id,
                    time_ns,
                    charge_pe: charge_pe as f32,
                    flags: Flags::NONE,
                });
            }
        }
    }
}
