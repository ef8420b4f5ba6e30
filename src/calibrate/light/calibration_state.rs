//! The state of the light calibration: from the sums of the first pass through the time calibration passes.

use std::collections::HashMap;
use std::sync::Arc;

use super::first_pass::FirstPass;
use super::maps::{MapFit, Maps};
use super::runs::Runs;
use super::time_calibration::{PassInput, TimePass};
use super::{ReadEvents, constants, light_speed, times};
use crate::detector::{Detector, Sensors};
use crate::error::{Error, Result};
use crate::event::LightModel;
use crate::model::TrueEvent;
use crate::model::light_maps::{ChannelLight, EnergyScale, LightTables, TimeTable, TypeLight};
use crate::model::vector::{dot, norm};

/// The kind of a time calibration pass.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum TimePassKind {
    /// Uses the events' times from the peaks of their hits.
    Rough,
    /// Refines these times and the channels' offsets with the current distributions.
    Refine,
    /// Computes the final distributions with times and offsets unchanged.
    Finalize,
}

/// The time calibration passes.
pub(super) const TIME_PASSES: [TimePassKind; 5] = [
    TimePassKind::Rough,
    TimePassKind::Refine,
    TimePassKind::Refine,
    TimePassKind::Refine,
    TimePassKind::Finalize,
];
/// The times of truth and hits have the same origin if their differences have at most this spread and this mean.
const SAME_TIME_SPREAD_NS: f64 = 5.0;
const SAME_TIME_NS: f64 = 40.0;

/// The tables during the calibration.
pub(super) struct CalibrationState<'a> {
    pub tables: LightTables,
    pub maps: Maps,
    sensors: &'a Arc<Sensors>,
    mean_event_time_ns: f64,
    run_delay_ns: Vec<f64>,
    pub time_of_truth: bool,
    /// Mean number of photoelectrons per event by run, without dark ones.
    pub pe: Vec<f64>,
}

impl<'a> CalibrationState<'a> {
    /// Computes everything that follows from the first pass.
    pub(super) fn new(
        first_pass: &FirstPass,
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
        let charges = constants::charges(first_pass, &names)?;
        let dark_per_ns = constants::dark_per_ns(first_pass, sensors, names.len());
        let (flight, run_delay_ns) =
            light_speed::fit_light_speed(first_pass, runs, scintillator_mm);
        let mean_pe: Vec<f64> = sensors
            .all()
            .iter()
            .map(|sensor| charges[sensor.type_index].mean_pe())
            .collect();
        let pe: Vec<Vec<f64>> = first_pass
            .charge_pe
            .iter()
            .map(|run| run.iter().zip(&mean_pe).map(|(q, mean)| q / mean).collect())
            .collect();
        let dark_pe: Vec<f64> = dark_per_ns.iter().map(|rate| rate * window_ns).collect();
        let maps = MapFit {
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
        // A flat distribution until the first time calibration pass.
        let (u, v) = times::nodes(maps.surfaces[0].v.low, maps.surfaces[0].v.high);
        let flat = TimeTable::new(u, v, &vec![vec![1.0; 4]; u.count * v.count])
            .ok_or_else(|| Error::internal("a flat table of times"))?;
        let types = names
            .iter()
            .zip(&maps.surfaces)
            .zip(charges)
            .map(|((name, map), charges)| TypeLight {
                name: (*name).to_owned(),
                map: map.clone(),
                times: flat.clone(),
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
                separation_ns: first_pass.separation_ns(),
                seed: centroid_factors(first_pass, runs, radius_mm),
                types,
                channels,
                energy: EnergyScale::default(),
            },
            maps,
            sensors,
            mean_event_time_ns: 0.0,
            run_delay_ns,
            time_of_truth: false,
            pe: light_pe,
        })
    }

