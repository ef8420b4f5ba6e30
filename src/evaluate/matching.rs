//! Joins hits, waveform summaries and truth by waveform; nothing is dropped without being counted.

use std::collections::BTreeMap;
use std::ops::Range;

use rayon::slice::ParallelSliceMut;
use serde::Serialize;

use crate::error::{Error, Hint, Result};
use crate::model::{Flags, Reconstruction, TimedCharge, Truth};
use crate::threads::in_pool;

/// The hits and the true photoelectrons of one waveform, both in ascending time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MatchedWaveform<'a> {
    /// The reconstructed hits.
    pub hits: &'a [TimedCharge],
    /// The true photoelectrons.
    pub truth: &'a [TimedCharge],
    /// Flags of the waveform.
    pub flags: Flags,
}

impl MatchedWaveform<'_> {
    /// Sum of the charges of the hits.
    #[must_use]
    pub fn reconstructed_pe(&self) -> f64 {
        self.hits.iter().map(|hit| hit.charge_pe).sum()
    }

    /// Sum of the charges of the true photoelectrons.
    #[must_use]
    pub fn true_pe(&self) -> f64 {
        self.truth.iter().map(|pulse| pulse.charge_pe).sum()
    }

    /// True if the digitiser's range cut the waveform, so that its charge cannot be known.
    #[must_use]
    pub fn is_saturated(&self) -> bool {
        self.flags
            .intersects(Flags::SATURATED_HIGH | Flags::SATURATED_LOW)
    }
}

/// Numbers of what was compared, and of what could not be.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Counts {
    /// Rows of the waveform table.
    pub windows: u64,
    /// Waveforms compared: windows of one channel in one event count as one.
    pub waveforms: u64,
    /// Windows of other inputs than the one chosen, left out.
    pub windows_of_other_inputs: u64,
    /// Waveforms with at least one true photoelectron.
    pub waveforms_with_truth: u64,
    /// Waveforms without a true photoelectron.
    pub waveforms_without_truth: u64,
    /// Waveforms with at least one hit.
    pub waveforms_with_hits: u64,
    /// Waveforms with truth and no hit.
    pub waveforms_missed: u64,
    /// Waveforms with hits and no truth.
    pub waveforms_with_hits_without_truth: u64,
    /// Waveforms flagged saturated, left out of the charge metrics.
    pub waveforms_saturated: u64,
    /// Hits compared.
    pub hits: u64,
    /// Hits with a time or charge that is not finite, left out.
    pub hits_not_finite: u64,
    /// True photoelectrons compared.
    pub photoelectrons: u64,
    /// True photoelectrons with a time or charge that is not finite, left out.
    pub photoelectrons_not_finite: u64,
    /// Waveforms (event and channel) the truth has and the output lacks.
    pub truth_waveforms_not_in_output: u64,
    /// The true photoelectrons of those.
    pub photoelectrons_not_in_output: u64,
    /// Waveforms by flag.
    pub flags: BTreeMap<&'static str, u64>,
}

/// Hits and truth, waveform by waveform.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Joined {
    /// The numbers.
    pub counts: Counts,
    hits: Vec<TimedCharge>,
    truth: Vec<TimedCharge>,
    waveforms: Vec<(Range<usize>, Range<usize>, Flags)>,
}

impl Joined {
    /// The waveforms, in ascending order of event and channel.
    #[must_use]
    pub fn waveforms(&self) -> Vec<MatchedWaveform<'_>> {
        self.waveforms
            .iter()
            .map(|(hits, truth, flags)| MatchedWaveform {
                hits: &self.hits[hits.clone()],
                truth: &self.truth[truth.clone()],
                flags: *flags,
            })
            .collect()
    }
}

/// Event, channel.
type Key = (u64, u32);
type Keyed = (Key, TimedCharge);

