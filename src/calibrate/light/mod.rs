//! Light maps, time distributions, channel constants and the energy scale, from sources at known positions.
//!
//! The hits are read seven times. `first_pass` sums charges by run and channel, and the hits before the light;
//! `constants`, `light_speed` and `maps` compute dark rates, charge spectra, slownesses, maps and efficiencies from these sums.
//! Five passes (`time_calibration`, `event_time`, `times`) alternately determine the time of each event and the arrival times
//! of its light. The last pass (`scale`) fits the runs like any event. From the truth only positions and energies are used,
//! and the times if they have the same origin as those of the hits: they define time zero. From the detector only the
//! positions and types of the PMTs and the radius of the scintillator are used.

mod calibration_state;
mod constants;
mod event_time;
mod first_pass;
mod light_speed;
mod maps;
mod runs;
mod scale;
mod time_calibration;
mod times;

use std::sync::Arc;

use rayon::prelude::*;

use crate::detector::{Detector, Sensors};
use crate::error::{Error, Result};
use crate::event::{EventMethod, EventReconstructor, LightModel};
use crate::math;
use crate::model::light_maps::{EnergyScale, LightTables};
use crate::model::vector::{dot, norm};
use crate::model::{EventHits, TrueEvent};
use crate::threads::in_pool;
use calibration_state::{CalibrationState, TIME_PASSES};
use first_pass::FirstPass;
use runs::Runs;
use scale::Refit;

/// Maximum share of channels without any hit.
const MAX_SILENT: f64 = 0.5;
/// Number of times that [`light`] reads the events.
pub const PASSES: usize = 2 + TIME_PASSES.len();
/// Reads all events once, in order, and calls its argument with each block.
pub type ReadEvents<'a> = dyn FnMut(&mut dyn FnMut(&[EventHits])) -> Result<()> + 'a;

/// One run of a source.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct RunSummary {
    /// Position.
    pub position_mm: [f64; 3],
    /// Mean energy.
    pub energy_mev: f64,
    /// Events that were used.
    pub events: u64,
    /// Mean number of photoelectrons per event, without dark ones.
    pub pe: f64,
    /// Number of photoelectrons that the light maps predict.
    pub expected_pe: f64,
    /// Fitted energy after the energy scale, divided by the true energy.
    pub response: Option<f64>,
    /// Statistical error of `response`.
    pub response_sigma: Option<f64>,
}

/// The result of [`light`].
#[derive(Clone, Debug)]
pub struct LightResult {
    /// The tables that the event reconstruction needs.
    pub tables: LightTables,
    /// Index of the PMT type of each channel, in the order of the tables.
    pub type_of: Vec<usize>,
    /// The runs.
    pub runs: Vec<RunSummary>,
    /// Events of the input.
    pub events: u64,
    /// Events without truth.
    pub without_truth: u64,
    /// Events without significant light.
    pub without_light: u64,
    /// Events with hits that could not be used.
    pub with_bad_hits: u64,
    /// Events that were fitted in the last pass.
    pub fitted: u64,
    /// Fits that did not converge.
    pub not_converged: u64,
    /// Whether time zero is that of the truth.
    pub time_of_truth: bool,
}

