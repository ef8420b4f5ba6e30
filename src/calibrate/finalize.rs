//! Calibration rows from the sums of all channels, and the fallback for channels with too few pulses.

use std::collections::{BTreeMap, HashMap};

use super::channel::ChannelSums;
use super::first_pass::FirstPass;
use super::parameters::{RunKind, SpeParameters};
use super::result::{ChannelSpe, SpeResult};
use crate::error::{Error, Hint, Result};
use crate::model::{ChannelCalibration, Flags};

/// Makes the calibration rows: a channel's own template if it has enough pulses, else a fallback.
pub(super) fn finalize(
    run: RunKind,
    first_passes: &BTreeMap<u32, FirstPass>,
    channels: &BTreeMap<u32, ChannelSums>,
    parameters: &SpeParameters,
    type_of: &dyn Fn(u32) -> Option<String>,
) -> Result<SpeResult> {
    let own: BTreeMap<u32, OwnTemplate> = channels
        .iter()
        .filter_map(|(&id, channel)| Some((id, OwnTemplate::new(run, channel, parameters)?)))
        .collect();
    let rows: Vec<&ChannelCalibration> = own.values().map(|own| &own.row).collect();
    let default_row = mean_row(&rows).ok_or_else(|| {
        let n_waveforms: u64 = first_passes.values().map(|first_pass| first_pass.n_waveforms).sum();
        let most = channels.values().map(|channel| channel.mean.n_pulses).max();
        Error::usage(format!(
            "no channel has a single-photoelectron template: {} channels, {n_waveforms} waveforms, at most {} single pulses in a channel where {} are needed",
            first_passes.len(),
            most.unwrap_or(0),
            parameters.min_pulses
        ))
        .with_hint(Hint::SinglePulses)
    })?;
    let mut by_type: HashMap<String, Vec<&ChannelCalibration>> = HashMap::new();
    for (&id, own) in &own {
        if let Some(name) = type_of(id) {
            by_type.entry(name).or_default().push(&own.row);
        }
    }
    let by_type: HashMap<String, ChannelCalibration> = by_type
        .into_iter()
        .filter_map(|(name, rows)| Some((name, mean_row(&rows)?)))
        .collect();
    let channels = first_passes
        .iter()
        .map(|(&id, first_pass)| {
            let of_type = type_of(id).and_then(|name| by_type.get(&name));
            let fallback = of_type.unwrap_or(&default_row);
            describe(
                id,
                first_pass,
                channels.get(&id),
                own.get(&id),
                fallback,
                parameters,
            )
        })
        .collect();
    Ok(SpeResult {
        run,
        channels,
        default_row: ChannelCalibration {
            flags: Flags::TEMPLATE_FALLBACK,
            ..default_row
        },
    })
}

/// Returns the mean of several rows; templates are zero after their end. `None` without rows.
fn mean_row(rows: &[&ChannelCalibration]) -> Option<ChannelCalibration> {
    let first = rows.first()?;
    let n = rows.len() as f32;
    let longest = rows.iter().map(|row| row.template_adc.len()).max()?;
    let mean =
        |value: fn(&ChannelCalibration) -> f32| rows.iter().map(|row| value(row)).sum::<f32>() / n;
    let template_adc = (0..longest)
        .map(|index| {
            let at = |row: &&ChannelCalibration| row.template_adc.get(index).copied();
            rows.iter().filter_map(at).sum::<f32>() / n
        })
        .collect();
    Some(ChannelCalibration {
        template_adc,
        noise_adc: mean(|row| row.noise_adc),
        time_offset_ns: 0.0,
        dark_rate_hz: mean(|row| row.dark_rate_hz),
        charge_sigma_pe: mean(|row| row.charge_sigma_pe),
        time_sigma_ns: mean(|row| row.time_sigma_ns),
        sampling_ns: first.sampling_ns,
        flags: Flags::NONE,
    })
}

/// A channel with its own template.
struct OwnTemplate {
    row: ChannelCalibration,
    fwhm_ns: f64,
    light_time_ns: Option<f64>,
}

impl OwnTemplate {
    fn new(run: RunKind, channel: &ChannelSums, parameters: &SpeParameters) -> Option<Self> {
        let template = channel.template(parameters.min_pulses)?;
        let fit = channel.fit?;
        let sampling_ns = parameters.sampling_ns;
        let (time, spread) = channel.times();
        let is_led = run == RunKind::Led;
        let light_time_ns = is_led.then_some((time + template.reference) * sampling_ns);
        let offset_ns = light_time_ns.zip(parameters.light_ns);
        let row = ChannelCalibration {
            template_adc: template.samples.iter().map(|&value| value as f32).collect(),
            noise_adc: channel.noise_adc as f32,
            time_offset_ns: offset_ns.map_or(0.0, |(found, expected)| (found - expected) as f32),
            dark_rate_hz: channel.dark_rate_hz(sampling_ns) as f32,
            charge_sigma_pe: (fit.gain_sigma / fit.gain) as f32,
            time_sigma_ns: if is_led {
                (spread * sampling_ns) as f32
            } else {
                0.0
            },
            sampling_ns: sampling_ns as f32,
            flags: Flags::NONE,
        };
        Some(Self {
            row,
            fwhm_ns: template.fwhm * sampling_ns,
            light_time_ns,
        })
    }
}

/// Returns the result for one channel.
fn describe(
    channel_id: u32,
    first_pass: &FirstPass,
    channel: Option<&ChannelSums>,
    own: Option<&OwnTemplate>,
    fallback: &ChannelCalibration,
    parameters: &SpeParameters,
) -> ChannelSpe {
    let level = first_pass.level();
    let fit = channel.and_then(|channel| channel.fit);
    let mut row = own.map_or_else(
        || ChannelCalibration {
            flags: Flags::TEMPLATE_FALLBACK,
            ..fallback.clone()
        },
        |own| own.row.clone(),
    );
    if fit.is_none() {
        row.flags |= Flags::SPECTRUM_FIT_FAILED;
    }
    match (channel, level) {
        (Some(channel), _) => {
            row.noise_adc = channel.noise_adc as f32;
            row.dark_rate_hz = channel.dark_rate_hz(parameters.sampling_ns) as f32;
        }
        (None, Some((_, noise_adc))) => row.noise_adc = noise_adc as f32,
        (None, None) => row.flags |= Flags::NOISE_UNKNOWN,
    }
    let sign = f64::from(parameters.polarity.sign());
    ChannelSpe {
        channel_id,
        n_waveforms: first_pass.n_waveforms,
        n_skipped: first_pass.n_skipped,
        baseline_adc: level.map_or(0.0, |(level, _)| level * sign),
        window: channel.map(|channel| (channel.window.from, channel.window.to)),
        spectrum: channel.map(|channel| channel.spectrum.clone()),
        fit,
        n_pulses: channel.map_or(0, |channel| channel.mean.n_pulses),
        peak_adc: row
            .template_adc
            .iter()
            .copied()
            .fold(0.0_f32, f32::max)
            .into(),
        fwhm_ns: own.map_or(0.0, |own| own.fwhm_ns),
        light_time_ns: own.and_then(|own| own.light_time_ns),
        calibration: row,
    }
}