    /// Returns the times of the events from the peaks of their hits, corrected for the delay of their run.
    pub(super) fn first_event_times(
        &mut self,
        first_pass: &FirstPass,
        runs: &Runs,
        truth: &[TrueEvent],
    ) -> HashMap<u64, f64> {
        let mut event_times_ns: HashMap<u64, f64> = first_pass
            .peaks_ns
            .iter()
            .filter_map(|(&event, &peak_ns)| {
                let (run, _) = runs.find(event)?;
                Some((event, peak_ns + self.run_delay_ns[run]))
            })
            .collect();
        self.anchor(&mut event_times_ns, truth, runs);
        event_times_ns
    }

    /// Shifts the times of each run to the mean true time, if truth and hits have the same origin of time.
    pub(super) fn anchor(
        &mut self,
        event_times_ns: &mut HashMap<u64, f64>,
        truth: &[TrueEvent],
        runs: &Runs,
    ) {
        let differences: Vec<(usize, f64)> = truth
            .iter()
            .filter_map(|event| {
                let (run, _) = runs.find(event.event_id)?;
                Some((run, event.time_ns - event_times_ns.get(&event.event_id)?))
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
            for (event, event_time_ns) in event_times_ns.iter_mut() {
                if let Some((run, _)) = runs.find(*event) {
                    *event_time_ns += of_run[run].0 / of_run[run].1;
                }
            }
        }
        // In the order of the events, so that the sum is reproducible.
        let (mut sum, mut count) = (0.0, 0.0);
        for start in truth
            .iter()
            .filter_map(|event| event_times_ns.get(&event.event_id))
        {
            sum += start;
            count += 1.0;
        }
        self.mean_event_time_ns = if count > 0.0 { sum / count } else { 0.0 };
    }

    /// Runs one time calibration pass.
    pub(super) fn calibrate_times(
        &mut self,
        read_all: &mut ReadEvents<'_>,
        runs: &Runs,
        event_times_ns: &mut HashMap<u64, f64>,
        pass_kind: TimePassKind,
    ) -> Result<()> {
        let model = LightModel::new(self.tables.clone(), Arc::clone(self.sensors))?;
        let input = PassInput {
            runs,
            sensors: self.sensors,
            light: &model,
            visible_ratio: &self.maps.visible_ratio,
            mean_event_time_ns: self.mean_event_time_ns,
            refine: pass_kind == TimePassKind::Refine,
            has_times: pass_kind != TimePassKind::Rough,
        };
        let mut pass = TimePass::new(&input);
        read_all(&mut |block| pass.add(block, &input, event_times_ns))?;
        let tables = pass.tables().ok_or_else(|| {
            Error::usage("a PMT type has no hits for its time distribution")
                .with_hint("take more events")
        })?;
        for (kind, times) in self.tables.types.iter_mut().zip(tables) {
            kind.times = times;
        }
        let n_types = self.tables.types.len();
        let offsets = match pass_kind {
            TimePassKind::Rough => pass.rough_offsets_ns(self.sensors, n_types),
            TimePassKind::Refine => pass.offsets_ns(self.sensors, n_types),
            // The distributions belong to the current offsets.
            TimePassKind::Finalize => return Ok(()),
        };
        for (channel, offset) in self.tables.channels.iter_mut().zip(offsets) {
            channel.time_offset_ns += offset;
        }
        Ok(())
    }
}

/// Returns `seed` of [`LightTables`]: least squares over the runs' mean centroids.
fn centroid_factors(first_pass: &FirstPass, runs: &Runs, radius_mm: f64) -> [f64; 2] {
    let (mut matrix, mut right) = ([[0.0; 2]; 2], [0.0; 2]);
    for (run, (sum, n)) in runs.all.iter().zip(&first_pass.centroids) {
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
    let plausible = factors.iter().all(|x| x.is_finite()) && (0.5..4.0).contains(&factors[0]);
    if plausible && determinant > 1e-9 {
        factors
    } else {
        [1.3, 0.0]
    }
}
