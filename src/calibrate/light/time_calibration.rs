//! A time calibration pass over the events: times of all events, time distributions, offsets of channels.

use std::collections::HashMap;

use rayon::prelude::*;

use super::constants::towards_mean;
use super::event_time::{FirstHit, fit_event_time_ns};
use super::first_pass::{RESIDUAL_BINS, RESIDUAL_FROM_NS, RESIDUAL_STEP_NS};
use super::runs::Runs;
use super::times::{Corner, FirstHits, nodes};
use crate::detector::Sensors;
use crate::event::LightModel;
use crate::event::prepare::prepare;
use crate::model::EventHits;
use crate::model::light_maps::{FROM_NS, STEP_NS, TimeTable};
use crate::threads::in_pool;

/// The mean time of a channel: half-width of the window, number of iterations, minimum number of hits.
const MIDDLE_NS: f64 = 12.0;
const MIDDLE_STEPS: usize = 12;
const MIN_HITS: f64 = 20.0;
/// Maximum number of steps of a distribution, 2 us.
const MAX_TIMES: usize = 4096;
/// Distributions are smoothed over this many errors of an event's time, within these limits in steps on both sides.
const SMOOTH_SIGMAS: f64 = 8.0;
const REACHES: [usize; 2] = [3, 19];
/// Error of event times from the peaks of the hits.
const ROUGH_SIGMA_NS: f64 = 0.4;
/// Rough offsets with a smaller spread are set to 0.
const MIN_ROUGH_NS: f64 = 1.0;
/// Minimum information for an update of a channel's offset: an error of 1 ns.
const MIN_INFORMATION: f64 = 1.0;

/// The input of a pass.
pub(super) struct PassInput<'a> {
    pub runs: &'a Runs,
    pub sensors: &'a Sensors,
    pub light: &'a LightModel,
    /// Visible over deposited energy by energy class.
    pub visible_ratio: &'a [f64],
    /// Mean time of all events.
    pub mean_event_time_ns: f64,
    /// Whether event times are fitted with the distributions of `light`, or taken as they are.
    pub refine: bool,
    /// Whether `light` already has time distributions.
    pub has_times: bool,
}

/// The sums of a pass.
pub(super) struct TimePass {
    first: Vec<FirstHits>,
    /// By channel: derivative of its first hits' log-likelihood with respect to the offset, and the information.
    offsets: Vec<(f64, f64)>,
    /// By channel: histogram of the first hits' residuals.
    residuals: Vec<[u32; RESIDUAL_BINS]>,
    /// Information of the hits of all events on their times, and the number of events.
    information: (f64, f64),
    /// Whether there were time distributions before this pass.
    has_times: bool,
}

/// One event's contribution.
struct Contribution {
    event_id: u64,
    event_time_ns: f64,
    hits: Vec<HitContribution>,
}

struct HitContribution {
    index: usize,
    kind: usize,
    corners: [Corner; 6],
    time_ns: f64,
    light_pe: f64,
    dark_per_ns: f64,
    end_ns: f64,
    slope: f64,
    information: f64,
}

impl TimePass {
    /// Starts a pass with the exposure of all runs.
    pub(super) fn new(input: &PassInput<'_>) -> Self {
        let light = input.light;
        let times = (((light.tables.window_ns - FROM_NS) / STEP_NS) as usize + 1).min(MAX_TIMES);
        let mut first: Vec<FirstHits> = light
            .tables
            .types
            .iter()
            .map(|kind| FirstHits::new(nodes(kind.map.v.low, kind.map.v.high), times))
            .collect();
        for run in &input.runs.all {
            let (u, _) = light.u(run.position_mm);
            let visible_mev = run.energy_mev * input.visible_ratio[run.class];
            for (index, sensor) in input.sensors.all().iter().enumerate() {
                let expected = light.expected(index, run.position_mm);
                let (flight_ns, _) = light
                    .tables
                    .flight
                    .time_ns(run.position_mm, sensor.position_mm);
                let sums = &mut first[sensor.type_index];
                let corners = sums.corners(u, expected.log_distance);
                sums.expose(
                    &corners,
                    run.events as f64,
                    visible_mev * expected.pe,
                    light.tables.channels[index].dark_per_ns,
                    light.tables.window_ns - input.mean_event_time_ns - flight_ns,
                );
            }
        }
        Self {
            first,
            offsets: vec![(0.0, 0.0); input.sensors.len()],
            residuals: vec![[0; RESIDUAL_BINS]; input.sensors.len()],
            information: (0.0, 0.0),
            has_times: input.has_times,
        }
    }

