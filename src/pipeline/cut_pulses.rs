//! Pulses that an amplifier cuts below the rails of the digitiser, so softly or so low that a single waveform does not show it.
//!
//! Light of different brightness makes pulses of different heights. If the pulses of a channel are cut, many of its waveforms
//! end at one height, none is higher, few are a little lower, and their areas still differ. The first waveforms of an input
//! show that; then every waveform of the input that reaches the height of its channel is flagged as saturated.

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::extract::Extractor;
use crate::extract::pulse_height::{PulseHeight, area_of_top};
use crate::extract::workspace::Workspace;
use crate::io::{BatchLimit, Source};
use crate::model::{Batch, Extracted, Flags, SamplesRef};
use crate::threads::in_pool;

/// Waveforms of an input that are looked at: at least so many, at most so many, and in between this share.
const MIN_LOOKED_AT: u64 = 4096;
const MAX_LOOKED_AT: u64 = 16_384;
const SHARE_LOOKED_AT: u64 = 256;
/// Least number of waveforms per task of the thread pool.
const WAVEFORMS_PER_TASK: usize = 128;

/// Height of a waveform with light, in standard deviations of the noise.
const LIGHT_SIGMA: f32 = 8.0;
/// Least height of a cut, in standard deviations of the noise, and in single photoelectrons.
const MIN_CUT_SIGMA: f32 = 12.0;
const MIN_CUT_PE: f32 = 1.4;
/// Range of heights of waveforms that are cut at one height, in standard deviations of the noise, and as shares of the height: an amplifier
/// that compresses before it cuts has the wider one.
const CUT_RANGE_SIGMA: f32 = 6.0;
const CUT_RANGE_SHARES: [f32; 2] = [0.03, 0.08];
/// The range below it that is compared, in units of that range.
const RANGE_BELOW: f32 = 1.5;
/// Least number of waveforms that end at one height, and their least share of those with light. Several photoelectrons with little spread
/// of the charge never are so many without some that are higher.
const MIN_CUT_WAVEFORMS: usize = 20;
const MIN_CUT_SHARE: f64 = 0.02;
/// Largest share of higher waveforms.
const MAX_HIGHER_SHARE: f64 = 0.005;
/// Least ratio of the densities of heights in the range and below it.
const MIN_DENSITY_RATIO: f64 = 4.0;
/// Least area over height, in units of that of the template: cut pulses are too wide for their height.
const MIN_WIDTH_RATIO: f64 = 1.1;
/// Least relative spread of the areas: as such, in units of that of the heights, and of that from noise. Whole pulses of one height, such as
/// test pulses, have one area, and if their height varies, their area does too.
const MIN_AREA_SPREAD: f64 = 0.03;
const MIN_AREA_TO_HEIGHT_SPREAD: f64 = 2.0;
const MIN_AREA_SPREAD_SIGMA: f64 = 3.0;

/// The height at which the pulses of a channel are cut.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CutPulses {
    /// The channel.
    pub channel_id: u32,
    /// The height above the baseline at which its waveforms end.
    pub height_adc: f32,
    /// The height from which on waveforms are flagged.
    pub from_adc: f32,
    /// Waveforms that are flagged because of it.
    pub flagged: u64,
}

/// The channels of an input whose pulses are cut.
#[derive(Clone, Debug, Default)]
pub struct CutLevels {
    /// By channel.
    levels: HashMap<u32, CutPulses>,
    sign: f32,
}

impl CutLevels {
    /// Learns the levels from the first waveforms of `source`, on the current rayon pool. What cannot be read is left to the pass itself.
    pub(super) fn learn(source: &mut dyn Source, cpu: &Extractor) -> Self {
        let rows = source.info().n_waveforms.unwrap_or(0);
        let wanted = (rows / SHARE_LOOKED_AT).clamp(MIN_LOOKED_AT, MAX_LOOKED_AT) as usize;
        let mut pulses: BTreeMap<u32, Vec<PulseHeight>> = BTreeMap::new();
        let mut looked_at = 0;
        while looked_at < wanted
            && let Ok(Some(batch)) = source.next_batch(BatchLimit::default())
        {
            let count = batch.len().min(wanted - looked_at);
            let heights: Vec<Option<PulseHeight>> = in_pool(|| {
                (0..count)
                    .into_par_iter()
                    .with_min_len(WAVEFORMS_PER_TASK)
                    .map_init(Workspace::default, |work, index| {
                        cpu.pulse_height(batch.get(index)?, work)
                    })
                    .collect()
            });
            for (&channel_id, pulse) in batch.channel_id().iter().zip(heights) {
                pulses.entry(channel_id).or_default().extend(pulse);
            }
            looked_at += batch.len();
        }
        let levels = pulses.into_iter().filter_map(|(channel_id, pulses)| {
            Some((channel_id, find_cut(cpu, channel_id, pulses)?))
        });
        Self {
            levels: levels.collect(),
            sign: cpu.readout().polarity.sign(),
        }
    }

