//! Light maps, time distributions, channels' constants and the energy scale, from sources at known places.
//!
//! The hits are read seven times. `tally` sums charges by run and channel and looks at what comes before the light;
//! `constants`, `flight` and `map` make dark rates, charge spectra, slownesses, maps and efficiencies of that. Five passes
//! (`learn`, `start`, `times`) find when each event happened and when its light arrives, in turn. The last one (`scale`)
//! fits the runs as any event is fitted. Of the truth only places and energies are used, and the times where they go
//! with the hits': those fix where time zero is. The detector's description gives the PMTs' places and the
//! scintillator's radius, nothing else.

mod constants;
mod flight;
mod learn;
mod map;
mod runs;
mod scale;
mod start;
mod tally;
mod times;

use std::collections::HashMap;
use std::sync::Arc;

use rayon::prelude::*;

use crate::detector::{Detector, Sensors};
use crate::error::{Error, Result};
use crate::event::vector::{dot, norm};
use crate::event::{
    ChannelLight, EnergyScale, EventHits, LightModel, LightTables, Method, Reconstructor,
    TimeTable, TypeLight,
};
use crate::model::TrueEvent;
use learn::{Known, Pass};
use map::{Light, Maps};
use runs::Runs;
use scale::Refit;
use tally::Tally;

/// What a pass that learns times does.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// Takes the events' times from the peaks of their hits.
    Rough,
    /// Refines them, and the channels' offsets, with the distributions so far.
    Refine,
    /// Makes the distributions of times and offsets as they stand.
    Conclude,
}

/// The passes that learn times.
const STAGES: [Stage; 5] = [
    Stage::Rough,
    Stage::Refine,
    Stage::Refine,
    Stage::Refine,
    Stage::Conclude,
];
/// Share of a detector's channels that may have no hits at all.
const MOST_SILENT: f64 = 0.5;
/// Truth and hits agree on what a time is where their difference spreads by no more than this and is no more than that.
const SAME_TIME_SPREAD_NS: f64 = 5.0;
const SAME_TIME_NS: f64 = 40.0;

/// Reads all events once, in order, block by block, and shows each block to its argument.
pub type ReadEvents<'a> = dyn FnMut(&mut dyn FnMut(&[EventHits])) -> Result<()> + 'a;

/// One run of a source.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct RunSummary {
    /// Where it stood.
    pub position_mm: [f64; 3],
    /// Its mean energy.
    pub energy_mev: f64,
    /// Events that were used.
    pub events: u64,
    /// Mean photoelectrons of light in an event.
    pub pe: f64,
    /// What the light maps expect of it.
    pub expected_pe: f64,
    /// What the fit finds of its energy, after the energy scale, over what is there.
    pub response: Option<f64>,
    /// Error of that.
    pub response_sigma: Option<f64>,
}

/// What [`light`] found.
#[derive(Clone, Debug)]
pub struct LightResult {
    /// Everything that a fit needs.
    pub tables: LightTables,
    /// Type of each channel, in the order of the tables.
    pub type_of: Vec<usize>,
    /// The runs.
    pub runs: Vec<RunSummary>,
    /// Events of the input.
    pub events: u64,
    /// Those that the truth does not know.
    pub without_truth: u64,
    /// Those in which no light stands out.
    pub without_light: u64,
    /// Those with hits that could not be used.
    pub with_bad_hits: u64,
    /// Events that were fitted at the end, and those of them whose fit did not converge.
    pub fitted: u64,
    /// Fits that did not converge.
    pub not_converged: u64,
    /// Whether time zero is the truth's.
    pub time_of_truth: bool,
}