    /// Adds events and updates their times.
    pub(super) fn add(
        &mut self,
        block: &[EventHits],
        input: &PassInput<'_>,
        event_times_ns: &mut HashMap<u64, f64>,
    ) {
        let first = &self.first;
        let event_times = &*event_times_ns;
        let found: Vec<Option<Contribution>> = in_pool(|| {
            block
                .par_iter()
                .map(|event| contribution(event, input, first, event_times))
                .collect()
        });
        for event in found.into_iter().flatten() {
            event_times_ns.insert(event.event_id, event.event_time_ns);
            self.information.1 += 1.0;
            for hit in &event.hits {
                self.first[hit.kind].hit(
                    &hit.corners,
                    hit.time_ns,
                    hit.light_pe,
                    hit.dark_per_ns,
                    hit.end_ns,
                );
                let sums = &mut self.offsets[hit.index];
                sums.0 += hit.slope;
                sums.1 += hit.information;
                if self.has_times {
                    self.information.0 += hit.information;
                }
                let bin = (hit.time_ns - RESIDUAL_FROM_NS) / RESIDUAL_STEP_NS;
                if bin >= 0.0
                    && let Some(count) = self.residuals[hit.index].get_mut(bin as usize)
                {
                    *count += 1;
                }
            }
        }
    }

    /// Returns the time distributions by PMT type; `None` if a type has no hits.
    ///
    /// Event times that are fitted with the distributions themselves accumulate at bumps and amplify them. Structures finer than
    /// several errors of an event's time are therefore smoothed.
    pub(super) fn tables(&self) -> Option<Vec<TimeTable>> {
        let (information, events) = self.information;
        let sigma_ns = if information > 0.0 {
            (events / information).sqrt()
        } else {
            ROUGH_SIGMA_NS
        };
        let reach = (SMOOTH_SIGMAS * sigma_ns / STEP_NS).round() as usize;
        let reach = reach.clamp(REACHES[0], REACHES[1]);
        in_pool(|| {
            self.first
                .par_iter()
                .map(|first| first.table(reach))
                .collect()
        })
    }

    /// Returns rough time offsets of the channels, from the means of most of their hits.
    pub(super) fn rough_offsets_ns(&self, sensors: &Sensors, n_types: usize) -> Vec<f64> {
        let found: Vec<Option<(f64, f64)>> = self.residuals.iter().map(middle_ns).collect();
        let mut offsets = relative(sensors, n_types, |index| found[index]);
        // First hits of bright channels are early; offsets no larger than that are better found by Newton steps from 0.
        let square = offsets.iter().map(|x| x * x).sum::<f64>() / offsets.len().max(1) as f64;
        if square.sqrt() < MIN_ROUGH_NS {
            offsets.fill(0.0);
        }
        offsets
    }

    /// Returns corrections of the channels' time offsets: a Newton step towards the most likely offset.
    pub(super) fn offsets_ns(&self, sensors: &Sensors, n_types: usize) -> Vec<f64> {
        relative(sensors, n_types, |index| {
            let (slope, information) = self.offsets[index];
            (information > MIN_INFORMATION).then(|| (slope / information, 1.0 / information))
        })
    }
}

