//! Starting values of a fit: clusters of hits in time, the centroid of their charges, the peak of their times.

use super::prepare::Prepared;
use crate::detector::Sensors;
use crate::model::vector::{Vector, plus_scaled, scaled};

/// Length of the bins of time.
const BIN_NS: f64 = 20.0;
/// Light is significant if two bins together exceed the dark hits by this many standard deviations ...
const SIGMAS: f64 = 5.0;
/// ... and this many hits.
const MIN_HITS: f64 = 3.0;
/// Light of one event reaches the PMTs within about this time (across a detector of 40 m, 200 ns).
const SPREAD_NS: f64 = 220.0;
/// Length of the peak of the times.
const PEAK_NS: f64 = 4.0;
/// Minimum time from the first cluster's peak to a second cluster.
const APART_NS: f64 = 60.0;

/// Returns the times of all hits with their channels' indices, sorted by time.
pub(crate) fn by_time(hits: &Prepared) -> Vec<(f64, usize)> {
    let mut times: Vec<(f64, usize)> = Vec::with_capacity(hits.n_hits());
    for channel in &hits.channels {
        times.push((channel.first_ns, channel.index));
        let later = hits.later.get(channel.later.0..channel.later.1);
        times.extend(
            later
                .unwrap_or_default()
                .iter()
                .map(|&time| (time, channel.index)),
        );
    }
    times.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    times
}

/// Returns the number of dark hits per ns, estimated from the hits themselves: the level that a quarter of the bins do not reach.
pub(crate) fn dark_level_per_ns(times: &[(f64, usize)], window_ns: f64) -> f64 {
    let mut counts = histogram(times.iter().map(|(time, _)| *time), window_ns);
    counts.sort_by(f64::total_cmp);
    counts.get(counts.len() / 4).copied().unwrap_or(0.0) / BIN_NS
}

fn histogram(times: impl Iterator<Item = f64>, window_ns: f64) -> Vec<f64> {
    let bins = ((window_ns / BIN_NS).ceil() as usize).clamp(1, 1 << 20);
    let mut counts = vec![0.0; bins];
    for time in times {
        if let Some(count) = counts.get_mut((time.max(0.0) / BIN_NS) as usize) {
            *count += 1.0;
        }
    }
    counts
}

/// Returns when the first light of an event begins and when most of it has arrived; `None` without significant light.
pub(crate) fn first_light(
    times: &[(f64, usize)],
    dark_per_ns: f64,
    window_ns: f64,
) -> Option<(f64, f64)> {
    let counts = histogram(times.iter().map(|(time, _)| *time), window_ns);
    let dark = 2.0 * BIN_NS * dark_per_ns;
    let enough = dark + SIGMAS * dark.sqrt() + MIN_HITS;
    let pair = |k: usize| counts[k] + counts.get(k + 1).copied().unwrap_or(0.0);
    let start = (0..counts.len()).find(|&k| pair(k) >= enough)?;
    // A cluster may still rise after its start: its peak shows where most of its light is.
    let reach = (SPREAD_NS / BIN_NS) as usize;
    let peak = (start..counts.len().min(start + reach))
        .max_by(|&a, &b| counts[a].total_cmp(&counts[b]).then(b.cmp(&a)))?;
    Some((
        (start as f64 - 1.0).max(0.0) * BIN_NS,
        (peak as f64 + 1.0) * BIN_NS + 0.5 * SPREAD_NS,
    ))
}

/// Returns the charge-weighted mean position of the PMTs with hits in a range of time, and the charge. Dark hits are
/// subtracted: they come from all sides and only shorten the centroid.
pub(crate) fn centroid(
    hits: &Prepared,
    sensors: &Sensors,
    stretch_ns: (f64, f64),
    dark_pe: f64,
) -> Option<(Vector, f64)> {
    let (mut sum, mut charge_pe) = ([0.0; 3], 0.0);
    for channel in &hits.channels {
        if channel.first_ns < stretch_ns.0 || channel.first_ns > stretch_ns.1 {
            continue;
        }
        if let Some(sensor) = sensors.all().get(channel.index) {
            sum = plus_scaled(sum, channel.charge_pe, sensor.position_mm);
            charge_pe += channel.charge_pe;
        }
    }
    let light_pe = (charge_pe - dark_pe).max(0.1 * charge_pe);
    (charge_pe > 0.0).then(|| (scaled(1.0 / light_pe, sum), charge_pe))
}

/// Returns the peak of the hits' times after subtraction of `flight_ns`: the mean of the densest `PEAK_NS`, among hits
/// within the range of time.
pub(crate) fn peak_ns(
    times: &[(f64, usize)],
    flight_ns: impl Fn(usize) -> f64,
    stretch_ns: (f64, f64),
) -> Option<f64> {
    let mut left: Vec<f64> = times
        .iter()
        .filter(|(time, _)| (stretch_ns.0..=stretch_ns.1).contains(time))
        .map(|(time, index)| time - flight_ns(*index))
        .collect();
    left.sort_by(f64::total_cmp);
    let mut best = (0, None);
    let mut end = 0;
    for (begin, &time) in left.iter().enumerate() {
        while left.get(end).is_some_and(|&later| later <= time + PEAK_NS) {
            end += 1;
        }
        if end - begin > best.0 {
            let sum: f64 = left[begin..end].iter().sum();
            best = (end - begin, Some(sum / (end - begin) as f64));
        }
    }
    best.1
}

/// Returns the start of a second cluster of hits, minus `flight_ns`: where hits exceed by far the expected late light of the
/// first cluster, whose peak is at `peak_ns`. `share` gives the share of `light_pe` (all light) that arrives in a range
/// after the peak; there cannot be more hits than photoelectrons.
pub(crate) fn second_cluster(
    times: &[(f64, usize)],
    flight_ns: impl Fn(usize) -> f64,
    peak_ns: f64,
    light_pe: f64,
    dark_per_ns: f64,
    window_ns: f64,
    share: impl Fn(f64, f64) -> f64,
) -> Option<f64> {
    let left: Vec<f64> = times
        .iter()
        .map(|(time, index)| time - flight_ns(*index) - peak_ns)
        .collect();
    let counts = histogram(
        left.iter()
            .filter(|&&t| t >= APART_NS)
            .map(|t| t - APART_NS),
        window_ns,
    );
    for (k, found) in counts.iter().enumerate() {
        let from = APART_NS + BIN_NS * k as f64;
        // The late light depends on position and particle; a second event exceeds it by more than that.
        let light = light_pe.max(0.0) * share(from, from + BIN_NS);
        let least = 1.5 * light + BIN_NS * dark_per_ns;
        if *found > least + 7.0 * least.sqrt() + MIN_HITS {
            // Light from another position begins earlier than it becomes significant.
            return Some(peak_ns + from - BIN_NS);
        }
    }
    None
}