/// Learns a detector's light from `truth` and the hits of sources at known places.
///
/// # Errors
/// If the detector has no geometry, the input cannot be read, or the events do not tell enough.
pub fn light(
    read_all: &mut ReadEvents<'_>,
    truth: &[TrueEvent],
    detector: &Detector,
) -> Result<LightResult> {
    let sensors = detector.sensors().ok_or_else(|| {
        Error::usage(format!("detector `{}` has no geometry", detector.name))
            .with_hint("light is calibrated for PMTs at known places")
    })?;
    let mut runs = Runs::new(truth)?;
    let scintillator_mm = detector
        .geometry
        .as_ref()
        .and_then(|geometry| geometry.scintillator_radius_mm);
    let radius_mm = scintillator_mm.unwrap_or_else(|| nearest_mm(sensors));
    if let Some(run) = runs
        .all
        .iter()
        .find(|run| norm(run.position_mm) > radius_mm)
    {
        return Err(Error::usage(format!(
            "a source at {:?} mm is outside the detector, whose radius is {radius_mm} mm",
            run.position_mm
        )));
    }
    let tally = tally(
        read_all,
        &mut runs,
        sensors,
        scintillator_mm,
        radius_mm,
        detector,
    )?;
    let mut learner = Learner::new(&tally, &runs, detector, sensors, scintillator_mm, radius_mm)?;
    let mut starts_ns = learner.first_starts(&tally, &runs, truth);
    for stage in STAGES {
        learner.learn_times(read_all, &runs, &mut starts_ns, stage)?;
        learner.anchor(&mut starts_ns, truth, &runs);
    }
    let model = LightModel::new(learner.tables.clone(), Arc::clone(sensors))?;
    let expected_pe: Vec<f64> = runs
        .all
        .iter()
        .map(|run| {
            let visible_mev = run.energy_mev * learner.maps.seen[run.class];
            visible_mev * model.total(run.position_mm).0
        })
        .collect();
    let reconstructor = Reconstructor::new(detector, Some(model), Method::Full)?;
    let mut refit = Refit::new(runs.all.len());
    read_all(&mut |block| refit.add(block, &runs, &reconstructor))?;
    let energy = refit.scale(&runs, &learner.maps.seen, radius_mm);
    let summaries = summaries(&runs, &learner, &expected_pe, &refit, &energy, radius_mm);
    learner.tables.energy = energy;
    Ok(LightResult {
        tables: learner.tables,
        type_of: sensors.all().iter().map(|one| one.type_index).collect(),
        runs: summaries,
        events: tally.events,
        without_truth: tally.without_truth,
        without_light: tally.without_light,
        with_bad_hits: tally.bad_hits,
        fitted: refit.events,
        not_converged: refit.not_converged,
        time_of_truth: learner.time_of_truth,
    })
}

fn nearest_mm(sensors: &Sensors) -> f64 {
    sensors
        .all()
        .iter()
        .map(|sensor| norm(sensor.position_mm))
        .fold(f64::INFINITY, f64::min)
}

/// The first pass.
fn tally(
    read_all: &mut ReadEvents<'_>,
    runs: &mut Runs,
    sensors: &Sensors,
    scintillator_mm: Option<f64>,
    radius_mm: f64,
    detector: &Detector,
) -> Result<Tally> {
    let window_ns = detector.readout.window_ns();
    let (_, v) = map::axes(sensors, radius_mm);
    let bin_of = |distance_mm: f64| {
        let share = (distance_mm.max(1.0).ln() - v.low) / (v.high - v.low);
        let last = tally::FLIGHT_BINS as f64 - 1.0;
        (share * tally::FLIGHT_BINS as f64).clamp(0.0, last) as usize
    };
    let mut tally = Tally::new(runs.all.len(), detector.pmt_types.len(), sensors.len());
    read_all(&mut |block| {
        let looks: Vec<_> = block
            .par_iter()
            .map(|event| tally::look(event, runs, sensors, window_ns))
            .collect();
        for look in looks {
            tally.add(look, runs, sensors, scintillator_mm, bin_of);
        }
    })?;
    if tally.events == tally.without_truth {
        return Err(
            Error::usage("the truth knows none of the events in the hits")
                .with_hint("give the truth of these very hits"),
        );
    }
    if tally.events == tally.without_truth + tally.without_light {
        return Err(Error::usage(
            "in no event any light stands out of the dark hits",
        ));
    }
    let silent = tally
        .charge_pe
        .iter()
        .fold(vec![true; sensors.len()], |mut silent, run| {
            for (silent, charge_pe) in silent.iter_mut().zip(run) {
                *silent &= *charge_pe <= 0.0;
            }
            silent
        })
        .into_iter()
        .filter(|silent| *silent)
        .count();
    if silent as f64 > MOST_SILENT * sensors.len() as f64 {
        return Err(Error::usage(format!(
            "{silent} of {} channels have no hit in any run",
            sensors.len()
        ))
        .with_hint("are these the hits of this detector? If so, take more events"));
    }
    Ok(tally)
}

/// Tables on their way.
struct Learner<'a> {
    tables: LightTables,
    maps: Maps,
    sensors: &'a Arc<Sensors>,
    mean_start_ns: f64,
    late_ns: Vec<f64>,
    time_of_truth: bool,
    /// Mean photoelectrons of light by run.
    pe: Vec<f64>,
}