/// Joins `reconstruction` with `truth` by event and channel. The order of the rows in either does not matter.
///
/// `input_id` chooses one input of a run over several; without it, the inputs' events must not overlap.
///
/// # Errors
/// If the tables contradict each other (a hit without a waveform, a wrong `n_hits`), if two inputs have the same
/// event and channel, or if not one waveform has truth.
pub fn join(
    reconstruction: &Reconstruction,
    truth: &Truth,
    input_id: Option<u32>,
) -> Result<Joined> {
    let dir = &reconstruction.dir;
    let mut counts = Counts::default();
    let wanted = |id: u32| input_id.is_none_or(|wanted| wanted == id);
    let rows = sorted_rows(reconstruction, &wanted);
    if rows.is_empty() {
        let which = input_id.map_or_else(String::new, |id| format!(" of input {id}"));
        return Err(Error::input(
            dir,
            format!("the output has no waveform{which}, so there is nothing to evaluate"),
        ));
    }
    counts.windows = rows.len() as u64;
    counts.windows_of_other_inputs = (reconstruction.waveforms.len() - rows.len()) as u64;
    let hits = sorted_hits(reconstruction, &wanted);
    let photoelectrons = sorted_truth(truth);

    let mut joined = Joined::default();
    let mut next_hit = 0;
    let mut next_truth = 0;
    for window in rows.chunk_by(|a, b| a.0 == b.0) {
        let (key, id, ..) = window[0];
        if let Some(other) = window.iter().find(|row| row.1 != id) {
            return Err(Error::input(
                dir,
                format!(
                    "event {}, channel {} is in input {id} and in input {}, so the truth fits either",
                    key.0, key.1, other.1
                ),
            )
            .with_hint(Hint::ChooseInput));
        }
        let expected: u64 = window.iter().map(|row| u64::from(row.2)).sum();
        let mut flags = Flags::NONE;
        for row in window {
            flags |= row.3;
        }

        let own = run_of(&hits, &mut next_hit, key);
        if let Some(stray) = own.before.first() {
            return Err(stray_hit(dir, stray.0));
        }
        if own.of_key.len() as u64 != expected {
            return Err(Error::input(
                dir,
                format!(
                    "event {}, channel {} has {} rows in `hits` but `n_hits` in `waveforms` says {expected}",
                    key.0,
                    key.1,
                    own.of_key.len()
                ),
            )
            .with_hint("the two tables are not of one run; reconstruct again"));
        }
        let (hit_range, bad) = append_finite(&mut joined.hits, own.of_key);
        counts.hits += hit_range.len() as u64;
        counts.hits_not_finite += bad;

        let own = run_of(&photoelectrons, &mut next_truth, key);
        count_missing(own.before, &mut counts);
        let (truth_range, bad) = append_finite(&mut joined.truth, own.of_key);
        counts.photoelectrons += truth_range.len() as u64;
        counts.photoelectrons_not_finite += bad;

        count_waveform(
            &mut counts,
            !hit_range.is_empty(),
            !truth_range.is_empty(),
            flags,
        );
        joined.waveforms.push((hit_range, truth_range, flags));
    }
    if let Some(stray) = hits.get(next_hit) {
        return Err(stray_hit(dir, stray.0));
    }
    count_missing(
        photoelectrons.get(next_truth..).unwrap_or_default(),
        &mut counts,
    );
    if counts.waveforms_with_truth == 0 {
        return Err(Error::input(
            dir,
            format!(
                "none of the {} waveforms has a true photoelectron; the truth's {} are all of other events or channels",
                counts.waveforms, counts.photoelectrons_not_in_output
            ),
        )
        .with_hint("is this the truth of the file that was reconstructed?"));
    }
    joined.counts = counts;
    Ok(joined)
}

/// Event and channel, input, number of hits, flags.
type Row = (Key, u32, u32, Flags);

fn sorted_rows(reconstruction: &Reconstruction, wanted: &impl Fn(u32) -> bool) -> Vec<Row> {
    let table = &reconstruction.waveforms;
    let mut rows: Vec<Row> = table
        .input_id
        .iter()
        .zip(table.event_id.iter().zip(&table.channel_id))
        .zip(table.n_hits.iter().zip(&table.flags))
        .filter(|((id, _), _)| wanted(**id))
        .map(|((&id, (&event, &channel)), (&n_hits, &flags))| ((event, channel), id, n_hits, flags))
        .collect();
    in_pool(|| rows.par_sort_unstable_by_key(|row| (row.0, row.1, row.2, row.3.0)));
    rows
}

