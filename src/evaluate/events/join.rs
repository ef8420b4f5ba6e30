//! Joins reconstructed with true events by event number; everything that is dropped is counted.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Hint, Result};
use crate::evaluate::stats::Share;
use crate::model::vector::norm;
use crate::model::{Event, Flags, TrueEvent};

/// A true event and its reconstruction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// The true event.
    pub truth: TrueEvent,
    /// The reconstructed event.
    pub found: Event,
}

impl Pair {
    /// Returns reconstructed minus true vertex; `None` without a reconstructed vertex.
    #[must_use]
    pub fn offset_mm(&self) -> Option<[f64; 3]> {
        let (truth, found) = (&self.truth, &self.found);
        let offset = [
            found.x_mm - truth.x_mm,
            found.y_mm - truth.y_mm,
            found.z_mm - truth.z_mm,
        ];
        offset
            .iter()
            .all(|value| value.is_finite())
            .then_some(offset)
    }

    /// Returns the distance of the true vertex from the centre.
    #[must_use]
    pub fn true_radius_mm(&self) -> f64 {
        norm([self.truth.x_mm, self.truth.y_mm, self.truth.z_mm])
    }

    /// Returns the reconstructed minus the true distance from the centre; `None` without a reconstructed vertex.
    #[must_use]
    pub fn radial_mm(&self) -> Option<f64> {
        let found = norm([self.found.x_mm, self.found.y_mm, self.found.z_mm]);
        Some(found - self.true_radius_mm()).filter(|value| value.is_finite())
    }

    /// Returns the cosine of the true vertex's polar angle; 0 at the centre.
    #[must_use]
    pub fn true_cos_theta(&self) -> f64 {
        let radius_mm = self.true_radius_mm();
        if radius_mm > 0.0 {
            (self.truth.z_mm / radius_mm).clamp(-1.0, 1.0)
        } else {
            0.0
        }
    }

    /// Returns reconstructed minus true time; `None` without a reconstructed time.
    #[must_use]
    pub fn time_ns(&self) -> Option<f64> {
        Some(self.found.time_ns - self.truth.time_ns).filter(|value| value.is_finite())
    }

    /// Returns reconstructed over true energy; `None` without a reconstructed energy or a positive true one.
    #[must_use]
    pub fn response(&self) -> Option<f64> {
        (self.truth.energy_mev > 0.0)
            .then(|| self.found.energy_mev / self.truth.energy_mev)
            .filter(|value| value.is_finite())
    }
}

/// Numbers of events that were compared, and of those that could not be.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EventCounts {
    /// Events of the truth.
    pub true_events: u64,
    /// True events with a number that is not finite, left out.
    pub true_not_finite: u64,
    /// True events without positive energy, left out of the energy's results.
    pub true_without_energy: u64,
    /// Rows of the table of events.
    pub reconstructed: u64,
    /// Rows of other inputs than the one chosen, left out.
    pub of_other_inputs: u64,
    /// Events that both have.
    pub matched: u64,
    /// True events without a row.
    pub not_reconstructed: u64,
    /// Rows without a true event, left out.
    pub without_truth: u64,
    /// Matched events with a vertex and without the flag `not_converged`.
    pub converged: Option<Share>,
    /// Matched events whose vertex is not known; left out of the vertex's results.
    pub without_vertex: u64,
    /// Matched events whose time is not known; left out of the time's results.
    pub without_time: u64,
    /// Matched events whose energy is not known; left out of the energy's results.
    pub without_energy: u64,
    /// Matched events by flag.
    pub flags: BTreeMap<&'static str, u64>,
}

/// Events that both sides have, in ascending order of their numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JoinedEvents {
    /// The numbers.
    pub counts: EventCounts,
    /// The events.
    pub pairs: Vec<Pair>,
}

/// Joins `rows` (input and event, from the folder `dir`) with `truth` by the events' numbers, in any order.
///
/// `input_id` chooses one input of a run over several; without it, the inputs' events must not overlap.
///
/// # Errors
/// If either side has an event twice, or not one event is in both.
pub fn join(
    dir: &Path,
    rows: &[(u32, Event)],
    truth: &[TrueEvent],
    input_id: Option<u32>,
) -> Result<JoinedEvents> {
    let mut own: Vec<(u32, Event)> = rows
        .iter()
        .filter(|row| input_id.is_none_or(|wanted| wanted == row.0))
        .copied()
        .collect();
    own.sort_by_key(|(input, event)| (event.event_id, *input));
    refuse_twice(dir, &own)?;
    let mut counts = EventCounts {
        true_events: truth.len() as u64,
        reconstructed: own.len() as u64,
        of_other_inputs: (rows.len() - own.len()) as u64,
        ..EventCounts::default()
    };
    let mut sorted: Vec<TrueEvent> = truth.iter().copied().filter(is_finite).collect();
    counts.true_not_finite = (truth.len() - sorted.len()) as u64;
    sorted.sort_by_key(|event| event.event_id);
    if let Some(twice) = sorted.windows(2).find_map(|pair| match pair {
        [a, b] if a.event_id == b.event_id => Some(a.event_id),
        _ => None,
    }) {
        return Err(
            Error::usage(format!("the truth has event {twice} twice")).with_hint(
                "events of several files need numbers of their own; evaluate one file at a time",
            ),
        );
    }
    let mut rest = own.as_slice();
    let mut pairs = Vec::with_capacity(sorted.len());
    for truth in sorted {
        let before = rest.partition_point(|(_, event)| event.event_id < truth.event_id);
        counts.without_truth += before as u64;
        rest = rest.get(before..).unwrap_or_default();
        match rest.split_first() {
            Some(((_, found), after)) if found.event_id == truth.event_id => {
                pairs.push(Pair {
                    truth,
                    found: *found,
                });
                rest = after;
            }
            _ => counts.not_reconstructed += 1,
        }
    }
    counts.without_truth += rest.len() as u64;
    if pairs.is_empty() {
        return Err(Error::input(
            dir,
            format!(
                "none of the {} events is among the truth's {}",
                counts.reconstructed, counts.true_events
            ),
        )
        .with_hint("is this the truth of the file that was reconstructed?"));
    }
    count(&mut counts, &pairs);
    Ok(JoinedEvents { counts, pairs })
}

