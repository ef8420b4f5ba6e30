//! Compares the hits of CPU and GPU, which are promised to be the same, and counts differences.
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
use serde::Serialize;

use crate::extract::{Backend as _, Extractor};
use crate::model::{Batch, Extracted, Flags, Hit, SamplesRef, Waveform, WaveformSummary};

/// Charges that differ by no more than this are the same: the promise that CPU and GPU give the same hits.
pub const CHARGE_PE: f32 = 1e-3;
/// The same relative to the charge, if that is more.
pub const CHARGE_SHARE: f32 = 1e-5;
/// Times that differ by no more than this are the same.
pub const TIME_NS: f32 = 0.01;
/// Allowed relative difference of errors (of hits and baseline), noise and chi-square: one block of the trace more or less that
/// counts as unlit, which may depend on a last bit too, changes them by some thousandths.
pub const ERROR_SHARE: f32 = 1e-2;
/// Allowed share of unmatched hits: those that depend on the last bit of a number.
pub const UNMATCHED_SHARE: f64 = 1e-4;
/// Unmatched hits that are listed at most.
const MAX_LISTED: usize = 20;
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
const BASELINE_SIGMA: f32 = 0.02;
/// The same for the relative difference of errors.
const CHECKED_ERROR_SHARE: f32 = 1e-3;

/// The result of a comparison.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Comparison {
    /// Waveforms compared.
    pub waveforms: u64,
    /// Hits of the first backend.
    pub hits: u64,
    /// Hits of either backend without a partner that has the same time and charge.
    pub unmatched: u64,
    /// Those of them that an edge explains.
    pub on_the_edge: u64,
    /// Waveforms whose flags differ without an edge that explains it.
    pub flags_differ: u64,
    /// Largest difference of charge among matched hits.
    pub worst_charge_pe: f32,
    /// Largest difference of time among matched hits.
    pub worst_time_ns: f32,
    /// Largest relative difference of a matched hit's error, and of the baseline's error and the noise in waveforms that are not on
    /// an edge.
    pub worst_error_share: f32,
    /// Event and channel of that waveform.
    pub worst_error_in: Option<(u64, u32)>,
    /// Largest difference of the baseline among those waveforms, in units of its standard deviation.
    pub worst_baseline_sigma: f32,
    /// Some of the unmatched hits; those that no edge explains come first.
    pub listed: Vec<Unmatched>,
}

/// A hit that only one backend found.
#[derive(Clone, Debug, Serialize)]
pub struct Unmatched {
    /// Its event.
    pub event_id: u64,
    /// Its channel.
    pub channel_id: u32,
    /// True if the first backend found it.
    pub of_first: bool,
    /// Its time.
    pub time_ns: f32,
    /// Its charge.
    pub charge_pe: f32,
    /// True if an edge explains it.
    pub on_the_edge: bool,
}

impl Comparison {
    /// Returns the share of unmatched hits among those of both backends.
    #[must_use]
    pub fn unmatched_share(&self) -> f64 {
        self.unmatched as f64 / (2 * self.hits).max(1) as f64
    }

    /// Returns the number of unmatched hits that no edge explains, as a defect would make.
    #[must_use]
    pub fn unexplained(&self) -> u64 {
        self.unmatched - self.on_the_edge
    }

    /// Returns true if the promise holds: an edge explains every unmatched hit, and their share is at most [`UNMATCHED_SHARE`].
    #[must_use]
    pub fn holds(&self) -> bool {
        self.unexplained() == 0
            && self.flags_differ == 0
            && self.worst_error_share <= ERROR_SHARE
            // Two decisions, with a hit of either backend each, say nothing about a share of few hits.
            && (self.unmatched <= 4 || self.unmatched_share() <= UNMATCHED_SHARE)
    }