impl<'a> Learner<'a> {
    /// All that the first pass tells.
    fn new(
        tally: &Tally,
        runs: &Runs,
        detector: &Detector,
        sensors: &'a Arc<Sensors>,
        scintillator_mm: Option<f64>,
        radius_mm: f64,
    ) -> Result<Self> {
        let names: Vec<&str> = detector
            .pmt_types
            .iter()
            .map(|pmt| pmt.name.as_str())
            .collect();
        let window_ns = detector.readout.window_ns();
        let charges = constants::charges(tally, &names)?;
        let dark_per_ns = constants::dark_per_ns(tally, sensors, names.len());
        let (flight, late_ns) = flight::flight(tally, runs, scintillator_mm);
        let mean_pe: Vec<f64> = sensors
            .all()
            .iter()
            .map(|sensor| charges[sensor.type_index].mean_pe())
            .collect();
        let pe: Vec<Vec<f64>> = tally
            .charge_pe
            .iter()
            .map(|run| run.iter().zip(&mean_pe).map(|(q, mean)| q / mean).collect())
            .collect();
        let dark_pe: Vec<f64> = dark_per_ns.iter().map(|rate| rate * window_ns).collect();
        let maps = Light {
            runs,
            sensors,
            radius_mm,
            n_types: names.len(),
            pe: &pe,
            dark_pe: &dark_pe,
        }
        .fit()?;
        let all_dark_pe: f64 = dark_pe.iter().sum();
        let light_pe = runs
            .all
            .iter()
            .zip(&pe)
            .map(|(run, pe)| pe.iter().sum::<f64>() / (run.events as f64).max(1.0) - all_dark_pe)
            .collect();
        // Until times are learnt there is one time, anywhere.
        let (u, v) = times::nodes(maps.surfaces[0].v.low, maps.surfaces[0].v.high);
        let anything = TimeTable::new(u, v, &vec![vec![1.0; 4]; u.count * v.count])
            .ok_or_else(|| Error::internal("a flat table of times"))?;
        let types = names
            .iter()
            .zip(&maps.surfaces)
            .zip(charges)
            .map(|((name, map), charges)| TypeLight {
                name: (*name).to_owned(),
                map: map.clone(),
                times: anything.clone(),
                charges,
            })
            .collect();
        let channels = dark_per_ns
            .iter()
            .zip(&maps.efficiency)
            .map(|(&dark_per_ns, &efficiency)| ChannelLight {
                efficiency,
                time_offset_ns: 0.0,
                dark_per_ns,
            })
            .collect();
        Ok(Self {
            tables: LightTables {
                detector: detector.name.clone(),
                geometry_crc32c: sensors.crc32c(),
                radius_mm,
                window_ns,
                flight,
                separation_ns: tally.separation_ns(),
                seed: centroid_factors(tally, runs, radius_mm),
                types,
                channels,
                energy: EnergyScale::default(),
            },
            maps,
            sensors,
            mean_start_ns: 0.0,
            late_ns,
            time_of_truth: false,
            pe: light_pe,
        })
    }

    /// Times of the events from the peaks of their hits: the same light is the same time, wherever the source stood.
    fn first_starts(
        &mut self,
        tally: &Tally,
        runs: &Runs,
        truth: &[TrueEvent],
    ) -> HashMap<u64, f64> {
        let mut starts_ns: HashMap<u64, f64> = tally
            .peaks_ns
            .iter()
            .filter_map(|(&event, &peak_ns)| {
                let (run, _) = runs.of(event)?;
                Some((event, peak_ns + self.late_ns[run]))
            })
            .collect();
        self.anchor(&mut starts_ns, truth, runs);
        starts_ns
    }

    /// Moves the times of each run together to where the truth has them, if it goes with them.
    fn anchor(&mut self, starts_ns: &mut HashMap<u64, f64>, truth: &[TrueEvent], runs: &Runs) {
        let differences: Vec<(usize, f64)> = truth
            .iter()
            .filter_map(|event| {
                let (run, _) = runs.of(event.event_id)?;
                Some((run, event.time_ns - starts_ns.get(&event.event_id)?))
            })
            .filter(|(_, difference)| difference.is_finite())
            .collect();
        let n = differences.len().max(1) as f64;
        let mean = differences.iter().map(|one| one.1).sum::<f64>() / n;
        let square = |one: &(usize, f64)| (one.1 - mean).powi(2);
        let spread = (differences.iter().map(square).sum::<f64>() / n).sqrt();
        self.time_of_truth = !differences.is_empty()
            && spread < SAME_TIME_SPREAD_NS
            && (self.time_of_truth || mean.abs() < SAME_TIME_NS);
        if self.time_of_truth {
            let mut of_run = vec![(0.0, 0.0); runs.all.len()];
            for (run, difference) in differences {
                of_run[run].0 += difference;
                of_run[run].1 += 1.0;
            }
            for (event, start_ns) in starts_ns.iter_mut() {
                if let Some((run, _)) = runs.of(*event) {
                    *start_ns += of_run[run].0 / of_run[run].1;
                }
            }
        }
        // In the order of the events, so that the sum is always the same.
        let (mut sum, mut count) = (0.0, 0.0);
        for start in truth
            .iter()
            .filter_map(|event| starts_ns.get(&event.event_id))
        {
            sum += start;
            count += 1.0;
        }
        self.mean_start_ns = if count > 0.0 { sum / count } else { 0.0 };
    }

