//! Compares the hits of CPU and GPU, which are promised to be the same, and counts differences.
//!
//! A difference that an edge between two decisions explains is not a defect, see [`edges`](super::edges).

use serde::Serialize;

use super::edges::{BASELINE_SIGMA, CHECKED_ERROR_SHARE, Edges};
use super::hit_matching::{Matches, difference_of_baselines, difference_of_errors};
use crate::extract::Extractor;
use crate::model::{Batch, Extracted};

/// Allowed relative difference of errors (of hits and baseline), noise and chi-square: one block of the trace more or less that
/// counts as unlit, which may depend on a last bit too, changes them by some thousandths.
pub const ERROR_SHARE: f32 = 1e-2;
/// Allowed share of unmatched hits: those that depend on the last bit of a number.
pub const UNMATCHED_SHARE: f64 = 1e-4;
/// Unmatched hits that are listed at most.
const MAX_LISTED: usize = 20;

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
    pub worst_time_ns: f64,
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
    pub time_ns: f64,
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
            let matches = Matches::new(of_first, of_second);
            self.worst_charge_pe = self.worst_charge_pe.max(matches.worst_charge_pe);
            self.worst_time_ns = self.worst_time_ns.max(matches.worst_time_ns);
            let error = matches.worst_error_share.max(difference_of_errors(a, b));
            let baseline = difference_of_baselines(a, b);
            self.unmatched += matches.unmatched.len() as u64;
            let differs = !matches.unmatched.is_empty()
                || a.flags != b.flags
                || error > CHECKED_ERROR_SHARE
                || baseline > BASELINE_SIGMA;
            if differs {
                let edges = Edges::search(cpu, batch, index);
                for &(is_first, hit) in &matches.unmatched {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{self, Occupancy, input};
    use crate::extract::{Backend as _, Method, Parameters};

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
