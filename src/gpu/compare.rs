//! The hits of CPU and GPU side by side: the promise that they are the same, counted.
//!
//! Whether a sample is over threshold, or which of two valleys is the deeper one, may hang on the last bit of a number. Such
//! a decision is told from a defect by asking the CPU alone: if it decides otherwise itself once every sample is moved by as
//! much as rounding moves the trace, the waveform stands on the edge. It is asked many times, as the edge may lie in any
//! direction, and several decisions may hang in one waveform: every sample moves on its own, or runs of samples together as
//! the mean of a block does; by all of a rounding error, or by parts of it, which turn the nearest decision alone. An
//! answer that the CPU gives whole itself, once, is one of its own. No move is more than a rounding error, so that asking more
//! often makes no edge of what is none.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::extract::{Backend as _, Extractor};
use crate::model::{Batch, Extracted, Flags, Hit, SamplesRef, Waveform, WaveformSummary};

/// Differences up to these are none: the promise that CPU and GPU give the same hits.
pub const CHARGE_PE: f32 = 1e-3;
/// Or this share of the charge, where that is more.
pub const CHARGE_SHARE: f32 = 1e-5;
/// As [`CHARGE_PE`], for times.
pub const TIME_NS: f32 = 0.01;
/// Relative difference that what is said of errors (of hits, baseline and noise, and of chi-square) may have: one block of the trace more or less that
/// counts as unlit, which hangs on a last bit too, changes them by some thousandths.
pub const ERROR_SHARE: f32 = 1e-2;
/// Unmatched hits that are not too many, as a share: those whose decision hangs on the last bit of a number.
pub const UNMATCHED_SHARE: f64 = 1e-4;
/// Unmatched hits that are listed.
const MOST_LISTED: usize = 20;
/// How far samples are moved to see whether a waveform stands on an edge, as a share of its range: what a transform of a few
/// thousand points in single precision does to a trace. At least by the last bit that a sample has in single precision: in dim
/// waveforms on a high baseline that is more, and nothing would move.
const EDGE_SHARE: f32 = 1e-6;
/// The moves: how much of that, and how many samples together.
const MOVES: [(f32, usize); 6] = [
    (1.0, 1),
    (1.0, 16),
    (0.25, 1),
    (0.25, 16),
    (0.0625, 1),
    (0.0625, 16),
];
/// How often each is tried.
const EDGE_TRIES: usize = 24;
/// Difference of a baseline, in units of its error, from which on a waveform is looked at for edges.
const BASELINE_SIGMA: f32 = 0.02;
/// The same for the relative difference of errors.
const LOOKED_AT: f32 = 1e-3;

/// What a comparison found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Comparison {
    /// Waveforms compared.
    pub waveforms: u64,
    /// Hits of the first backend.
    pub hits: u64,
    /// Hits without a partner that has the same time and charge, of either backend.
    pub unmatched: u64,
    /// Those of them that the CPU alone has, or has not, once samples move by a rounding error.
    pub on_the_edge: u64,
    /// Waveforms whose flags differ and that do not stand on an edge.
    pub flags_differ: u64,
    /// Largest difference of charge among matched hits.
    pub worst_charge_pe: f32,
    /// Largest difference of time among matched hits.
    pub worst_time_ns: f32,
    /// Largest relative difference of a matched hit's error, and of the baseline's error and the noise in waveforms that do not stand
    /// on an edge.
    pub worst_error_share: f32,
    /// Event and channel of that waveform.
    pub worst_error_in: Option<(u64, u32)>,
    /// Largest difference of the baseline among those waveforms, in units of its standard deviation.
    pub worst_baseline_sigma: f32,
    /// Some of the unmatched hits, those that no edge accounts for first.
    pub listed: Vec<Unmatched>,
}

