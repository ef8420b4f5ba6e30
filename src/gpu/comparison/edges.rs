//! Tells a decision that depends on rounding from a defect.
//!
//! Whether a sample is over threshold, or which of two valleys is deeper, may depend on the last bit of a number. To tell such a
//! decision from a defect, the CPU extracts the waveform again with every sample moved by as much as rounding moves the trace. If the
//! CPU then decides differently, the waveform is on an edge between two decisions. This is tried many times, because an edge may
//! lie in any direction and a waveform may have several: every sample moves on its own, or runs of samples move together, as the
//! mean of a block does; by a whole rounding error, or by a part of it, which changes only the nearest decision. A result of the
//! GPU that the CPU itself gives once is not a defect. No move exceeds a rounding error, so more tries do not excuse more
//! differences.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::hit_matching::{Matches, difference_of_baselines, difference_of_errors, same};
use crate::extract::{Backend as _, Extractor};
use crate::model::{Batch, Flags, Hit, SamplesRef, Waveform, WaveformSummary};

/// How far samples are moved, relative to the range of the waveform: as far as a transform of a few thousand points in single
/// precision moves a trace. At least by the last bit of a sample in single precision: in waveforms with little light on a high
/// baseline that is more, and otherwise nothing would move.
const EDGE_SHARE: f32 = 1e-6;
/// The moves: the share of that distance, and the number of samples that move together.
const MOVES: [(f32, usize); 6] = [
    (1.0, 1),
    (1.0, 16),
    (0.25, 1),
    (0.25, 16),
    (0.0625, 1),
    (0.0625, 16),
];
/// Tries per move.
const EDGE_TRIES: usize = 24;
/// Difference of the baseline, in units of its error, above which edges are searched.
pub const BASELINE_SIGMA: f32 = 0.02;
/// The same for the relative difference of errors.
pub const CHECKED_ERROR_SHARE: f32 = 1e-3;

/// The results of the CPU for a waveform whose samples were moved by a rounding error, several times.
pub struct Edges(Vec<(Vec<Hit>, WaveformSummary)>);

impl Edges {
    /// Extracts waveform `index` of a batch with moved samples.
    #[must_use]
    pub fn search(cpu: &Extractor, batch: &Batch, index: usize) -> Self {
        let Some(waveform) = batch.get(index) else {
            return Self(Vec::new());
        };
        let samples = waveform.samples.to_f32();
        let mut random = ChaCha8Rng::seed_from_u64(index as u64);
        let mut all = Batch::new_f32(batch.input_id());
        for (share, together) in MOVES {
            for _ in 0..EDGE_TRIES {
                let moved = moved(&samples, share, together, &mut random);
                all.push(Waveform {
                    samples: SamplesRef::F32(&moved),
                    ..waveform
                });
            }
        }
        let extracted = cpu.extract(&all).unwrap_or_default();
        let mut hits = extracted.hits.as_slice();
        Self(
            extracted
                .summaries
                .iter()
                .map(|summary| {
                    let (own, rest) = hits.split_at((summary.n_hits as usize).min(hits.len()));
                    hits = rest;
                    (own.to_vec(), *summary)
                })
                .collect(),
        )
    }

    /// Returns true if the CPU finds this hit of the other backend in one of the results, or does not find this hit of its own, or finds
    /// the same hits as the other backend (`of_second`): a hit may move close enough to the other one and still match itself.
    #[must_use]
    pub fn explain(&self, is_first: bool, hit: &Hit, of_second: &[Hit]) -> bool {
        self.0.iter().any(|(hits, _)| {
            let has = hits.iter().any(|other| same(other, hit));
            has != is_first || Matches::new(hits, of_second).unmatched.is_empty()
        })
    }

    /// Returns true if one of the results has these flags.
    #[must_use]
    pub fn explain_flags(&self, flags: Flags) -> bool {
        self.0.iter().any(|(_, other)| other.flags == flags)
    }

    /// Returns true if one of the results has the same baseline and errors. Whether a block of the trace counts as lit changes these,
    /// but not the hits.
    #[must_use]
    pub fn explain_errors(&self, hits: &[Hit], summary: &WaveformSummary) -> bool {
        self.0.iter().any(|(other, of_other)| {
            let error = Matches::new(other, hits).worst_error_share;
            error.max(difference_of_errors(of_other, summary)) <= CHECKED_ERROR_SHARE
                && difference_of_baselines(of_other, summary) <= BASELINE_SIGMA
        })
    }
}

/// Returns the samples moved at random by up to `share` of a rounding error, runs of `together` samples alike.
fn moved(samples: &[f32], share: f32, together: usize, random: &mut ChaCha8Rng) -> Vec<f32> {
    let (low, high) = samples
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &value| {
            (low.min(value), high.max(value))
        });
    let max_move = share * EDGE_SHARE * (high - low);
    let mut part = 0.0;
    samples
        .iter()
        .enumerate()
        .map(|(index, &value)| {
            if index.is_multiple_of(together) {
                part = 2.0 * random.random::<f32>() - 1.0;
            }
            // Samples at a rail stay there: saturation does not depend on rounding.
            if value == low || value == high {
                return value;
            }
            let last_bit = value.abs().next_up() - value.abs();
            value + part * max_move.max(last_bit)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::hit_matching::tests::hit;
    use super::*;

    #[test]
    fn samples_move_by_a_rounding_error_however_small_their_range() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for range in [10.0_f32, 100.0, 5000.0] {
            let samples: Vec<f32> = (0..1000)
                .map(|index| 4784.0 + (range * (index as f32 / 999.0)).round())
                .collect();
            for (share, together) in MOVES {
                let moved = moved(&samples, share, together, &mut random);
                let most = (EDGE_SHARE * range).max(2.0_f32.powi(-10));
                let steps: Vec<f32> = moved.iter().zip(&samples).map(|(a, b)| a - b).collect();
                assert!(steps.iter().all(|step| step.abs() <= most), "{range}");
                let n_moved = steps.iter().filter(|step| **step != 0.0).count();
                assert!(n_moved > 300, "{range}, {share}, {together}: {n_moved}");
                assert_eq!((moved[0], moved[999]), (samples[0], samples[999]), "rails");
            }
        }
    }

    #[test]
    fn a_result_that_the_cpu_gives_too_is_not_a_defect() {
        let (first, own) = (hit(9.0, 1.0), hit(20.0, 0.5));
        let edges = Edges(
            [20.0, 20.004]
                .map(|time_ns| (vec![first, hit(time_ns, 0.5)], WaveformSummary::default()))
                .to_vec(),
        );
        // The CPU's own hit still matches itself; the other backend's hit is the one of the second result.
        let explained = |other: &[Hit]| edges.explain(true, &own, other);
        assert!(explained(&[first, hit(20.011, 0.5)]));
        assert!(!explained(&[first, hit(20.015, 0.5)]));
        assert!(!explained(&[hit(20.011, 0.5)]), "a hit is missing");
        assert!(
            !explained(&[first, hit(20.011, 0.5), hit(30.0, 0.5)]),
            "one too many"
        );
    }
}