    /// Flags the waveforms of `batch` that reach the level of their channel, and their hits.
    pub(super) fn mark(&mut self, batch: &Batch, extracted: &mut Extracted) {
        if self.levels.is_empty() {
            return;
        }
        let flag = if self.sign > 0.0 {
            Flags::SATURATED_HIGH
        } else {
            Flags::SATURATED_LOW
        };
        let known =
            Flags::SATURATED | Flags::GLITCH | Flags::PADDED | Flags::NON_FINITE | Flags::FLAT;
        let mut hits = extracted.hits.iter_mut();
        for (waveform, summary) in batch.iter().zip(&mut extracted.summaries) {
            let mine = hits.by_ref().take(summary.n_hits as usize);
            let level = self.levels.get_mut(&waveform.channel_id);
            let reached = level.filter(|level| {
                !summary.flags.intersects(known)
                    && height_adc(waveform.samples, summary.baseline_adc, self.sign)
                        >= level.from_adc
            });
            if let Some(level) = reached {
                level.flagged += 1;
                summary.flags |= flag;
                mine.for_each(|hit| hit.flags |= flag);
            } else {
                mine.for_each(drop);
            }
        }
    }

    /// Returns the channels, in order, with their numbers of flagged waveforms.
    pub(super) fn into_pulses(self) -> Vec<CutPulses> {
        let mut pulses: Vec<CutPulses> = self.levels.into_values().collect();
        pulses.sort_unstable_by_key(|level| level.channel_id);
        pulses
    }
}

/// Returns the height of the highest sample of a waveform above its baseline.
fn height_adc(samples: SamplesRef<'_>, baseline_adc: f32, sign: f32) -> f32 {
    let highest = match samples {
        SamplesRef::U16(samples) if sign > 0.0 => {
            f32::from(samples.iter().copied().max().unwrap_or(0))
        }
        SamplesRef::U16(samples) => -f32::from(samples.iter().copied().min().unwrap_or(0)),
        SamplesRef::F32(samples) => samples
            .iter()
            .map(|&sample| sign * sample)
            .fold(f32::NEG_INFINITY, f32::max),
    };
    highest - sign * baseline_adc
}

/// Returns the height at which the pulses of a channel are cut, if they are.
fn find_cut(cpu: &Extractor, channel_id: u32, mut pulses: Vec<PulseHeight>) -> Option<CutPulses> {
    let row = pulses.first()?.row;
    let channel = cpu.channel(row);
    let noise_adc = cpu.calibrated_noise_adc(channel);
    let template = cpu.calibration().rows()[row].template_adc.iter().copied();
    let template_width = area_of_top(template, channel.peak_adc).0 / channel.peak_adc;
    pulses.retain(|pulse| pulse.height_adc > LIGHT_SIGMA * noise_adc);
    pulses.sort_unstable_by(|a, b| b.height_adc.total_cmp(&a.height_adc));
    let least_adc = (MIN_CUT_SIGMA * noise_adc).max(MIN_CUT_PE * channel.peak_adc);
    let most_higher = (pulses.len() as f64 * MAX_HIGHER_SHARE) as usize;
    for share in CUT_RANGE_SHARES {
        for higher in 0..=most_higher {
            let Some(top) = pulses.get(higher).filter(|top| top.height_adc >= least_adc) else {
                break;
            };
            let range_adc = (CUT_RANGE_SIGMA * noise_adc).max(share * top.height_adc);
            let cut = pulses_at_edge(&pulses, higher, range_adc);
            if are_cut(cut, f64::from(template_width)) {
                let height_adc = cut[cut.len() / 2].height_adc;
                return Some(CutPulses {
                    channel_id,
                    height_adc,
                    from_adc: height_adc - 0.5 * range_adc,
                    flagged: 0,
                });
            }
        }
    }
    None
}

/// Returns the pulses from `higher` on within `range_adc`, if they are many and few are a little lower; else none. `pulses` descend.
fn pulses_at_edge(pulses: &[PulseHeight], higher: usize, range_adc: f32) -> &[PulseHeight] {
    let Some(top) = pulses.get(higher) else {
        return &[];
    };
    let count_to = |ranges: f32| {
        let least_adc = top.height_adc - ranges * range_adc;
        pulses.partition_point(|pulse| pulse.height_adc >= least_adc)
    };
    let end = count_to(1.0);
    let n_cut = (end - higher) as f64;
    let n_below = (count_to(1.0 + RANGE_BELOW) - end) as f64;
    let is_edge = end - higher >= MIN_CUT_WAVEFORMS
        && n_cut >= MIN_CUT_SHARE * pulses.len() as f64
        && higher as f64 <= MAX_HIGHER_SHARE * n_cut
        && n_cut * f64::from(RANGE_BELOW) >= MIN_DENSITY_RATIO * n_below;
    if is_edge { &pulses[higher..end] } else { &[] }
}

/// True if pulses of about the same height are too wide for it, and have different areas.
fn are_cut(pulses: &[PulseHeight], template_width: f64) -> bool {
    if pulses.is_empty() {
        return false;
    }
    let moments = |of: fn(&PulseHeight) -> f32| {
        let n = pulses.len() as f64;
        let values = pulses.iter().map(|pulse| f64::from(of(pulse)));
        let mean = values.clone().sum::<f64>() / n;
        let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>() / n;
        (mean, variance.sqrt() / mean)
    };
    let (area, area_spread) = moments(|pulse| pulse.area_adc_samples);
    let (height, height_spread) = moments(|pulse| pulse.height_adc);
    let (noise, _) = moments(|pulse| pulse.area_noise_adc_samples);
    area > MIN_WIDTH_RATIO * template_width * height
        && area_spread > MIN_AREA_SPREAD
        && area_spread > MIN_AREA_TO_HEIGHT_SPREAD * height_spread
        && area_spread > MIN_AREA_SPREAD_SIGMA * noise / area
}