/// A hit of one backend that the other does not have.
#[derive(Clone, Debug, Serialize)]
pub struct Unmatched {
    /// Its event.
    pub event_id: u64,
    /// Its channel.
    pub channel_id: u32,
    /// True if it is the first backend's.
    pub of_first: bool,
    /// Its time.
    pub time_ns: f32,
    /// Its charge.
    pub charge_pe: f32,
    /// True if its waveform stands on an edge that accounts for it.
    pub on_the_edge: bool,
}

impl Comparison {
    /// Unmatched hits over all, both backends' counted.
    #[must_use]
    pub fn unmatched_share(&self) -> f64 {
        self.unmatched as f64 / (2 * self.hits).max(1) as f64
    }

    /// Unmatched hits for which no edge accounts: what a defect would make.
    #[must_use]
    pub fn unexplained(&self) -> u64 {
        self.unmatched - self.on_the_edge
    }

    /// True if the promise holds: every unmatched hit stands on an edge, and they are no more than [`UNMATCHED_SHARE`].
    #[must_use]
    pub fn holds(&self) -> bool {
        self.unexplained() == 0
            && self.flags_differ == 0
            && self.worst_error_share <= ERROR_SHARE
            // Two decisions, with a hit on either side each, are no share of a few hits.
            && (self.unmatched <= 4 || self.unmatched_share() <= UNMATCHED_SHARE)
    }

    /// Adds the results of both backends for a batch; `cpu` is the first one. A waveform that one of them lacks counts as differing.
    pub fn add(&mut self, cpu: &Extractor, batch: &Batch, first: &Extracted, second: &Extracted) {
        self.flags_differ += first.summaries.len().abs_diff(second.summaries.len()) as u64;
        let (mut at_first, mut at_second) = (0, 0);
        for (place, (a, b)) in first.summaries.iter().zip(&second.summaries).enumerate() {
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
                || error > LOOKED_AT
                || baseline > BASELINE_SIGMA;
            if differs {
                let edges = Edges::of(cpu, batch, place);
                for &(is_first, hit) in &unmatched {
                    let on_the_edge = edges.explain(is_first, hit, of_second);
                    self.on_the_edge += u64::from(on_the_edge);
                    let (event_id, channel_id) = ids(batch, place);
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
                self.worst_error_in = Some(ids(batch, place));
            }
        }
    }

    /// Matches the hits of a waveform. Those without a partner come back, true with the first backend's, and the largest relative
    /// difference of the others' errors.
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
                    // The earlier one has no partner; of two at one time neither has.
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
        let place = if hit.on_the_edge {
            self.listed.len()
        } else {
            first_on_edge
        };
        self.listed.insert(place, hit);
        self.listed.truncate(MOST_LISTED);
    }
}

/// Event and channel of a waveform.
fn ids(batch: &Batch, place: usize) -> (u64, u32) {
    (
        batch.event_id().get(place).copied().unwrap_or_default(),
        batch.channel_id().get(place).copied().unwrap_or_default(),
    )
}

/// Relative difference of two numbers that are not negative; none where both say that nothing is known.
fn relative(a: f32, b: f32) -> f32 {
    if a == b || (a.is_nan() && b.is_nan()) {
        return 0.0;
    }
    (a - b).abs() / a.max(1e-6)
}

/// Largest relative difference of what two summaries say of noise, error and chi-square.
fn difference_of_errors(a: &WaveformSummary, b: &WaveformSummary) -> f32 {
    let chi2 = |it: &WaveformSummary| it.chi2_ndf.unwrap_or(f32::NAN);
    relative(a.baseline_sigma_adc, b.baseline_sigma_adc)
        .max(relative(a.noise_adc, b.noise_adc))
        .max(relative(chi2(a), chi2(b)))
}

/// What the CPU finds in a waveform whose samples have moved by a rounding error, several times.
struct Edges(Vec<(Vec<Hit>, WaveformSummary)>);

