//! Calibration rows from the sums of all channels, and the fallback for channels with too few pulses.

use std::collections::{BTreeMap, HashMap};

use super::channel::ChannelSums;
use super::first_pass::FirstPass;
use super::parameters::{RunKind, SpeParameters};
use super::refusal::refuse;
use super::result::{ChannelSpe, CutTail, SpeResult};
use super::spectrum_quality::Quality;
use crate::error::Result;
use crate::math;
use crate::model::{ChannelCalibration, Flags, SpeMeasurement};

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
    let default_row =
        mean_row(&rows).ok_or_else(|| refuse(run, first_passes, channels, parameters))?;
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
                run,
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
            flags: Flags::TEMPLATE_FALLBACK | default_row.flags,
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
        baseline_noise_ratio: mean(|row| row.baseline_noise_ratio).max(1.0),
        flags: if rows
            .iter()
            .any(|row| row.flags.contains(Flags::TEMPLATE_CUT))
        {
            Flags::TEMPLATE_CUT
        } else {
            Flags::NONE
        },
        measurement: None,
    })
}

/// A channel with its own template.
struct OwnTemplate {
    row: ChannelCalibration,
    fwhm_ns: f64,
    fwhm_error_ns: f64,
    /// Error of the height, without that of the gain.
    shape_error_adc: f64,
    light_time_ns: Option<f64>,
    light_time_error_ns: Option<f64>,
    cut: Option<CutTail>,
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
            baseline_noise_ratio: channel.quiet_noise().baseline_noise_ratio as f32,
            flags: if template.cut.is_some() {
                Flags::TEMPLATE_CUT
            } else {
                Flags::NONE
            },
            measurement: None,
        };
        let n_pulses = channel.mean.n_pulses.max(1) as f64;
        // Noise at both edges, at half of the height.
        let fwhm_error = std::f64::consts::SQRT_2 * template.noise / template.slope;
        Some(Self {
            row,
            fwhm_ns: template.fwhm * sampling_ns,
            fwhm_error_ns: fwhm_error * sampling_ns,
            shape_error_adc: template.noise,
            light_time_ns,
            light_time_error_ns: is_led.then(|| {
                sampling_ns * math::hypot(spread / n_pulses.sqrt(), template.reference_error)
            }),
            cut: template.cut,
        })
    }
}

/// Returns the result for one channel.
fn describe(
    channel_id: u32,
    run: RunKind,
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
            flags: Flags::TEMPLATE_FALLBACK | fallback.flags,
            baseline_noise_ratio: 1.0,
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
    let quality = channel
        .zip(fit)
        .map(|(channel, fit)| Quality::from_fit(&channel.spectrum, &fit, run));
    let fit_errors = quality.as_ref().and_then(|quality| quality.errors);
    let quiet = channel.map(ChannelSums::quiet_noise);
    if let Some(quiet) = &quiet {
        row.baseline_noise_ratio = quiet.baseline_noise_ratio as f32;
    }
    let peak_adc: f64 = row
        .template_adc
        .iter()
        .copied()
        .fold(0.0_f32, f32::max)
        .into();
    let mut measured = SpeMeasurement {
        run: Some(run),
        n_waveforms: first_pass.n_waveforms,
        n_left_out: first_pass.defects.total(),
        n_pulses: channel.map_or(0, |channel| channel.mean.n_pulses),
        ..SpeMeasurement::default()
    };
    if let Some(fit) = &fit {
        measured.mean_pe = fit.mean_pe as f32;
        measured.gain_adc_samples = fit.gain as f32;
    }
    if let Some(errors) = &fit_errors {
        measured.mean_pe_error = errors.mean_pe as f32;
        measured.gain_error_adc_samples = errors.gain as f32;
        // Those of a fallback are not this channel's.
        if own.is_some() {
            measured.charge_sigma_error_pe = errors.relative_sigma as f32;
        }
    }
    if let Some(quality) = &quality
        && let Some(degrees) = quality.degrees_of_freedom
    {
        measured.chi2 = quality.chi2 as f32;
        measured.degrees_of_freedom = degrees as u32;
    }
    if let Some(channel) = channel {
        measured.noise_error_adc = channel.noise_error() as f32;
        measured.dark_rate_error_hz = channel.dark_rate_error_hz(parameters.sampling_ns) as f32;
    }
    if let Some(own) = own {
        let of_gain = fit
            .zip(fit_errors)
            .map_or(0.0, |(fit, errors)| errors.gain / fit.gain);
        measured.peak_error_adc = math::hypot(own.shape_error_adc, of_gain * peak_adc) as f32;
        measured.time_offset_error_ns = own
            .light_time_error_ns
            .map_or(f32::NAN, |error| error as f32);
    }
    row.measurement = Some(measured);
    let sign = f64::from(parameters.polarity.sign());
    ChannelSpe {
        channel_id,
        n_waveforms: first_pass.n_waveforms,
        left_out: first_pass.defects,
        is_upside_down: first_pass.signs.is_upside_down(),
        problems: first_pass.problems(),
        quiet,
        baseline_adc: level.map_or(0.0, |(level, _)| level * sign),
        window: channel.map(|channel| (channel.window.from, channel.window.to)),
        spectrum: channel.map(|channel| channel.spectrum.clone()),
        fit,
        fit_errors,
        n_pulses: measured.n_pulses,
        peak_adc,
        fwhm_ns: own.map_or(0.0, |own| own.fwhm_ns),
        fwhm_error_ns: own.map_or(f64::NAN, |own| own.fwhm_error_ns),
        cut: own.and_then(|own| own.cut),
        light_time_ns: own.and_then(|own| own.light_time_ns),
        calibration: row,
    }
}