    /// One pass that learns times.
    fn learn_times(
        &mut self,
        read_all: &mut ReadEvents<'_>,
        runs: &Runs,
        starts_ns: &mut HashMap<u64, f64>,
        stage: Stage,
    ) -> Result<()> {
        let model = LightModel::new(self.tables.clone(), Arc::clone(self.sensors))?;
        let known = Known {
            runs,
            sensors: self.sensors,
            light: &model,
            seen: &self.maps.seen,
            mean_start_ns: self.mean_start_ns,
            refine: stage == Stage::Refine,
            has_times: stage != Stage::Rough,
        };
        let mut pass = Pass::new(&known);
        read_all(&mut |block| pass.add(block, &known, starts_ns))?;
        let tables = pass.tables().ok_or_else(|| {
            Error::usage("a PMT type has no hits that tell when light arrives")
                .with_hint("take more events")
        })?;
        for (kind, times) in self.tables.types.iter_mut().zip(tables) {
            kind.times = times;
        }
        let n_types = self.tables.types.len();
        let offsets = match stage {
            Stage::Rough => pass.rough_offsets_ns(self.sensors, n_types),
            Stage::Refine => pass.offsets_ns(self.sensors, n_types),
            // The distributions belong to the offsets as they stand.
            Stage::Conclude => return Ok(()),
        };
        for (channel, offset) in self.tables.channels.iter_mut().zip(offsets) {
            channel.time_offset_ns += offset;
        }
        Ok(())
    }
}

/// `seed` of [`LightTables`]: least squares over the runs' mean centroids.
fn centroid_factors(tally: &Tally, runs: &Runs, radius_mm: f64) -> [f64; 2] {
    let (mut matrix, mut right) = ([[0.0; 2]; 2], [0.0; 2]);
    for (run, (sum, n)) in runs.all.iter().zip(&tally.centroids) {
        if *n == 0 {
            continue;
        }
        let centroid = sum.map(|x| x / *n as f64);
        let length = norm(centroid) / radius_mm;
        let along = dot(run.position_mm, centroid) / norm(centroid).max(1.0) / radius_mm;
        let terms = [length, length.powi(3)];
        for i in 0..2 {
            right[i] += terms[i] * along;
            for j in 0..2 {
                matrix[i][j] += terms[i] * terms[j];
            }
        }
    }
    let determinant = matrix[0][0] * matrix[1][1] - matrix[0][1] * matrix[1][0];
    let factors = [
        (matrix[1][1] * right[0] - matrix[0][1] * right[1]) / determinant,
        (matrix[0][0] * right[1] - matrix[1][0] * right[0]) / determinant,
    ];
    let sensible = factors.iter().all(|x| x.is_finite()) && (0.5..4.0).contains(&factors[0]);
    if sensible && determinant > 1e-9 {
        factors
    } else {
        [1.3, 0.0]
    }
}

fn summaries(
    runs: &Runs,
    learner: &Learner<'_>,
    expected_pe: &[f64],
    refit: &Refit,
    energy: &EnergyScale,
    radius_mm: f64,
) -> Vec<RunSummary> {
    runs.all
        .iter()
        .enumerate()
        .map(|(number, run)| {
            let square = dot(run.position_mm, run.position_mm) / (radius_mm * radius_mm);
            let response = energy.response_at(square, run.position_mm[2] / radius_mm);
            let found = refit.ratio(number).map(|(ratio, sigma)| {
                let (deposited_mev, slope) = energy.deposited(ratio * run.energy_mev / response);
                (deposited_mev / run.energy_mev, slope * sigma / response)
            });
            RunSummary {
                position_mm: run.position_mm,
                energy_mev: run.energy_mev,
                events: run.events,
                pe: learner.pe[number],
                expected_pe: expected_pe[number],
                response: found.map(|found| found.0),
                response_sigma: found.map(|found| found.1),
            }
        })
        .collect()
}