    /// Adds the results of both backends for a batch; `cpu` is the first one. A waveform that only one of them has counts as different.
    pub fn add(&mut self, cpu: &Extractor, batch: &Batch, first: &Extracted, second: &Extracted) {
        self.flags_differ += first.summaries.len().abs_diff(second.summaries.len()) as u64;
        let (mut at_first, mut at_second) = (0, 0);
        for (index, (a, b)) in first.summaries.iter().zip(&second.summaries).enumerate() {
            let (end_first, end_second) =
                (at_first + a.n_hits as usize, at_second + b.n_hits as usize);
            let of_first = first.hits.get(at_first..end_first).unwrap_or_default();
            let of_second = second.hits.get(at_second..end_second).unwrap_or_default();
            (at_first, at_second) = (end_first, end_second);
            self.waveforms += 1;
            self.hits += u64::from(a.n_hits);
            let (unmatched, error) = self.match_hits(of_first, of_second);
            let error = error.max(difference_of_errors(a, b));
            let sigma_adc = a.baseline_sigma_adc.max(1e-3);
            let baseline = ((a.baseline_adc - b.baseline_adc) / sigma_adc).abs();
            self.unmatched += unmatched.len() as u64;
            let differs = !unmatched.is_empty()
                || a.flags != b.flags
                || error > CHECKED_ERROR_SHARE
                || baseline > BASELINE_SIGMA;
            if differs {
                let edges = Edges::search(cpu, batch, index);
                for &(is_first, hit) in &unmatched {
                    let on_the_edge = edges.explain(is_first, hit, of_second);
                    self.on_the_edge += u64::from(on_the_edge);
                    let (event_id, channel_id) = ids(batch, index);
                    self.list(Unmatched {
                        event_id,
                        channel_id,
                        of_first: is_first,
                        time_ns: hit.time_ns,
                        charge_pe: hit.charge_pe,
                        on_the_edge,
                    });
                }
                self.flags_differ += u64::from(a.flags != b.flags && !edges.explain_flags(b.flags));
                if edges.explain_errors(of_second, b) {
                    continue;
                }
            }
            self.worst_baseline_sigma = self.worst_baseline_sigma.max(baseline);
            if error > self.worst_error_share {
                self.worst_error_share = error;
                self.worst_error_in = Some(ids(batch, index));
            }
        }
    }

    /// Matches the hits of a waveform. Returns those without a partner (with true, if the first backend found them) and the largest
    /// relative difference of the errors of the others.
    fn match_hits<'a>(
        &mut self,
        first: &'a [Hit],
        second: &'a [Hit],
    ) -> (Vec<(bool, &'a Hit)>, f32) {
        let (mut unmatched, mut error) = (Vec::new(), 0.0_f32);
        let (mut i, mut j) = (0, 0);
        loop {
            match (first.get(i), second.get(j)) {
                (Some(a), Some(b)) if same(a, b) => {
                    self.worst_charge_pe =
                        self.worst_charge_pe.max((a.charge_pe - b.charge_pe).abs());
                    self.worst_time_ns = self.worst_time_ns.max((a.time_ns - b.time_ns).abs());
                    error = error
                        .max(relative(a.charge_sigma_pe, b.charge_sigma_pe))
                        .max(relative(a.time_sigma_ns, b.time_sigma_ns));
                    (i, j) = (i + 1, j + 1);
                }
                (Some(a), Some(b)) => {
                    // The earlier hit has no partner; of two hits at one time neither has.
                    if a.time_ns <= b.time_ns + TIME_NS {
                        unmatched.push((true, a));
                        i += 1;
                    }
                    if b.time_ns <= a.time_ns + TIME_NS {
                        unmatched.push((false, b));
                        j += 1;
                    }
                }
                (Some(a), None) => {
                    unmatched.push((true, a));
                    i += 1;
                }
                (None, Some(b)) => {
                    unmatched.push((false, b));
                    j += 1;
                }
                (None, None) => return (unmatched, error),
            }
        }
    }

    fn list(&mut self, hit: Unmatched) {
        let first_on_edge = self.listed.partition_point(|other| !other.on_the_edge);
        let index = if hit.on_the_edge {
            self.listed.len()
        } else {
            first_on_edge
        };
        self.listed.insert(index, hit);
        self.listed.truncate(MAX_LISTED);
    }
}