/// Returns the mean of most hits and its variance: the mean within a window that is moved until it is centred.
fn middle_ns(residuals: &[u32; RESIDUAL_BINS]) -> Option<(f64, f64)> {
    let time_ns = |bin: usize| RESIDUAL_FROM_NS + RESIDUAL_STEP_NS * (bin as f64 + 0.5);
    let peak = (0..RESIDUAL_BINS).max_by_key(|&bin| {
        let around = bin.saturating_sub(4)..(bin + 5).min(RESIDUAL_BINS);
        (residuals[around].iter().sum::<u32>(), RESIDUAL_BINS - bin)
    })?;
    let mut middle = time_ns(peak);
    let mut variance = f64::INFINITY;
    for _ in 0..MIDDLE_STEPS {
        let (mut n, mut sum, mut squares) = (0.0, 0.0, 0.0);
        for (bin, &count) in residuals.iter().enumerate() {
            let away = time_ns(bin) - middle;
            if away.abs() < MIDDLE_NS {
                n += f64::from(count);
                sum += f64::from(count) * away;
                squares += f64::from(count) * away * away;
            }
        }
        if n < MIN_HITS {
            return None;
        }
        middle += sum / n;
        variance = squares / n / n;
    }
    Some((middle, variance))
}

/// Returns values of channels relative to their type's mean, each shrunk towards it according to its noise.
fn relative(
    sensors: &Sensors,
    n_types: usize,
    of: impl Fn(usize) -> Option<(f64, f64)>,
) -> Vec<f64> {
    let mut result = vec![0.0; sensors.len()];
    for kind in 0..n_types {
        let (mut members, mut values, mut noise) = (Vec::new(), Vec::new(), Vec::new());
        for (index, sensor) in sensors.all().iter().enumerate() {
            if sensor.type_index == kind
                && let Some((value, variance)) = of(index)
            {
                members.push(index);
                values.push(value);
                noise.push(variance);
            }
        }
        let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
        for (index, value) in members.into_iter().zip(towards_mean(&values, &noise)) {
            result[index] = value - mean;
        }
    }
    result
}

fn contribution(
    event: &EventHits,
    input: &PassInput<'_>,
    first: &[FirstHits],
    event_times_ns: &HashMap<u64, f64>,
) -> Option<Contribution> {
    let light = input.light;
    let (run, truth) = input.runs.find(event.event_id)?;
    let run = &input.runs.all[run];
    let rough_ns = *event_times_ns.get(&event.event_id)?;
    let offset_ns = |index: usize| light.tables.channels[index].time_offset_ns;
    let hits = prepare(
        event,
        input.sensors,
        offset_ns,
        light.tables.window_ns,
        |_, _| true,
    );
    let visible_mev = truth.energy_mev * input.visible_ratio[run.class];
    let time_ns = if input.refine {
        fit_event_time_ns(
            light,
            input.sensors,
            &hits,
            run.position_mm,
            visible_mev,
            rough_ns,
        )
    } else {
        rough_ns
    };
    let (u, _) = light.u(run.position_mm);
    let hits = hits
        .channels
        .iter()
        .map(|channel| {
            let sensor = input.sensors.all()[channel.index];
            let expected = light.expected(channel.index, run.position_mm);
            let (flight_ns, _) = light
                .tables
                .flight
                .time_ns(run.position_mm, sensor.position_mm);
            let hit = FirstHit {
                kind: sensor.type_index,
                v: expected.log_distance,
                light_pe: visible_mev * expected.pe,
                dark_per_ns: light.tables.channels[channel.index].dark_per_ns,
                time_ns: channel.first_ns - flight_ns,
            };
            let (_, slope, information) = hit.at(light, u, time_ns);
            HitContribution {
                index: channel.index,
                kind: hit.kind,
                corners: first[hit.kind].corners(u, hit.v),
                time_ns: hit.time_ns - time_ns,
                light_pe: hit.light_pe,
                dark_per_ns: hit.dark_per_ns,
                end_ns: light.tables.window_ns - input.mean_event_time_ns - flight_ns,
                slope,
                information,
            }
        })
        .collect();
    Some(Contribution {
        event_id: event.event_id,
        event_time_ns: time_ns,
        hits,
    })
}