/// Calibrates the light of a detector with `truth` and the hits of sources at known positions.
///
/// # Errors
/// If the detector has no geometry, the input cannot be read, or there are too few events.
pub fn light(
    read_all: &mut ReadEvents<'_>,
    truth: &[TrueEvent],
    detector: &Detector,
) -> Result<LightResult> {
    let sensors = detector.sensors().ok_or_else(|| {
        Error::usage(format!("detector `{}` has no geometry", detector.name))
            .with_hint("light is calibrated for PMTs at known positions")
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
    let first_pass = run_first_pass(
        read_all,
        &mut runs,
        sensors,
        scintillator_mm,
        radius_mm,
        detector,
    )?;
    let mut state = CalibrationState::new(
        &first_pass,
        &runs,
        detector,
        sensors,
        scintillator_mm,
        radius_mm,
    )?;
    let mut event_times_ns = state.first_event_times(&first_pass, &runs, truth);
    for pass_kind in TIME_PASSES {
        state.calibrate_times(read_all, &runs, &mut event_times_ns, pass_kind)?;
        state.anchor(&mut event_times_ns, truth, &runs);
    }
    let model = LightModel::new(state.tables.clone(), Arc::clone(sensors))?;
    let expected_pe: Vec<f64> = runs
        .all
        .iter()
        .map(|run| {
            let visible_mev = run.energy_mev * state.maps.visible_ratio[run.class];
            visible_mev * model.expected_total(run.position_mm).0
        })
        .collect();
    let reconstructor = EventReconstructor::new(detector, Some(model), EventMethod::Full)?;
    let mut refit = Refit::new(runs.all.len());
    read_all(&mut |block| refit.add(block, &runs, &reconstructor))?;
    let energy = refit.scale(&runs, &state.maps.visible_ratio, radius_mm);
    let summaries = summaries(&runs, &state, &expected_pe, &refit, &energy, radius_mm);
    state.tables.energy = energy;
    Ok(LightResult {
        tables: state.tables,
        type_of: sensors.all().iter().map(|one| one.type_index).collect(),
        runs: summaries,
        events: first_pass.events,
        without_truth: first_pass.without_truth,
        without_light: first_pass.without_light,
        with_bad_hits: first_pass.bad_hits,
        fitted: refit.events,
        not_converged: refit.not_converged,
        time_of_truth: state.time_of_truth,
    })
}

fn nearest_mm(sensors: &Sensors) -> f64 {
    sensors
        .all()
        .iter()
        .map(|sensor| norm(sensor.position_mm))
        .fold(f64::INFINITY, f64::min)
}

/// Runs the first pass.
fn run_first_pass(
    read_all: &mut ReadEvents<'_>,
    runs: &mut Runs,
    sensors: &Sensors,
    scintillator_mm: Option<f64>,
    radius_mm: f64,
    detector: &Detector,
) -> Result<FirstPass> {
    let window_ns = detector.readout.window_ns();
    let (_, v) = maps::axes(sensors, radius_mm);
    let bin_of = |distance_mm: f64| {
        let share = (math::ln(distance_mm.max(1.0)) - v.low) / (v.high - v.low);
        let last = first_pass::DISTANCE_BINS as f64 - 1.0;
        (share * first_pass::DISTANCE_BINS as f64).clamp(0.0, last) as usize
    };
    let mut first_pass = FirstPass::new(runs.all.len(), detector.pmt_types.len(), sensors.len());
    read_all(&mut |block| {
        let summaries: Vec<_> = in_pool(|| {
            block
                .par_iter()
                .map(|event| first_pass::summarize(event, runs, sensors, window_ns))
                .collect()
        });
        for summary in summaries {
            first_pass.add(summary, runs, sensors, scintillator_mm, bin_of);
        }
    })?;
    if first_pass.events == first_pass.without_truth {
        return Err(
            Error::usage("none of the events in the hits is in the truth")
                .with_hint("give the truth of these hits"),
        );
    }
    if first_pass.events == first_pass.without_truth + first_pass.without_light {
        return Err(Error::usage(
            "no event has significantly more hits than dark hits",
        ));
    }
    let silent = first_pass
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
    if silent as f64 > MAX_SILENT * sensors.len() as f64 {
        return Err(Error::usage(format!(
            "{silent} of {} channels have no hit in any run",
            sensors.len()
        ))
        .with_hint("check that these are the hits of this detector; if so, take more events"));
    }
    Ok(first_pass)
}

fn summaries(
    runs: &Runs,
    state: &CalibrationState<'_>,
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
                pe: state.pe[number],
                expected_pe: expected_pe[number],
                response: found.map(|found| found.0),
                response_sigma: found.map(|found| found.1),
            }
        })
        .collect()
}