/// Returns event and channel of a waveform.
fn ids(batch: &Batch, index: usize) -> (u64, u32) {
    (
        batch.event_id().get(index).copied().unwrap_or_default(),
        batch.channel_id().get(index).copied().unwrap_or_default(),
    )
}

/// Returns the relative difference of two numbers that are not negative; 0 if both are NaN.
fn relative(a: f32, b: f32) -> f32 {
    if a == b || (a.is_nan() && b.is_nan()) {
        return 0.0;
    }
    (a - b).abs() / a.max(1e-6)
}

/// Returns the largest relative difference of noise, baseline error and chi-square.
fn difference_of_errors(a: &WaveformSummary, b: &WaveformSummary) -> f32 {
    let chi2 = |summary: &WaveformSummary| summary.chi2_ndf.unwrap_or(f32::NAN);
    relative(a.baseline_sigma_adc, b.baseline_sigma_adc)
        .max(relative(a.noise_adc, b.noise_adc))
        .max(relative(chi2(a), chi2(b)))
}

/// The results of the CPU for a waveform whose samples were moved by a rounding error, several times.
struct Edges(Vec<(Vec<Hit>, WaveformSummary)>);

impl Edges {
    /// Extracts waveform `index` of a batch with moved samples.
    fn search(cpu: &Extractor, batch: &Batch, index: usize) -> Self {
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
    fn explain(&self, is_first: bool, hit: &Hit, of_second: &[Hit]) -> bool {
        self.0.iter().any(|(hits, _)| {
            let has = hits.iter().any(|other| same(other, hit));
            let (unmatched, _) = Comparison::default().match_hits(hits, of_second);
            has != is_first || unmatched.is_empty()
        })
    }

    fn explain_flags(&self, flags: Flags) -> bool {
        self.0.iter().any(|(_, other)| other.flags == flags)
    }

    /// Returns true if one of the results has the same baseline and errors. Whether a block of the trace counts as lit changes these,
    /// but not the hits.
    fn explain_errors(&self, hits: &[Hit], summary: &WaveformSummary) -> bool {
        self.0.iter().any(|(other, of_other)| {
            let (_, error) = Comparison::default().match_hits(other, hits);
            let sigma_adc = of_other.baseline_sigma_adc.max(1e-3);
            let baseline = ((of_other.baseline_adc - summary.baseline_adc) / sigma_adc).abs();
            error.max(difference_of_errors(of_other, summary)) <= CHECKED_ERROR_SHARE
                && baseline <= BASELINE_SIGMA
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
    let most = share * EDGE_SHARE * (high - low);
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
            value + part * most.max(last_bit)
        })
        .collect()
}

/// Returns true if two hits are the same within the promise.
#[must_use]
pub fn same(a: &Hit, b: &Hit) -> bool {
    let of_charge = CHARGE_PE.max(CHARGE_SHARE * a.charge_pe.abs());
    (a.charge_pe - b.charge_pe).abs() <= of_charge
        && (a.time_ns - b.time_ns).abs() <= TIME_NS
        && Flags(a.flags.0 ^ b.flags.0) == Flags::NONE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{self, Occupancy, input};
    use crate::extract::{Method, Parameters};

    fn hit(time_ns: f32, charge_pe: f32) -> Hit {
        Hit {
            time_ns,
            charge_pe,
            ..Hit::default()
        }
    }

    fn compared(first: &[Hit], second: &[Hit]) -> usize {
        Comparison::default().match_hits(first, second).0.len()
    }

    #[test]
    fn differences_of_both_backends_are_counted() {
        let (a, b, c) = (hit(10.0, 1.0), hit(20.0, 2.0), hit(30.0, 3.0));
        assert_eq!(compared(&[a, b, c], &[a, b, c]), 0);
        assert_eq!(compared(&[a, b, c], &[a, c]), 1);
        assert_eq!(compared(&[a, c], &[a, b, c]), 1);
        assert_eq!(compared(&[a, b, c], &[a, hit(20.0, 2.002), c]), 2);
        assert_eq!(compared(&[a, b, c], &[a, hit(20.02, 2.0), c]), 2);
        assert_eq!(compared(&[a, b, c], &[a, hit(20.009, 2.0009), c]), 0);
        assert_eq!(compared(&[], &[a]), 1);
        let mut flagged = b;
        flagged.flags = Flags::PILE_UP;
        assert_eq!(compared(&[b], &[flagged]), 2, "a flag is part of a hit");
    }

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

    /// Returns an extractor of the simplest method.
    fn coti(threshold_sigma: f32) -> Extractor {
        let detector = crate::detector::load("juno").expect("a preset");
        let parameters = Parameters {
            method: Method::Coti,
            threshold_sigma,
            ..Parameters::default()
        };
        bench::extractor(&detector, parameters).expect("valid")
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
        assert!(!explained(&[hit(20.011, 0.5)]), "a hit is lacking");
        assert!(
            !explained(&[first, hit(20.011, 0.5), hit(30.0, 0.5)]),
            "one too many"
        );
    }

    #[test]
    fn unexplained_hits_are_listed_first() {
        let mut comparison = Comparison::default();
        let unmatched = |event_id, on_the_edge| Unmatched {
            event_id,
            channel_id: 0,
            of_first: true,
            time_ns: 0.0,
            charge_pe: 1.0,
            on_the_edge,
        };
        for event_id in 0..3 * MAX_LISTED as u64 {
            comparison.list(unmatched(event_id, event_id % 30 != 0));
        }
        let listed: Vec<u64> = comparison.listed.iter().map(|hit| hit.event_id).collect();
        let expected: Vec<u64> = [0, 30]
            .into_iter()
            .chain(1..MAX_LISTED as u64 - 1)
            .collect();
        assert_eq!(listed, expected);
    }

    /// Returns the comparison of waveforms with little light if the threshold of the other backend is higher by `share`, and one sample of
    /// each waveform is at the threshold of the CPU.
    fn with_thresholds_apart(share: f32) -> Comparison {
        let detector = crate::detector::load("juno").expect("a preset");
        let batch = input::batch(&detector, Occupancy::MeanPe(1.0), 60, 0).expect("waveforms");
        let plain = coti(5.0).extract(&batch).expect("extracts");
        let mut comparison = Comparison::default();
        for (waveform, summary) in batch.iter().zip(&plain.summaries) {
            let mut one = Batch::new_u16(0);
            one.push(waveform);
            let sigma = |sample: f32| (summary.baseline_adc - sample) / summary.noise_adc;
            let samples = waveform.samples.to_f32();
            let mut over = samples.iter().map(|&sample| sigma(sample));
            let Some(sigma) = over.rfind(|sigma| (5.0..7.0).contains(sigma)) else {
                continue;
            };
            let (cpu, other) = (
                coti(sigma * (1.0 - 0.5 * share)),
                coti(sigma * (1.0 + 0.5 * share)),
            );
            let first = cpu.extract(&one).expect("extracts");
            let second = other.extract(&one).expect("extracts");
            comparison.add(&cpu, &one, &first, &second);
        }
        comparison
    }

    #[test]
    fn rounding_is_told_from_a_defect() {
        let rounding = with_thresholds_apart(5e-7);
        assert!(rounding.unmatched > 10, "{rounding:?}");
        assert_eq!(rounding.unexplained(), 0, "{rounding:?}");
        let defect = with_thresholds_apart(1e-3);
        assert!(defect.unmatched > 10, "{defect:?}");
        assert_eq!(defect.on_the_edge, 0, "{defect:?}");
    }
}