impl Edges {
    fn of(cpu: &Extractor, batch: &Batch, place: usize) -> Self {
        let Some(waveform) = batch.get(place) else {
            return Self(Vec::new());
        };
        let samples = waveform.samples.to_f32();
        let mut random = ChaCha8Rng::seed_from_u64(place as u64);
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

    /// True if the CPU, too, has this hit of the other backend once, or once has not this hit of its own, or has once just the hits
    /// `of_second` of the other backend: a move may take a hit near enough to the other's place without taking it away from its own.
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

    /// True if the CPU, too, once says the same of baseline and errors. Whether a block of the trace counts as lit is a decision
    /// that shows there and not in the hits.
    fn explain_errors(&self, hits: &[Hit], summary: &WaveformSummary) -> bool {
        self.0.iter().any(|(other, of_other)| {
            let (_, error) = Comparison::default().match_hits(other, hits);
            let sigma_adc = of_other.baseline_sigma_adc.max(1e-3);
            let baseline = ((of_other.baseline_adc - summary.baseline_adc) / sigma_adc).abs();
            error.max(difference_of_errors(of_other, summary)) <= LOOKED_AT
                && baseline <= BASELINE_SIGMA
        })
    }
}

/// The samples moved at random by up to `share` of a rounding error, runs of `together` alike.
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
            // Samples at a rail stay there: saturation is no matter of rounding.
            if value == low || value == high {
                return value;
            }
            let last_bit = value.abs().next_up() - value.abs();
            value + part * most.max(last_bit)
        })
        .collect()
}

/// True if two hits are the same within the promise.
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
    fn what_differs_is_counted_on_both_sides() {
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

    /// An extractor for the simplest method.
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
    fn an_answer_that_the_cpu_gives_too_is_no_defect() {
        let (first, own) = (hit(9.0, 1.0), hit(20.0, 0.5));
        let edges = Edges(
            [20.0, 20.004]
                .map(|time_ns| (vec![first, hit(time_ns, 0.5)], WaveformSummary::default()))
                .to_vec(),
        );
        // The CPU's own hit stays within the promise of where it was, the other's is that of the second answer.
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
    fn what_no_edge_accounts_for_is_listed_first() {
        let mut comparison = Comparison::default();
        let unmatched = |event_id, on_the_edge| Unmatched {
            event_id,
            channel_id: 0,
            of_first: true,
            time_ns: 0.0,
            charge_pe: 1.0,
            on_the_edge,
        };
        for event_id in 0..3 * MOST_LISTED as u64 {
            comparison.list(unmatched(event_id, event_id % 30 != 0));
        }
        let listed: Vec<u64> = comparison.listed.iter().map(|hit| hit.event_id).collect();
        let expected: Vec<u64> = [0, 30]
            .into_iter()
            .chain(1..MOST_LISTED as u64 - 1)
            .collect();
        assert_eq!(listed, expected);
    }

    /// What a comparison says of dim waveforms if the other backend's threshold is higher by `share`, and the CPU's is where one of
    /// a waveform's samples lies.
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
            let Some(hanging) = over.rfind(|sigma| (5.0..7.0).contains(sigma)) else {
                continue;
            };
            let (cpu, other) = (
                coti(hanging * (1.0 - 0.5 * share)),
                coti(hanging * (1.0 + 0.5 * share)),
            );
            let first = cpu.extract(&one).expect("extracts");
            let second = other.extract(&one).expect("extracts");
            comparison.add(&cpu, &one, &first, &second);
        }
        comparison
    }

    #[test]
    fn what_hangs_on_rounding_is_told_from_a_defect() {
        let rounding = with_thresholds_apart(5e-7);
        assert!(rounding.unmatched > 10, "{rounding:?}");
        assert_eq!(rounding.unexplained(), 0, "{rounding:?}");
        let defect = with_thresholds_apart(1e-3);
        assert!(defect.unmatched > 10, "{defect:?}");
        assert_eq!(defect.on_the_edge, 0, "{defect:?}");
    }
}
