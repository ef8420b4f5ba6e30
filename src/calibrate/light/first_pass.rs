//! The first pass over the events: charges by run and channel, dark hits, and the times of the light.

use std::collections::HashMap;

use super::runs::Runs;
use crate::detector::Sensors;
use crate::event::prepare::{self, Prepared};
use crate::event::{light_path, seed};
use crate::math;
use crate::model::light_maps::{CHARGE_BINS, STEP_PE};
use crate::model::vector::{Vector, minus, norm, plus_scaled};
use crate::model::{EventHits, Flags};

/// Slowness for the first pass: a refractive index of 1.5.
pub(super) const ROUGH_NS_PER_MM: f64 = 1.5 / 299.792_458;
/// Hits earlier than this before the first light are dark.
const BEFORE_LIGHT_NS: f64 = 40.0;
/// Number and width of the bins of time between successive hits of a channel.
const GAP_BINS: usize = 400;
const GAP_NS: f64 = 0.25;
/// Maximum share of lit channels of a dim event, whose hits are mostly single photoelectrons.
const FEW_LIT: f64 = 0.2;
/// Number of distance bins for the fit of the light speed.
pub(super) const DISTANCE_BINS: usize = 24;
/// Bins of time residuals, after subtraction of peak and time of flight: from -30 ns on, 0.5 ns each.
pub(super) const RESIDUAL_BINS: usize = 180;
pub(super) const RESIDUAL_FROM_NS: f64 = -30.0;
pub(super) const RESIDUAL_STEP_NS: f64 = 0.5;

/// Times of one run in one distance bin.
#[derive(Clone, Debug)]
pub(super) struct DistanceBin {
    pub residuals: Vec<u32>,
    pub hits: f64,
    pub inner_mm: f64,
    pub outer_mm: f64,
}

/// Sums over all events.
pub(super) struct FirstPass {
    /// Charge by run and channel.
    pub charge_pe: Vec<Vec<f64>>,
    /// Hits before the light by channel.
    pub dark_hits: Vec<u64>,
    /// Total time before the light.
    pub dark_ns: f64,
    /// Charges of these hits by PMT type.
    pub dark_charges: Vec<Vec<f64>>,
    /// Charges of channels with a single hit in dim events, by PMT type.
    pub dim_charges: Vec<Vec<f64>>,
    /// Sum over these hits of the mean number of photoelectrons per channel in their event.
    pub dim_mean: f64,
    /// Number of these hits.
    pub dim_hits: f64,
    /// Histogram of the time between successive hits of a channel.
    pub gaps: Vec<u64>,
    /// Times by run and distance bin.
    pub time_bins: Vec<Vec<DistanceBin>>,
    /// Sum and number of the centroids of each run.
    pub centroids: Vec<(Vector, u64)>,
    /// Time of the peak of each event's light, with a rough time of flight subtracted.
    pub peaks_ns: HashMap<u64, f64>,
    pub events: u64,
    /// Events without truth.
    pub without_truth: u64,
    /// Events without significant light.
    pub without_light: u64,
    /// Events with hits that could not be used.
    pub bad_hits: u64,
}

/// One event's contribution to the first pass.
pub(super) struct EventSummary {
    event_id: u64,
    run: usize,
    energy_mev: f64,
    hits: Prepared,
    /// Sensor index and charge of the dark hits.
    dark: Vec<(usize, f32)>,
    dark_ns: f64,
    peak_ns: f64,
    stretch_ns: (f64, f64),
    centroid: Vector,
}

/// The reason why an event is not used.
pub(super) enum Unused {
    NoTruth,
    NoLight,
}

/// Summarises one event.
pub(super) fn summarize(
    event: &EventHits,
    runs: &Runs,
    sensors: &Sensors,
    window_ns: f64,
) -> Result<EventSummary, Unused> {
    let (run, truth) = runs.find(event.event_id).ok_or(Unused::NoTruth)?;
    let position = runs.all[run].position_mm;
    let hits = prepare::prepare(event, sensors, |_| 0.0, window_ns, |_, _| true);
    let times = seed::by_time(&hits);
    let dark_per_ns = seed::dark_level_per_ns(&times, window_ns);
    let stretch_ns = seed::first_light(&times, dark_per_ns, window_ns).ok_or(Unused::NoLight)?;
    let dark_pe = dark_per_ns * (stretch_ns.1 - stretch_ns.0);
    let (centroid, _) =
        seed::centroid(&hits, sensors, stretch_ns, dark_pe).ok_or(Unused::NoLight)?;
    let flight_ns = |index: usize| {
        sensors.all().get(index).map_or(0.0, |sensor| {
            ROUGH_NS_PER_MM * norm(minus(sensor.position_mm, position))
        })
    };
    let peak_ns = seed::peak_ns(&times, flight_ns, stretch_ns).ok_or(Unused::NoLight)?;
    let start_ns = event.window_start_ns(window_ns);
    let dark_end_ns = stretch_ns.0 - BEFORE_LIGHT_NS;
    // A start that was found from the hits says nothing about the time before the first of them: the count begins after it.
    let after_ns = if start_ns == 0.0 {
        None
    } else {
        times.iter().map(|hit| hit.0).reduce(f64::min)
    };
    let dark_ns = (dark_end_ns - after_ns.unwrap_or(0.0)).max(0.0);
    let is_dark = |time_ns: f64| {
        after_ns.is_none_or(|first_ns| time_ns > first_ns) && (0.0..dark_end_ns).contains(&time_ns)
    };
    let dark = event
        .hits
        .iter()
        .filter(|hit| is_dark(hit.time_ns - start_ns) && hit.charge_pe > 0.0)
        .filter_map(|hit| Some((sensors.index_of(hit.channel_id)?, hit.charge_pe)))
        .collect();
    Ok(EventSummary {
        event_id: event.event_id,
        run,
        energy_mev: truth.energy_mev,
        hits,
        dark,
        dark_ns,
        peak_ns,
        stretch_ns,
        centroid,
    })
}