fn sorted_hits(reconstruction: &Reconstruction, wanted: &impl Fn(u32) -> bool) -> Vec<Keyed> {
    let table = &reconstruction.hits;
    let mut hits: Vec<Keyed> = table
        .input_id
        .iter()
        .zip(table.event_id.iter().zip(&table.channel_id))
        .zip(table.time_ns.iter().zip(&table.charge_pe))
        .filter(|((id, _), _)| wanted(**id))
        .map(|((_, (&event, &channel)), (&time_ns, &charge_pe))| {
            let pulse = TimedCharge {
                time_ns,
                charge_pe: f64::from(charge_pe),
            };
            ((event, channel), pulse)
        })
        .collect();
    sort(&mut hits);
    hits
}

fn sorted_truth(truth: &Truth) -> Vec<Keyed> {
    let mut photoelectrons: Vec<Keyed> = truth
        .photoelectrons
        .iter()
        .map(|pe| {
            let pulse = TimedCharge {
                time_ns: pe.time_ns,
                charge_pe: f64::from(pe.charge_pe),
            };
            ((pe.event_id, pe.channel_id), pulse)
        })
        .collect();
    sort(&mut photoelectrons);
    photoelectrons
}

/// Sorts by waveform and time; by charge where times are equal, so that the order of the rows never shows in a sum.
fn sort(pulses: &mut [Keyed]) {
    in_pool(|| {
        pulses.par_sort_unstable_by(|a, b| {
            a.0.cmp(&b.0)
                .then(a.1.time_ns.total_cmp(&b.1.time_ns))
                .then(a.1.charge_pe.total_cmp(&b.1.charge_pe))
        });
    });
}

/// The rows skipped before a key, and the rows with that key.
struct Run<'a> {
    before: &'a [Keyed],
    of_key: &'a [Keyed],
}

fn run_of<'a>(rows: &'a [Keyed], next: &mut usize, key: Key) -> Run<'a> {
    let rest = rows.get(*next..).unwrap_or_default();
    let begin = rest.iter().take_while(|row| row.0 < key).count();
    let length = rest[begin..].iter().take_while(|row| row.0 == key).count();
    *next += begin + length;
    Run {
        before: &rest[..begin],
        of_key: &rest[begin..begin + length],
    }
}

fn append_finite(all: &mut Vec<TimedCharge>, rows: &[Keyed]) -> (Range<usize>, u64) {
    let begin = all.len();
    all.extend(
        rows.iter()
            .map(|row| row.1)
            .filter(|pulse| pulse.time_ns.is_finite() && pulse.charge_pe.is_finite()),
    );
    let bad = rows.len() - (all.len() - begin);
    (begin..all.len(), bad as u64)
}

fn count_missing(rows: &[Keyed], counts: &mut Counts) {
    counts.photoelectrons_not_in_output += rows.len() as u64;
    counts.truth_waveforms_not_in_output += rows.chunk_by(|a, b| a.0 == b.0).count() as u64;
}

fn count_waveform(counts: &mut Counts, has_hits: bool, has_truth: bool, flags: Flags) {
    counts.waveforms += 1;
    counts.waveforms_with_truth += u64::from(has_truth);
    counts.waveforms_without_truth += u64::from(!has_truth);
    counts.waveforms_with_hits += u64::from(has_hits);
    counts.waveforms_missed += u64::from(has_truth && !has_hits);
    counts.waveforms_with_hits_without_truth += u64::from(has_hits && !has_truth);
    let saturated = flags.intersects(Flags::SATURATED_HIGH | Flags::SATURATED_LOW);
    counts.waveforms_saturated += u64::from(saturated);
    for name in flags.names() {
        *counts.flags.entry(name).or_default() += 1;
    }
}

fn stray_hit(dir: &std::path::Path, key: Key) -> Error {
    Error::input(
        dir,
        format!(
            "`hits` has event {}, channel {}, which `waveforms` lacks",
            key.0, key.1
        ),
    )
    .with_hint("the two tables are not of one run; reconstruct again")
}
