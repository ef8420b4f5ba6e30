//! Grouping of events: those of one position and energy are a run, those of one energy a class.

use std::collections::{BTreeMap, HashMap};

use crate::error::{Error, Result};
use crate::math;
use crate::model::TrueEvent;
use crate::model::vector::Vector;

/// Positions that agree within this are equal.
const SAME_MM: f64 = 0.1;
/// Energies that agree within this relative difference are equal; a continuous energy falls into several classes.
const SAME_ENERGY: f64 = 0.05;
/// Maximum number of runs: memory per run grows with the number of channels.
const MAX_RUNS: usize = 2000;

/// Events of one position and energy.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Run {
    pub position_mm: Vector,
    /// Mean of the true energies of the events that were used.
    pub energy_mev: f64,
    /// Index of the energy class.
    pub class: usize,
    /// Events that were used.
    pub events: u64,
}

/// The runs, in the order of their positions and energies.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Runs {
    pub all: Vec<Run>,
    pub n_classes: usize,
    of_event: HashMap<u64, (usize, TrueEvent)>,
}

impl Runs {
    /// Groups the events of the truth.
    pub(super) fn new(truth: &[TrueEvent]) -> Result<Self> {
        let key = |event: &TrueEvent| {
            let position = [event.x_mm, event.y_mm, event.z_mm];
            (
                position.map(|x| (x / SAME_MM).round() as i64),
                (math::ln(event.energy_mev) / SAME_ENERGY).round() as i64,
            )
        };
        let good = |event: &&TrueEvent| {
            event.energy_mev > 0.0
                && [event.x_mm, event.y_mm, event.z_mm, event.energy_mev]
                    .iter()
                    .all(|x| x.is_finite())
        };
        let mut groups = BTreeMap::new();
        let mut classes = BTreeMap::new();
        for event in truth.iter().filter(good) {
            let key = key(event);
            classes.insert(key.1, 0);
            groups.entry(key).or_insert((0, *event));
        }
        if groups.len() > MAX_RUNS {
            return Err(Error::usage(format!(
                "the events have {} different positions or energies; at most {MAX_RUNS} runs are possible",
                groups.len()
            ))
            .with_hint("light is calibrated with sources at known positions, many events at each"));
        }
        for (number, class) in classes.values_mut().enumerate() {
            *class = number;
        }
        let mut all = Vec::new();
        for ((_, energy), (number, event)) in &mut groups {
            *number = all.len();
            all.push(Run {
                position_mm: [event.x_mm, event.y_mm, event.z_mm],
                energy_mev: 0.0,
                class: classes.get(energy).copied().unwrap_or(0),
                events: 0,
            });
        }
        let mut of_event = HashMap::new();
        for event in truth.iter().filter(good) {
            if let Some((number, _)) = groups.get(&key(event))
                && of_event.insert(event.event_id, (*number, *event)).is_some()
            {
                return Err(Error::usage(format!(
                    "the truth has event {} twice",
                    event.event_id
                )));
            }
        }
        Ok(Self {
            all,
            n_classes: classes.len(),
            of_event,
        })
    }

    /// Returns the run of an event and its truth.
    pub(super) fn find(&self, event_id: u64) -> Option<(usize, &TrueEvent)> {
        self.of_event
            .get(&event_id)
            .map(|(run, event)| (*run, event))
    }

    /// Counts an event that is used.
    pub(super) fn count(&mut self, run: usize, energy_mev: f64) {
        if let Some(run) = self.all.get_mut(run) {
            run.events += 1;
            run.energy_mev += (energy_mev - run.energy_mev) / run.events as f64;
        }
    }
}