impl FirstPass {
    pub(super) fn new(n_runs: usize, n_types: usize, n_channels: usize) -> Self {
        let bin = DistanceBin {
            residuals: vec![0; RESIDUAL_BINS],
            hits: 0.0,
            inner_mm: 0.0,
            outer_mm: 0.0,
        };
        Self {
            charge_pe: vec![vec![0.0; n_channels]; n_runs],
            dark_hits: vec![0; n_channels],
            dark_ns: 0.0,
            dark_charges: vec![vec![0.0; CHARGE_BINS]; n_types],
            dim_charges: vec![vec![0.0; CHARGE_BINS]; n_types],
            dim_mean: 0.0,
            dim_hits: 0.0,
            gaps: vec![0; GAP_BINS],
            time_bins: vec![vec![bin; DISTANCE_BINS]; n_runs],
            centroids: vec![([0.0; 3], 0); n_runs],
            peaks_ns: HashMap::new(),
            events: 0,
            without_truth: 0,
            without_light: 0,
            bad_hits: 0,
        }
    }

    /// Adds an event; `bin_of` gives the distance bin.
    pub(super) fn add(
        &mut self,
        summary: Result<EventSummary, Unused>,
        runs: &mut Runs,
        sensors: &Sensors,
        radius_mm: Option<f64>,
        bin_of: impl Fn(f64) -> usize,
    ) {
        self.events += 1;
        let summary = match summary {
            Ok(summary) => summary,
            Err(Unused::NoTruth) => {
                self.without_truth += 1;
                return;
            }
            Err(Unused::NoLight) => {
                self.without_light += 1;
                return;
            }
        };
        self.bad_hits += u64::from(summary.hits.flags != Flags::NONE);
        runs.count(summary.run, summary.energy_mev);
        self.peaks_ns.insert(summary.event_id, summary.peak_ns);
        let sums = &mut self.centroids[summary.run];
        *sums = (plus_scaled(sums.0, 1.0, summary.centroid), sums.1 + 1);
        self.dark_ns += summary.dark_ns;
        for &(index, charge_pe) in &summary.dark {
            self.dark_hits[index] += 1;
            fill(
                &mut self.dark_charges[sensors.all()[index].type_index],
                f64::from(charge_pe),
            );
        }
        let n_channels = sensors.len() as f64;
        let lit = summary.hits.channels.len() as f64 / n_channels;
        let position = runs.all[summary.run].position_mm;
        for channel in &summary.hits.channels {
            let sensor = sensors.all()[channel.index];
            self.charge_pe[summary.run][channel.index] += channel.charge_pe;
            if lit < FEW_LIT
                && channel.later.0 == channel.later.1
                && channel.first_ns >= summary.stretch_ns.0
            {
                fill(&mut self.dim_charges[sensor.type_index], channel.charge_pe);
                self.dim_mean -= math::ln(1.0 - lit);
                self.dim_hits += 1.0;
            }
            let mut last_ns = channel.first_ns;
            for &time_ns in summary
                .hits
                .later
                .get(channel.later.0..channel.later.1)
                .unwrap_or_default()
            {
                if let Some(gap) = self.gaps.get_mut(((time_ns - last_ns) / GAP_NS) as usize) {
                    *gap += 1;
                }
                last_ns = time_ns;
            }
            let whole_mm = norm(minus(sensor.position_mm, position));
            let residual_ns = channel.first_ns - summary.peak_ns - ROUGH_NS_PER_MM * whole_mm;
            if residual_ns < RESIDUAL_FROM_NS {
                continue;
            }
            let bin = &mut self.time_bins[summary.run][bin_of(whole_mm)];
            if let Some(count) = bin
                .residuals
                .get_mut(((residual_ns - RESIDUAL_FROM_NS) / RESIDUAL_STEP_NS) as usize)
            {
                let path = light_path(radius_mm, position, sensor.position_mm);
                *count += 1;
                bin.hits += 1.0;
                bin.inner_mm += path.inner_mm;
                bin.outer_mm += path.outer_mm;
            }
        }
    }

    /// Returns the minimum time between two hits: where the histogram of gaps reaches half of its plateau.
    pub(super) fn separation_ns(&self) -> f64 {
        let pooled: Vec<f64> = self
            .gaps
            .windows(4)
            .map(|four| four.iter().sum::<u64>() as f64)
            .collect();
        let most = pooled.iter().copied().fold(0.0, f64::max);
        if most < 40.0 {
            return 0.0;
        }
        let first = pooled.iter().position(|&count| count >= 0.5 * most);
        first.map_or(0.0, |bin| (bin as f64 + 2.0) * GAP_NS)
    }
}

fn fill(spectrum: &mut [f64], charge_pe: f64) {
    if let Some(count) = spectrum.get_mut((charge_pe / STEP_PE).round() as usize) {
        *count += 1.0;
    }
}