fn is_finite(event: &TrueEvent) -> bool {
    [
        event.x_mm,
        event.y_mm,
        event.z_mm,
        event.time_ns,
        event.energy_mev,
    ]
    .iter()
    .all(|value| value.is_finite())
}

/// Rows sorted by event and input: no event may be there twice.
fn refuse_twice(dir: &Path, rows: &[(u32, Event)]) -> Result<()> {
    let twice = rows.windows(2).find_map(|pair| match pair {
        [(first, a), (second, b)] if a.event_id == b.event_id => {
            Some((a.event_id, *first, *second))
        }
        _ => None,
    });
    match twice {
        None => Ok(()),
        Some((event, first, second)) if first == second => Err(Error::input(
            dir,
            format!("`events` has event {event} of input {first} twice"),
        )
        .with_hint("the table is damaged or of two runs; reconstruct again")),
        Some((event, first, second)) => Err(Error::input(
            dir,
            format!(
                "event {event} is in input {first} and in input {second}, so the truth fits either"
            ),
        )
        .with_hint(Hint::ChooseInput)),
    }
}

fn count(counts: &mut EventCounts, pairs: &[Pair]) {
    let number = |of: &dyn Fn(&Pair) -> bool| pairs.iter().filter(|pair| of(pair)).count() as u64;
    counts.matched = pairs.len() as u64;
    counts.true_without_energy = number(&|pair| pair.truth.energy_mev <= 0.0);
    counts.without_vertex = number(&|pair| pair.offset_mm().is_none());
    counts.without_time = number(&|pair| pair.time_ns().is_none());
    counts.without_energy = number(&|pair| !pair.found.energy_mev.is_finite());
    let converged = number(&|pair| {
        pair.offset_mm().is_some() && !pair.found.flags.contains(Flags::NOT_CONVERGED)
    });
    counts.converged = Share::new(converged, counts.matched);
    for name in pairs.iter().flat_map(|pair| pair.found.flags.names()) {
        *counts.flags.entry(name).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(event_id: u64) -> Event {
        Event {
            event_id,
            energy_mev: 1.0,
            ..Event::default()
        }
    }

    fn truth(event_id: u64) -> TrueEvent {
        TrueEvent {
            event_id,
            energy_mev: 2.0,
            ..TrueEvent::default()
        }
    }

    #[test]
    fn what_only_one_side_has_is_counted() {
        let unknown = Event::unknown(7, Flags::TOO_FEW_HITS);
        let rows = [(0, found(9)), (0, unknown), (0, found(1)), (1, found(5))];
        let truth: Vec<_> = [7, 1, 2, 3].map(truth).to_vec();
        let joined = join(Path::new("out"), &rows, &truth, Some(0)).unwrap();
        let counts = &joined.counts;
        assert_eq!(joined.pairs.len(), 2);
        assert_eq!(joined.pairs[0].response(), Some(0.5));
        assert_eq!((counts.matched, counts.not_reconstructed), (2, 2));
        assert_eq!((counts.without_truth, counts.of_other_inputs), (1, 1));
        assert_eq!((counts.without_vertex, counts.without_energy), (1, 1));
        assert_eq!(counts.converged.unwrap().k, 1);
        assert_eq!(counts.flags["too_few_hits"], 1);
    }

    #[test]
    fn an_event_that_is_there_twice_is_an_error() {
        let dir = Path::new("out");
        let rows = [(0, found(1)), (0, found(1))];
        let error = join(dir, &rows, &[truth(1)], None).unwrap_err();
        assert!(
            error.to_string().contains("event 1 of input 0 twice"),
            "{error}"
        );
        let rows = [(0, found(1)), (3, found(1))];
        let error = join(dir, &rows, &[truth(1)], None).unwrap_err();
        assert_eq!(error.hints(), [Hint::ChooseInput]);
        let error = join(dir, &[(0, found(1))], &[truth(1), truth(1)], None).unwrap_err();
        assert!(error.to_string().contains("twice"), "{error}");
        let error = join(dir, &[(0, found(1))], &[truth(2)], None).unwrap_err();
        assert!(
            error.to_string().contains("none of the 1 events"),
            "{error}"
        );
    }
}
